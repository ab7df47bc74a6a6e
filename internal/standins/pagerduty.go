package standins

import (
	"fmt"
	"net/http"
	"time"
)

// pagerduty are the log entries of an account: newest first, by offset and limit, whose sum is at most 10,000.
//
// https://developer.pagerduty.com/api-reference/c661e065403b5-list-log-entries,
// https://developer.pagerduty.com/docs/pagination
func pagerduty() *Service {
	store := &Store{Most: 4, Step: time.Second, Make: func(e Entry) (string, any) {
		id := fmt.Sprintf("R%013X", e.N*7919)
		kind := pick(e.N, "trigger_log_entry", "acknowledge_log_entry", "notify_log_entry", "resolve_log_entry")
		body := M{
			"id": id, "type": kind, "summary": pick(e.N, "Triggered through the API.", "Acknowledged by Zoë.", "Notified Zoë by SMS",
				"Resolved by timeout."),
			"self": "https://api.pagerduty.com/log_entries/" + id, "html_url": nil, "created_at": e.At.Format(time.RFC3339),
			"agent": M{"id": "P4K4DLP", "type": "generic_events_api_inbound_integration_reference", "summary": "Alert API",
				"html_url": nil},
			"channel": M{"type": "api"}, "contexts": []any{}, "teams": []any{},
			"service":  M{"id": "PN49J75", "type": "service_reference", "summary": "Production XDB Cluster"},
			"incident": M{"id": "PT4KHLK", "type": "incident_reference", "summary": "[#1234] The server is on fire."},
		}
		if e.N%4 == 3 { // nobody resolved it
			body["agent"], body["channel"] = nil, M{"type": "timeout"}
		}
		if e.N%4 == 2 {
			body["user"] = M{"id": "PXPGF42", "type": "user_reference", "summary": "Zoë"}
		}
		return id, body
	}}
	failed := func(w http.ResponseWriter, status int, text string) {
		answer(w, status, M{"error": M{"code": 2001, "message": "Invalid Input Provided", "errors": []string{text}}})
	}
	return &Service{
		Name: "pagerduty", Host: "https://api.pagerduty.com", Secrets: map[string]string{"pagerduty.key": "y_NbAkKc66ryYTWUXYEu"},
		Late: 2 * time.Minute, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			w.Header().Set("ratelimit-limit", "960")
			w.Header().Set("ratelimit-remaining", "959")
			w.Header().Set("ratelimit-reset", "28") // seconds from now on
			switch {
			case r.URL.Path != "/log_entries":
				failed(w, http.StatusNotFound, "Not Found")
				return
			case r.Header.Get("Authorization") != "Token token=y_NbAkKc66ryYTWUXYEu":
				answer(w, http.StatusUnauthorized, M{"error": M{"code": 2006, "message": "Unauthorized"}})
				return
			case r.Header.Get("Accept") != "application/vnd.pagerduty+json;version=2":
				failed(w, http.StatusNotAcceptable, "Accept")
				return
			}
			size, ok := number(query, "limit", 25, 1, 100)
			offset, okOffset := number(query, "offset", 0, 0, 10_000)
			since, okSince := moment(query, "since", time.RFC3339)
			until, okUntil := moment(query, "until", time.RFC3339)
			wrong := known(query, "limit", "offset", "total", "time_zone", "since", "until", "is_overview", "include[]", "team_ids[]")
			if wrong != "" || !ok || !okOffset || !okSince || !okUntil || offset+size > 10_000 {
				failed(w, http.StatusBadRequest, wrong+" Offset and limit must be at most 10000 together")
				return
			}
			all := keep(store.newest(), func(e Entry) bool { return within(e.At, since, until) })
			page, more := cut(all, offset, min(size, store.Most))
			answer(w, http.StatusOK, M{"log_entries": bodies(page), "limit": size, "offset": offset, "total": nil, "more": more})
		}),
	}
}
