package standins

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// auth0 are the logs of a tenant by checkpoint: what is newer than a log_id, in the order of log_id; the next link leads to itself
// where there is nothing newer.
//
// https://auth0.com/docs/deploy-monitor/logs/retrieve-log-events-using-mgmt-api
func auth0() *Service {
	entrance := login{id: "stackstream", secret: "s3cr3t", inBody: true, audience: "https://my-tenant.eu.auth0.com/api/v2/",
		life: 24 * time.Hour}
	logID := func(n int) string { return fmt.Sprintf("900%053d", n) }
	store := &Store{Most: 5, Step: time.Millisecond, Make: func(e Entry) (string, any) {
		id := logID(e.N)
		body := M{
			"log_id": id, "_id": id, "date": e.At.Format(millis), "type": "s", "client_id": "AaiyAPdpYdesoKnqjj8HJqRn4T5titww",
			"client_name": "My application Name", "ip": "190.257.209.19", "user_id": "auth0|56c75c4e42b6359e98374bc2", "user_name": "ånn",
			"connection": "Username-Password-Authentication", "isMobile": false, "user_agent": "Chrome 131.0.0 / Linux 0.0.0",
			"details": M{"completedTime": e.At.UnixMilli(), "elapsedTime": nil}, "strategy": "auth0", "hostname": "my-tenant.eu.auth0.com",
		}
		switch e.N % 3 {
		case 1:
			body["type"], body["description"] = "fp", "Wrong email or password."
		case 2: // of the management API: nobody's
			body["type"], body["description"] = "sapi", "Update a client"
			delete(body, "user_id")
			delete(body, "user_name")
			delete(body, "connection")
		}
		return id, body
	}}
	return &Service{
		Name: "auth0", Host: "https://my-tenant.eu.auth0.com", Secrets: map[string]string{"auth0.secret": "s3cr3t"}, Ascending: true,
		Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			failed := func(status int, text, code string) {
				answer(w, status, M{"statusCode": status, "error": http.StatusText(status), "message": text, "errorCode": code})
			}
			switch {
			case r.URL.Path == "/oauth/token":
				entrance.token(w, r)
				return
			case !entrance.good(r):
				failed(http.StatusUnauthorized, "Expired token received for JSON Web Token validation", "invalid_token")
				return
			case r.URL.Path != "/api/v2/logs":
				failed(http.StatusNotFound, "Not Found", "not_found")
				return
			}
			w.Header().Set("X-RateLimit-Limit", "10")
			w.Header().Set("X-RateLimit-Remaining", "9")
			w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Second).Unix(), 10))
			take, ok := number(query, "take", 50, 1, 100)
			from := query.Get("from")
			if wrong := known(query, "from", "take"); wrong != "" || !ok || len(from) != len(logID(1)) {
				failed(http.StatusBadRequest, "Query validation error: 'String does not match pattern' "+wrong, "invalid_query_string")
				return
			}
			// Unlike the time of an event, log_id is given where it is stored: nothing comes behind what was shown.
			newer := keep(store.Entries(), func(e Entry) bool { return !e.Shown.After(time.Now()) && e.ID > from })
			page, _ := cut(newer, 0, min(take, store.Most))
			if len(page) > 0 {
				from = page[len(page)-1].ID
			}
			w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, self(r, with(query, "from", from))))
			answer(w, http.StatusOK, bodies(page))
		}),
	}
}
