package envelope

import (
	"fmt"
	"strings"
	"testing"

	"stackstream/internal/rawjson"
)

func TestOpen(t *testing.T) {
	const bare = `{"event_type": "x.y", "payload": {"a": 1}}`
	var d Desk // one for all: nothing of one notification shows in the next
	for _, c := range []struct {
		name, body string
		mended     int
		want       string // the event type, or the error
	}{
		{"version 1", bare, 0, "x.y"},
		{"version 2", `{"oslo.version": "2.0", "oslo.message": ` + fmt.Sprintf("%q", bare) + `}`, 0, "x.y"},
		{"an object", `{"oslo.message": ` + strings.Replace(bare, "x.y", "z", 1) + `}`, 0, "z"},
		{"over AMQP 1.0", `{"request": {"oslo.version": "2.0", "oslo.message": ` + fmt.Sprintf("%q", bare) + `}, "context": {}}`, 0, "x.y"},
		{"version 1 over AMQP 1.0", `{"request": ` + bare + `, "context": {}}`, 0, "x.y"},
		{"an event with a request", `{"request": ` + bare + `, "event_type": "z"}`, 0, "z"},
		{"a request that is no object", `{"request": "z"}`, 0, ""},
		{"mended in both", `{"oslo.version": "2.1", "n": NaN, "oslo.message": "{\"event_type\": \"m\", \"n\": -Infinity}"}`, 2, "m"},
		{"long", `{"oslo.message": "{\"event_type\": \"` + strings.Repeat(`\u0078`, 300<<10) + `\"}"}`, 0, strings.Repeat("x", 300<<10)},
		{"no type", `{}`, 0, ""},
		{"version 3", `{"oslo.version": 3, "oslo.message": "{}"}`, 0, "oslo.version: want 2.x"},
		{"no message", `{"oslo.version": "2.0"}`, 0, "oslo.message: neither an object nor a string that holds one"},
		{"a list", `{"oslo.message": "[]"}`, 0, "oslo.message: neither an object nor a string that holds one"},
		{"nothing in it", `{"oslo.message": ""}`, 0, "oslo.message: empty"},
		{"no object", `[]`, 0, "body: not an object"},
		{"no JSON", `{`, 0, "body: byte 1: unexpected end of JSON input"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, levels := range []int{2, rawjson.All} {
				doc, mended, err := d.Open([]byte(c.body), levels)
				got := ""
				if err != nil {
					got = err.Error()
				} else if at := doc.Member(0, "event_type"); at >= 0 {
					got = doc.Value(at).ID()
				}
				if got != c.want || mended != c.mended {
					t.Errorf("%.100q, %d mended, want %.100q, %d", got, mended, c.want, c.mended)
				}
				if err == nil && doc.Member(0, "payload") >= 0 && doc.Known(doc.Member(0, "payload")) != (levels > 2) {
					t.Errorf("%d levels were asked for", levels)
				}
				d.Clear()
			}
		})
	}
}
