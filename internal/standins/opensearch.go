package standins

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// opensearch is the audit log of OpenSearch's security plugin, in an index that is searched: by a body, page behind page by the
// values that the last hit was sorted by. Now and then a search runs out of time, and gives what it had found.
//
// https://docs.opensearch.org/latest/search-plugins/searching-data/paginate/#the-search_after-parameter,
// https://docs.opensearch.org/latest/security/audit-logs/field-reference/
func opensearch() *Service {
	store := &Store{Most: 5, Step: time.Millisecond, Make: func(e Entry) (string, any) {
		id := fmt.Sprintf("aUdiT%04d", (e.N*37)%10_000)
		source := M{
			"@timestamp": e.At.Format("2006-01-02T15:04:05.000-07:00"), "audit_category": pick(e.N, "FAILED_LOGIN", "GRANTED_PRIVILEGES",
				"AUTHENTICATED"),
			"audit_request_origin": "REST", "audit_request_layer": "REST", "audit_rest_request_method": "GET",
			"audit_node_id":                "2fWPEcKsTmuMrBq3n3gNSg",
			"audit_request_remote_address": "172.17.0.1", "audit_request_effective_user": "kröger", "audit_format_version": 4,
			"audit_rest_request_path": "/_cat/indices", "audit_rest_request_params": M{"v": "", "q": "\"x\""},
		}
		if e.N%3 == 0 {
			delete(source, "audit_request_effective_user")
			source["audit_request_origin"] = nil
		}
		return id, M{"_index": "security-auditlog-" + e.At.Format("2006.01.02"), "_id": id, "_score": nil, "_source": source,
			"sort": []any{e.At.UnixMilli(), id}}
	}}
	var asked atomic.Int64
	return &Service{
		Name: "opensearch", Host: "https://opensearch.example.org:9200", Secrets: map[string]string{"opensearch.password": "adm1n"},
		Late: 5 * time.Second, Ascending: true, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			failed := func(status int, kind, reason string) {
				answer(w, status, M{"error": M{"type": kind, "reason": reason, "root_cause": []M{{"type": kind, "reason": reason}}},
					"status": status})
			}
			user, password, _ := r.BasicAuth()
			switch {
			case user != "stackstream" || password != "adm1n":
				w.Header().Set("WWW-Authenticate", `Basic realm="OpenSearch Security"`)
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = w.Write([]byte("Unauthorized"))
				return
			case r.URL.Path != "/security-auditlog-*/_search" || r.Method != http.MethodPost:
				failed(http.StatusNotFound, "index_not_found_exception", "no such index")
				return
			case r.Header.Get("Content-Type") != "application/json":
				failed(http.StatusNotAcceptable, "media_type_header_exception", "Content-Type header is not supported")
				return
			}
			var search struct {
				Size  int                 `json:"size"`
				Sort  []map[string]string `json:"sort"`
				Query struct {
					Range map[string]struct {
						From  time.Time `json:"gte"`
						Until time.Time `json:"lt"`
					} `json:"range"`
				} `json:"query"`
				After []any `json:"search_after"`
			}
			body := json.NewDecoder(r.Body)
			body.DisallowUnknownFields()
			err := body.Decode(&search)
			if err != nil || len(search.Sort) != 2 || len(search.Sort[0])+len(search.Sort[1]) != 2 || search.Size > 10_000 {
				failed(http.StatusBadRequest, "parsing_exception", fmt.Sprint(err))
				return
			}
			if search.After != nil && len(search.After) != 2 {
				failed(http.StatusBadRequest, "illegal_argument_exception", "search_after has the wrong number of values")
				return
			}
			bounds := search.Query.Range["@timestamp"]
			all := keep(store.shown(), func(e Entry) bool {
				return !e.At.Before(bounds.From) && e.At.Before(bounds.Until)
			})
			sortByID(all)
			if search.After != nil {
				at, id := int64(search.After[0].(float64)), search.After[1].(string)
				all = keep(all, func(e Entry) bool { return e.At.UnixMilli() > at || e.At.UnixMilli() == at && e.ID > id })
			}
			page, _ := cut(all, 0, min(search.Size, store.Most))
			late := asked.Add(1)%9 == 5
			if late {
				page = page[:len(page)/2]
			}
			answer(w, http.StatusOK, M{"took": 3, "timed_out": late, "_shards": M{"total": 1, "successful": 1, "skipped": 0, "failed": 0},
				"hits": M{"total": M{"value": len(all), "relation": "eq"}, "max_score": nil, "hits": bodies(page)}})
		}),
	}
}
