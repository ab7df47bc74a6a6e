package standins

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// nasaDonki are notifications of space weather: all of the days from startDate to endDate, both inclusive and at most 30 apart,
// newest first and in one answer. The key is in the query.
//
// https://api.nasa.gov/ (DONKI)
func nasaDonki() *Service {
	store := &Store{Step: time.Minute, Make: func(e Entry) (string, any) {
		id := e.At.Format("20060102") + "-AL-" + fmt.Sprintf("%03d", e.N)
		return id, M{
			"messageType": pick(e.N, "Report", "CME", "FLR", "RBE"), "messageID": id, "messageIssueTime": e.At.Format("2006-01-02T15:04Z"),
			"messageURL": "https://webtools.ccmc.gsfc.nasa.gov/DONKI/view/Alert/" + id + "/1",
			"messageBody": "## NASA Goddard Space Flight Center, Space Weather Research Center\n## Message ID: " + id +
				"\n## Disclaimer: “as is”\n",
		}
	}}
	return &Service{
		Name: "nasa-donki", Host: "https://api.nasa.gov", Secrets: map[string]string{"nasa.key": "DEMO_KEY"}, Late: 30 * time.Minute,
		Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			w.Header().Set("X-RateLimit-Limit", "1000")
			w.Header().Set("X-RateLimit-Remaining", "998")
			failed := func(status int, code, text string) { answer(w, status, M{"error": M{"code": code, "message": text}}) }
			switch {
			case query.Get("api_key") != "DEMO_KEY":
				failed(http.StatusForbidden, "API_KEY_INVALID", "An invalid api_key was supplied. Get one at https://api.nasa.gov:443")
				return
			case r.URL.Path != "/DONKI/notifications":
				failed(http.StatusNotFound, "NOT_FOUND", "The requested resource was not found.")
				return
			}
			until := time.Now().UTC().Truncate(24 * time.Hour)
			end, okEnd := moment(query, "endDate", time.DateOnly)
			if !end.IsZero() {
				until = end
			}
			from, okFrom := until.Add(-7*24*time.Hour), true
			if query.Has("startDate") {
				from, okFrom = moment(query, "startDate", time.DateOnly)
			}
			kinds := []string{"", "all", "FLR", "SEP", "CME", "IPS", "MPC", "GST", "RBE", "report"}
			wrong := known(query, "startDate", "endDate", "type", "api_key")
			if wrong != "" || !okFrom || !okEnd || !slices.Contains(kinds, query.Get("type")) {
				failed(http.StatusBadRequest, "BAD_REQUEST", wrong)
				return
			}
			// More than 30 days are not refused: the first of them are left out without a word.
			if until.Sub(from) > 30*24*time.Hour {
				from = until.Add(-30 * 24 * time.Hour)
			}
			answer(w, http.StatusOK, bodies(keep(store.newest(), func(e Entry) bool {
				return within(e.At, from,
					until.Add(24*time.Hour-1))
			})))
		}),
	}
}
