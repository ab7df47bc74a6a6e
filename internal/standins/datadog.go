package standins

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// datadogAudit is the audit trail: from and to in milliseconds or RFC 3339, sorted as one asks for, behind a cursor. It wants two
// keys. A search that runs out of time gives what it had found, and says so.
//
// https://docs.datadoghq.com/api/latest/audit/#get-a-list-of-audit-logs-events
func datadogAudit() *Service {
	store := &Store{Most: 5, Step: time.Millisecond, Make: func(e Entry) (string, any) {
		id := "AQAAAY" + base64.RawURLEncoding.EncodeToString([]byte(uuid(e.N)))
		attributes := M{"timestamp": e.At.Format(millis), "service": "mcnulty", "message": "Dashboard „Größe“ was modified",
			"tags": []string{"team:A"},
			"attributes": M{"evt": M{"name": pick(e.N, "Dashboard", "Access Management", "Monitor")}, "action": pick(e.N, "modified",
				"created"),
				"usr": M{"id": "8d3c8e3a-11ef", "email": "ann@example.org"}, "http": M{"status_code": 200}}}
		switch e.N % 4 {
		case 1:
			delete(attributes["attributes"].(M), "usr")
			attributes["message"] = nil
		case 3:
			attributes["tags"] = nil
		}
		return id, M{"id": id, "type": "audit", "attributes": attributes}
	}}
	var asked atomic.Int64
	return &Service{
		Name: "datadog-audit", Host: "https://api.datadoghq.com", Secrets: map[string]string{"datadog-api.key": "9775a026f1ca7d1c",
			"datadog-app.key": "87ce4a24b5553d2e"},
		Late: 30 * time.Second, Ascending: true, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			failed := func(status int, text string) { answer(w, status, M{"errors": []string{text}}) }
			switch {
			case r.Header.Get("DD-API-KEY") != "9775a026f1ca7d1c" || r.Header.Get("DD-APPLICATION-KEY") != "87ce4a24b5553d2e":
				failed(http.StatusForbidden, "Forbidden")
				return
			case r.URL.Path != "/api/v2/audit/events":
				failed(http.StatusNotFound, "Not found")
				return
			}
			w.Header().Set("X-RateLimit-Limit", "300")
			w.Header().Set("X-RateLimit-Period", "3600")
			w.Header().Set("X-RateLimit-Remaining", "299")
			w.Header().Set("X-RateLimit-Reset", "1800") // seconds from now on
			limit, ok := number(query, "page[limit]", 10, 1, 1000)
			from, okFrom := moment(query, "filter[from]", time.RFC3339)
			to, okTo := moment(query, "filter[to]", time.RFC3339)
			wrong := known(query, "filter[query]", "filter[from]", "filter[to]", "sort", "page[cursor]", "page[limit]")
			sort := query.Get("sort")
			if wrong != "" || !ok || !okFrom || !okTo || sort != "" && sort != "timestamp" && sort != "-timestamp" {
				failed(http.StatusBadRequest, "input_validation_error(Field '"+wrong+"' is invalid)")
				return
			}
			all := store.newest()
			if sort == "timestamp" {
				all = store.shown()
			}
			all = keep(all, func(e Entry) bool { return within(e.At, from, to) })
			start := 0
			if cursor := query.Get("page[cursor]"); cursor != "" {
				text, _ := base64.RawURLEncoding.DecodeString(cursor)
				n, err := strconv.Atoi(string(text))
				if err != nil {
					failed(http.StatusBadRequest, "input_validation_error(Field 'cursor' is invalid)")
					return
				}
				for i, e := range all {
					if e.N == n {
						start = i + 1
					}
				}
			}
			page, more := cut(all, start, min(limit, store.Most))
			meta := M{"elapsed": 12, "request_id": "MWlFUjVaWGZTTTZPYzM0VXp1OXU2d3xLSVpEMjZKQ0VKUTI0dEYtM3RSOFVR", "status": "done"}
			if asked.Add(1)%9 == 6 && len(page) > 1 {
				meta["status"], page, more = "timeout", page[:len(page)/2], false
			}
			body := M{"data": bodies(page), "meta": meta}
			if more {
				cursor := base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(page[len(page)-1].N)))
				meta["page"] = M{"after": cursor}
				body["links"] = M{"next": self(r, with(query, "page[cursor]", cursor))}
			}
			answer(w, http.StatusOK, body)
		}),
	}
}
