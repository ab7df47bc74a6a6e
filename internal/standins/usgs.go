package standins

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"time"
)

// usgs are earthquakes, as CSV: by when they were updated, in the order in which they happened, behind an offset that begins at 1.
// An earthquake that is reckoned anew is a new version of itself. Where there is nothing the answer has no body.
//
// https://earthquake.usgs.gov/fdsnws/event/1/
func usgs() *Service {
	header := []string{"time", "latitude", "longitude", "depth", "mag", "magType", "nst", "gap", "dmin", "rms", "net", "id", "updated",
		"place", "type",
		"horizontalError", "depthError", "magError", "magNst", "status", "locationSource", "magSource"}
	store := &Store{Most: 6, Step: time.Millisecond, Make: func(e Entry) (string, any) {
		quake := e.N
		if e.N%4 == 3 { // an earlier one, reckoned anew
			quake -= 2
		}
		id := fmt.Sprintf("us7000%04d", quake)
		happened := e.At.Add(-time.Duration(600+e.N%7*100) * time.Second)
		row := []string{happened.Format(millis), "-22.7349", "-66.1231", "238.462", fmt.Sprintf("%.1f", 4+float64(e.N%9)/10), "mb", "",
			"47", "1.302", "0.66",
			"us", id, e.At.Format(millis), pick(e.N, "60 km W of San Antonio de los Cobres, Argentina", "near the \"Fox\" Islands",
				"Curaçao, north of"),
			pick(e.N, "earthquake", "earthquake", "quarry blast"), "8.1", "", "0.05", "86", pick(e.N, "automatic", "reviewed"), "us", "us"}
		return id + "/" + e.At.Format(millis), row
	}}
	return &Service{
		Name: "usgs-earthquakes", Host: "https://earthquake.usgs.gov", Late: 2 * time.Minute, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			failed := func(text string) {
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprintf(w, "Error 400: Bad Request\n\n%s\n", text)
			}
			if r.URL.Path != "/fdsnws/event/1/query" {
				http.NotFound(w, r)
				return
			}
			limit, ok := number(query, "limit", 20_000, 1, 20_000)
			offset, okOffset := number(query, "offset", 1, 1, 1<<30)
			updated, okUpdated := moment(query, "updatedafter", time.RFC3339)
			start, okStart := moment(query, "starttime", time.RFC3339)
			wrong := known(query, "format", "limit", "offset", "updatedafter", "starttime", "endtime", "orderby", "minmagnitude")
			order := query.Get("orderby")
			known := query.Get("format") == "csv" && (order == "" || order == "time-asc")
			if wrong != "" || !ok || !okOffset || !okUpdated || !okStart || !known {
				failed("Bad parameter " + wrong)
				return
			}
			if start.IsZero() {
				start = time.Now().Add(-30 * 24 * time.Hour)
			}
			all := keep(store.shown(), func(e Entry) bool {
				happened, _ := time.Parse(millis, e.Body.([]string)[0])
				return within(e.At, updated, time.Time{}) && within(happened, start, time.Time{})
			})
			byHappened(all)
			page, _ := cut(all, offset-1, min(limit, store.Most))
			if len(page) == 0 {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.Header().Set("Content-Type", "text/csv;charset=utf-8")
			out := csv.NewWriter(w)
			_ = out.Write(header)
			for _, e := range page {
				_ = out.Write(e.Body.([]string))
			}
			out.Flush()
		}),
	}
}
