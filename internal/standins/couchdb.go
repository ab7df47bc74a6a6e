package standins

import (
	"fmt"
	"net/http"
	"time"
)

// couchdb are the changes of a database: what comes behind a sequence, which is a text that only the server understands. A document
// is listed once, with its newest revision, and may be listed again.
//
// https://docs.couchdb.org/en/stable/api/database/changes.html
func couchdb() *Service {
	seq := func(n int) string {
		return fmt.Sprintf("%d-g1AAAACTeJzLYWBgYMpgTmHgz8tPSTV0MDQy1zMAQsMckEQiQ1L9____szK%04d", n, n)
	}
	store := &Store{Most: 5, Step: time.Second, Make: func(e Entry) (string, any) {
		id, rev := fmt.Sprintf("order:%04d", e.N), fmt.Sprintf("%d-967a00dff5e02add41819138abb3284d", 1+e.N%3)
		body := M{"seq": seq(e.N), "id": id, "changes": []M{{"rev": rev}}, "doc": M{"_id": id, "_rev": rev, "customer": "Ünal",
			"total": 12.50}}
		if e.N%4 == 3 {
			body["deleted"], body["doc"] = true, M{"_id": id, "_rev": rev, "_deleted": true}
		}
		return id + "/" + rev, body
	}}
	return &Service{
		Name: "couchdb-changes", Host: "https://couchdb.example.org:6984", Secrets: map[string]string{"couchdb.password": "relax"},
		Ascending: true, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			user, password, _ := r.BasicAuth()
			switch {
			case user != "stackstream" || password != "relax":
				answer(w, http.StatusUnauthorized, M{"error": "unauthorized", "reason": "You are not authorized to access this db."})
				return
			case r.URL.Path != "/orders/_changes":
				answer(w, http.StatusNotFound, M{"error": "not_found", "reason": "Database does not exist."})
				return
			}
			limit, ok := number(query, "limit", 1<<30, 1, 1<<30)
			since := 0
			if text := query.Get("since"); text != "" && text != "0" {
				if _, err := fmt.Sscanf(text, "%d-", &since); err != nil || text != seq(since) {
					answer(w, http.StatusBadRequest, M{"error": "bad_request",
						"reason": "Malformed sequence supplied in 'since' parameter."})
					return
				}
			}
			if wrong := known(query, "since", "limit", "feed", "include_docs", "style", "filter"); wrong != "" || !ok {
				answer(w, http.StatusBadRequest, M{"error": "query_parse_error", "reason": wrong})
				return
			}
			all := keep(store.Entries(), func(e Entry) bool { return !e.Shown.After(time.Now()) && e.N >= since })
			// The one that was seen last is listed again now and then.
			if len(all) > 0 && all[0].N == since && (since%3 != 0 || len(all) == 1) {
				all = all[1:]
			}
			page, _ := cut(all, 0, min(limit, store.Most))
			last := since
			if len(page) > 0 {
				last = page[len(page)-1].N
			}
			records := bodies(page)
			if query.Get("include_docs") != "true" {
				for i, e := range page {
					lean := M{}
					for name, value := range e.Body.(M) {
						if name != "doc" {
							lean[name] = value
						}
					}
					records[i] = lean
				}
			}
			answer(w, http.StatusOK, M{"results": records, "last_seq": seq(last), "pending": len(all) - len(page)})
		}),
	}
}
