package standins

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// gitlabAudit are the audit events of an instance: keyset pagination is for order_by=id and sort=desc only, and a query may not ask
// for more than 30 days.
//
// https://docs.gitlab.com/api/audit_events/, https://docs.gitlab.com/api/rest/#keyset-based-pagination
func gitlabAudit() *Service {
	store := &Store{Most: 5, Step: time.Millisecond, Make: func(e Entry) (string, any) {
		body := M{
			"id": e.N, "author_id": 1, "entity_id": 6, "entity_type": "Project", "event_name": "project_archived",
			"created_at": e.At.Format(millis), "details": M{"custom_message": "Project archived", "author_name": "Administrator",
				"author_email": "admin@example.com", "target_id": "flightjs/flight", "target_type": "Project",
				"target_details": "flightjs/flight",
				"ip_address":     "127.0.0.1", "entity_path": "flightjs/flight"},
		}
		switch e.N % 3 {
		case 1: // what was written before 15.0 has no event_name
			delete(body, "event_name")
			body["details"] = M{"add": "email", "author_name": "Jürgen", "target_id": 51, "target_type": "User",
				"target_details": "juergen"}
			body["entity_type"], body["entity_id"] = "User", 51
		case 2: // nobody who is logged in
			body["author_id"], body["entity_type"], body["event_name"] = -1, "Gitlab::Audit::InstanceScope",
				"login_failed_with_standard_authentication"
			body["details"] = M{"author_name": "Unknown", "failed_login": "STANDARD", "ip_address": nil}
		}
		return strconv.Itoa(e.N), body
	}}
	return &Service{
		Name: "gitlab-audit", Host: "https://gitlab.example.org", Secrets: map[string]string{"gitlab.token": "glpat-test"},
		Late:  time.Minute,
		Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			switch {
			case r.URL.Path != "/api/v4/audit_events":
				answer(w, http.StatusNotFound, M{"error": "404 Not Found"})
				return
			case r.Header.Get("PRIVATE-TOKEN") != "glpat-test":
				answer(w, http.StatusUnauthorized, M{"message": "401 Unauthorized"})
				return
			}
			w.Header().Set("RateLimit-Limit", "600")
			w.Header().Set("RateLimit-Remaining", "599")
			w.Header().Set("RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10))
			size, ok := number(query, "per_page", 20, 1, 100)
			after, okAfter := moment(query, "created_after", time.RFC3339)
			before, okBefore := moment(query, "created_before", time.RFC3339)
			wrong := known(query, "created_after", "created_before", "entity_type", "entity_id", "pagination", "order_by", "sort",
				"per_page", "cursor")
			if until := before; until.IsZero() && !after.IsZero() {
				before = time.Now()
			}
			switch {
			case wrong != "" || !ok || !okAfter || !okBefore:
				answer(w, http.StatusBadRequest, M{"error": wrong + " is invalid"})
				return
			case before.Sub(after) > 30*24*time.Hour && !after.IsZero():
				answer(w, http.StatusBadRequest, M{"message": "400 Bad request - Date range limited to 30 days"})
				return
			case query.Get("pagination") != "keyset" || query.Get("order_by") != "id" || query.Has("sort") && query.Get("sort") != "desc":
				answer(w, http.StatusMethodNotAllowed, M{"error": "Keyset pagination is not yet available for this type of request"})
				return
			}
			below := 1 << 62
			if cursor := query.Get("cursor"); cursor != "" {
				text, err := base64.StdEncoding.DecodeString(cursor)
				if _, scan := fmt.Sscanf(string(text), `{"id":"%d","_kd":"n"}`, &below); err != nil || scan != nil {
					answer(w, http.StatusBadRequest, M{"error": "cursor is invalid"})
					return
				}
			}
			all := store.Entries()
			shown := keep(all, func(e Entry) bool { return !e.Shown.After(time.Now()) && within(e.At, after, before) && e.N < below })
			for i, j := 0, len(shown)-1; i < j; i, j = i+1, j-1 {
				shown[i], shown[j] = shown[j], shown[i]
			}
			page, more := cut(shown, 0, min(size, store.Most))
			if more {
				cursor := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"id":"%d","_kd":"n"}`, page[len(page)-1].N))
				w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, self(r, with(query, "cursor", cursor))))
			}
			answer(w, http.StatusOK, bodies(page))
		}),
	}
}
