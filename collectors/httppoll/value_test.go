package httppoll

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stackstream/internal/records"
	"stackstream/internal/timeform"
)

// The time or number of a cursor may have to be worked out.
func TestCursorsThatAreWorkedOut(t *testing.T) {
	at := time.Date(2026, 7, 2, 13, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		name, record, value string
		typ                 string
		format              timeform.Forms
		want                string
	}{
		{"in a frame", `{"d": "/Date(1782997445000)/"}`, `rec.d.replace("/Date(", "").replace(")/", "")`, CursorTime, timeform.Forms{"unix_ms"}, "2026-07-02T13:04:05Z"},
		{"in two parts", `{"day": "02.07.2026", "hour": "15:04:05"}`, `parse(rec.day + " " + rec.hour, "02.01.2006 15:04:05 in Europe/Berlin")`, CursorTime, nil, "2026-07-02T13:04:05Z"},
		{"in a list", `[7, "2026-07-02T13:04:05Z"]`, `rec[1]`, CursorTime, nil, "2026-07-02T13:04:05Z"},
		{"a number in a text", `{"id": "evt-00042"}`, `int(rec.id.replace("evt-", ""))`, CursorInteger, nil, "42"},
	} {
		cfg := configured("http://service", newService())
		cfg.Cursor = Default().Cursor
		cfg.Cursor.Type, cfg.Cursor.Value, cfg.Cursor.Format = test.typ, test.value, test.format
		cfg.Cursor.Send.Name = "from"
		src := local(t, cfg, http.NotFoundHandler())
		got := src.record(&records.Page{Records: [][]byte{[]byte(test.record)}}, 0, "", at)
		text := got.raw.Time.Format(time.RFC3339Nano)
		if got.number != nil {
			text = fmt.Sprint(*got.number)
		}
		if text != test.want {
			t.Errorf("%s: %s, want %s", test.name, text, test.want)
		}
	}
}

// In autumn a clock on a wall shows an hour twice. With the overlap that the check asks for nothing is missed.
func TestTheHourThatComesTwice(t *testing.T) {
	const layout = "2006-01-02 15:04:05"
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, "", func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 10, 24, 22, 0, 0, 0, time.UTC)))
		type entry struct{ id, at string }
		var all []entry
		cfg := configured("http://service", newService())
		cfg.Cursor.Format = timeform.Forms{layout + " in Europe/Berlin"}
		cfg.Pagination = Default().Pagination
		found := func() bool {
			for _, p := range cfg.Doubts() {
				if p.Field == "cursor.format" && strings.Contains(p.Msg, "an overlap of 2h") {
					return true
				}
			}
			return false
		}
		if !found() {
			t.Errorf("no doubt about %s", cfg.Cursor.Overlap)
		}
		if cfg.Cursor.Overlap = 2 * time.Hour; found() {
			t.Error("a doubt about two hours")
		}
		src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			from := ""
			if text := r.URL.Query().Get("from"); text != "" {
				if _, err := time.Parse(layout, text); err != nil {
					t.Errorf("asked from %q", text)
				}
				from = text
			}
			list := []map[string]string{}
			for _, e := range all {
				if e.at >= from { // as the service sees it: the clock is all it has
					list = append(list, map[string]string{"id": e.id, "at": e.at, "type": "x"})
				}
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"events": list})
		})), newSink(t)
		for i := range 60 { // five hours
			all = append(all, entry{fmt.Sprint(i), time.Now().In(berlin).Format(layout)})
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
		}
		if len(out.ids) != len(all) {
			t.Errorf("%d came of %d", len(out.ids), len(all))
		}
	})
}
