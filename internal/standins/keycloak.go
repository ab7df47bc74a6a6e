package standins

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// login is a token endpoint for client credentials (RFC 6749, 4.4): tokens are good for a while, and then no more.
type login struct {
	id, secret string
	inBody     bool // the client says who it is in the body, and not by Basic
	audience   string
	life       time.Duration
}

// token hands out a token.
func (l login) token(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	if l.inBody {
		id, secret, basic = r.PostFormValue("client_id"), r.PostFormValue("client_secret"), !basic
	}
	decodedID, _ := url.QueryUnescape(id)
	decodedSecret, _ := url.QueryUnescape(secret)
	switch {
	case r.Method != http.MethodPost || r.PostFormValue("grant_type") != "client_credentials":
		answer(w, http.StatusBadRequest, M{"error": "unsupported_grant_type"})
	case !basic || decodedID != l.id || decodedSecret != l.secret:
		answer(w, http.StatusUnauthorized, M{"error": "invalid_client",
			"error_description": "Invalid client or Invalid client credentials"})
	case r.PostFormValue("audience") != l.audience:
		answer(w, http.StatusForbidden, M{"error": "access_denied"})
	default:
		until := time.Now().Add(l.life).Unix()
		answer(w, http.StatusOK, M{"access_token": "ey." + strconv.FormatInt(until, 10) + ".x", "expires_in": int(l.life.Seconds()),
			"token_type": "Bearer"})
	}
}

// good tells whether a request has a token that has not expired.
func (l login) good(r *http.Request) bool {
	until := r.Header.Get("Authorization")
	if len(until) < 12 {
		return false
	}
	n, err := strconv.ParseInt(until[len("Bearer ey."):len(until)-2], 10, 64)
	return err == nil && time.Now().Unix() < n
}

// keycloak are the admin events of a realm: newest first unless asked otherwise, by offset; both bounds are inclusive.
//
// https://www.keycloak.org/docs-api/latest/rest-api/index.html#_realms_admin
func keycloak() *Service {
	entrance := login{id: "stackstream", secret: "s3cr3t", life: 60 * time.Second}
	store := &Store{Most: 4, Step: time.Millisecond, Make: func(e Entry) (string, any) {
		body := M{
			"id": uuid(e.N), "time": e.At.UnixMilli(), "realmId": "9f1b3c0e-master", "operationType": "CREATE", "resourceType": "USER",
			"resourcePath": "users/6d1d1a0e-2f4c-4bb0-8f7f-0c1a2b3c4d5e",
			"authDetails": M{"realmId": "9f1b3c0e-master", "clientId": "security-admin-console",
				"userId": "c0ffee00-1111-4222-8333-444455556666", "ipAddress": "10.0.0.7"},
		}
		switch e.N % 3 {
		case 1: // an action that failed
			body["operationType"], body["error"] = "UPDATE", "Ungültiger Wert"
			body["representation"] = `{"username":"ann","enabled":true}`
		case 2: // no path, and nobody known
			body["operationType"], body["resourceType"] = "ACTION", "REALM"
			body["authDetails"] = M{"realmId": "9f1b3c0e-master", "clientId": "cli", "ipAddress": "10.0.0.8"}
			delete(body, "resourcePath")
		}
		return uuid(e.N), body
	}}
	return &Service{
		Name: "keycloak", Host: "https://keycloak.example.org", Secrets: map[string]string{"keycloak.secret": "s3cr3t"},
		Late:      30 * time.Second,
		Ascending: true, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			switch {
			case r.URL.Path == "/realms/master/protocol/openid-connect/token":
				entrance.token(w, r)
				return
			case !entrance.good(r):
				answer(w, http.StatusUnauthorized, M{"error": "HTTP 401 Unauthorized"})
				return
			case r.URL.Path != "/admin/realms/master/admin-events":
				answer(w, http.StatusNotFound, M{"error": "HTTP 404 Not Found"})
				return
			}
			bound := func(name string) (at time.Time, ok bool) {
				if day, err := time.Parse(time.DateOnly, query.Get(name)); err == nil {
					return day, true
				}
				n, ok := number(query, name, 0, 0, 1<<62)
				if n == 0 {
					return at, ok
				}
				return time.UnixMilli(int64(n)).UTC(), ok
			}
			first, ok := number(query, "first", 0, 0, 1<<30)
			size, okSize := number(query, "max", 100, 1, 1<<30)
			from, okFrom := bound("dateFrom")
			to, okTo := bound("dateTo")
			wrong := known(query, "first", "max", "dateFrom", "dateTo", "direction", "operationTypes", "authRealm", "authClient",
				"authUser",
				"authIpAddress", "resourcePath", "resourceTypes")
			if wrong != "" || !ok || !okSize || !okFrom || !okTo {
				answer(w, http.StatusBadRequest, M{"error": "HTTP 400 Bad Request", "error_description": wrong})
				return
			}
			all := store.newest()
			if query.Get("direction") == "asc" {
				all = store.shown()
			}
			page, _ := cut(keep(all, func(e Entry) bool { return within(e.At, from, to) }), first, min(size, store.Most))
			answer(w, http.StatusOK, bodies(page))
		}),
	}
}
