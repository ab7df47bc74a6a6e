package standins

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// okta is the system log. A request without until that is sorted ascending is a polling request: it goes by the time at which events
// became durable, there is always a next link, also where there is nothing new, and since and after exclude each other.
//
// https://developer.okta.com/docs/reference/system-log-query/
func okta() *Service {
	store := &Store{Most: 5, Step: time.Millisecond, Make: func(e Entry) (string, any) {
		body := M{
			"uuid": uuid(e.N), "published": e.At.Format(millis), "eventType": "user.session.start", "version": "0", "severity": "INFO",
			"legacyEventType": "core.user_auth.login_success", "displayMessage": "User login to Okta",
			"actor": M{"id": "00u1qw1mqitPHM8AJ0g7", "type": "User", "alternateId": "admin@example.com", "displayName": "José Doe",
				"detailEntry": nil},
			"client":      M{"zone": "OFF_NETWORK", "device": "Unknown", "ipAddress": "12.97.85.90", "geographicalContext": nil},
			"outcome":     M{"result": "SUCCESS", "reason": nil},
			"transaction": M{"type": "WEB", "id": fmt.Sprintf("V04Oy4ubUOc5UuG6s9DyNQAAB%d", e.N), "detail": M{}},
			"target":      nil,
		}
		switch e.N % 3 {
		case 1:
			body["eventType"], body["displayMessage"] = "user.lifecycle.create", "Create okta user"
			body["target"] = []M{{"id": "00u3gjksoiRGRAZHLSYV", "type": "User", "alternateId": "jon@example.com",
				"displayName": "Jon Stewart", "detailEntry": nil}}
		case 2:
			body["eventType"], body["severity"], body["displayMessage"] = "system.api_token.create", "WARN", nil
			body["transaction"] = nil
		}
		return uuid(e.N), body
	}}
	failed := func(w http.ResponseWriter, status int, code, text string) {
		answer(w, status, M{"errorCode": code, "errorSummary": text, "errorLink": code, "errorId": "oae" + code, "errorCauses": []any{}})
	}
	return &Service{
		Name: "okta", Host: "https://my-organization.okta.com", Secrets: map[string]string{"okta.token": "00test"}, Late: 30 * time.Minute,
		Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			w.Header().Set("X-Rate-Limit-Limit", "120")
			w.Header().Set("X-Rate-Limit-Remaining", "119")
			w.Header().Set("X-Rate-Limit-Reset", strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10))
			switch {
			case r.URL.Path != "/api/v1/logs":
				failed(w, http.StatusNotFound, "E0000022", "The endpoint does not support the provided HTTP method")
				return
			case r.Header.Get("Authorization") != "SSWS 00test":
				failed(w, http.StatusUnauthorized, "E0000011", "Invalid token provided")
				return
			}
			size, ok := number(query, "limit", 100, 0, 1000)
			since, okSince := moment(query, "since", time.RFC3339)
			wrong := known(query, "since", "after", "filter", "q", "sortOrder", "limit")
			order := cmp.Or(query.Get("sortOrder"), "ASCENDING")
			if wrong != "" || !ok || !okSince || query.Has("since") && query.Has("after") || order != "ASCENDING" {
				failed(w, http.StatusBadRequest, "E0000001", "Api validation failed: "+wrong)
				return
			}
			// What became durable later comes later, whatever it says about when it was published.
			all := store.shown()
			slices.SortStableFunc(all, func(a, b Entry) int { return a.Shown.Compare(b.Shown) })
			start := 0
			for i, e := range all {
				if e.ID == query.Get("after") || query.Has("since") && e.Shown.Before(since) {
					start = i + 1
				}
			}
			page, _ := cut(all, start, min(size, store.Most))
			after := query.Get("after")
			if len(page) > 0 {
				after = page[len(page)-1].ID
			}
			next := with(query, "since", "", "after", after)
			if after == "" {
				next = query
			}
			w.Header().Add("Link", fmt.Sprintf(`<%s>; rel="self"`, self(r, query)))
			w.Header().Add("Link", fmt.Sprintf(`<%s>; rel="next"`, self(r, next)))
			answer(w, http.StatusOK, bodies(page))
		}),
	}
}
