package standins

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// cloudflareLogpull are the requests of a zone, as JSON lines, by the time at which they were received in the log's own data center,
// which no record says: start is inclusive, end exclusive, at least a minute ago and at most an hour behind start.
//
// https://developers.cloudflare.com/logs/logpull/requesting-logs/,
// https://developers.cloudflare.com/logs/logpull/understanding-the-basics/
func cloudflareLogpull() *Service {
	store := &Store{Most: 1 << 30, Step: time.Second, Make: func(e Entry) (string, any) {
		ray := fmt.Sprintf("41ddf1740f67442d%02x", e.N)[2:]
		// The request came to the edge long before it was received.
		edge := e.At.Add(-time.Duration(20+e.N%90) * time.Second)
		body := M{
			"ClientIP": pick(e.N, "192.0.2.7", "2001:db8::7"), "ClientRequestHost": "www.example.org", "ClientRequestMethod": pick(e.N,
				"GET", "GET", "POST"),
			"ClientRequestURI": pick(e.N, "/", "/größe?x=%22y%22", "/api/v1/\"things\""), "EdgeStartTimestamp": edge.Format(time.RFC3339),
			"EdgeEndTimestamp": edge.Format(time.RFC3339), "EdgeResponseBytes": 69045 + e.N, "EdgeResponseStatus": pick(e.N, 200, 301,
				0), "RayID": ray,
		}
		return ray, body
	}}
	failed := func(w http.ResponseWriter, status int, text string) {
		answer(w, status, M{"success": false, "errors": []M{{"code": 1010, "message": text}}, "messages": []any{}, "result": nil})
	}
	return &Service{
		Name: "cloudflare-logpull", Host: "https://api.cloudflare.com", Secrets: map[string]string{"cloudflare.token": "YQSn-test"},
		Cutoff: 5 * time.Minute, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query, now := r.URL.Query(), time.Now()
			switch {
			case r.Header.Get("Authorization") != "Bearer YQSn-test":
				failed(w, http.StatusForbidden, "Authentication error")
				return
			case r.URL.Path != "/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/logs/received":
				failed(w, http.StatusNotFound, "Could not route to the endpoint")
				return
			}
			start, okStart := moment(query, "start", time.RFC3339)
			end, okEnd := moment(query, "end", time.RFC3339)
			wrong := known(query, "start", "end", "count", "sample", "fields", "timestamps", "CVE-2021-44228")
			switch {
			case wrong != "" || !okStart || !okEnd || start.IsZero() || end.IsZero():
				failed(w, http.StatusBadRequest, "bad query: error parsing time: "+wrong)
				return
			case !end.After(start), end.Sub(start) > time.Hour:
				failed(w, http.StatusBadRequest, "bad query: error parsing time: invalid time range: too long: maximum 1h0m0s")
				return
			case end.After(now.Add(-time.Minute)):
				failed(w, http.StatusBadRequest, "bad query: error parsing time: invalid time range: too early: logs older than 1m only")
				return
			case start.Before(now.Add(-7 * 24 * time.Hour)):
				failed(w, http.StatusBadRequest,
					"bad query: error parsing time: invalid time range: too late: logs older than 168h0m0s are not available")
				return
			}
			fields := strings.Split(query.Get("fields"), ",")
			w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
			// The number and content of what is given never changes, its order may.
			all := keep(store.newest(), func(e Entry) bool { return !e.At.Before(start) && e.At.Before(end) })
			for _, e := range all {
				line := M{}
				for _, name := range fields {
					line[name] = e.Body.(M)[name]
				}
				_ = json.NewEncoder(w).Encode(line)
			}
		}),
	}
}
