package standins

import (
	"fmt"
	"net/http"
	"time"
)

// timeFrom is the service of docs/http.md, made from what is quoted there of its documentation.
func timeFrom() *Service {
	store := &Store{Most: 7, Step: time.Second, Make: func(e Entry) (string, any) {
		id := fmt.Sprintf("e-%d", e.N)
		return id, M{"id": id, "created": e.At.Format(time.RFC3339), "kind": "server.created", "by": M{"user": "ann"},
			"server": fmt.Sprintf("s-%d", e.N)}
	}}
	return &Service{
		Name: "time-from", Host: "https://events.example.org", Secrets: map[string]string{"my-service.token": "secret"},
		Late:      30 * time.Second,
		Ascending: true, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			limit, ok := number(query, "limit", 100, 1, 500)
			from, okFrom := moment(query, "time_from", time.RFC3339)
			switch wrong := known(query, "limit", "time_from", "after"); {
			case r.URL.Path != "/v1/events" || r.Header.Get("Authorization") != "Bearer secret":
				answer(w, http.StatusUnauthorized, M{"error": "unauthorized"})
				return
			case wrong != "" || !ok || !okFrom:
				answer(w, http.StatusBadRequest, M{"error": wrong})
				return
			}
			all, start := keep(store.shown(), func(e Entry) bool { return within(e.At, from, time.Time{}) }), 0
			for i, e := range all {
				if e.ID == query.Get("after") {
					start = i + 1
				}
			}
			page, _ := cut(all, start, min(limit, store.Most))
			answer(w, http.StatusOK, M{"events": bodies(page)})
		}),
	}
}
