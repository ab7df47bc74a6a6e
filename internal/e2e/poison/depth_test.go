package poison

import (
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/normalizer/oslo"
)

// A stack that overflows can't be recovered from, it ends the process. So nothing recurses as deep as its input is nested:
// a million brackets are an error, or text, wherever they stand. The stack may have a thousandth of what Go gives it, and
// the test ends the process if that is not enough.
func TestNothingRecursesByDepth(t *testing.T) {
	const depth = 1_000_000
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	for name, deep := range map[string]string{
		"lists":              strings.Repeat("[", depth) + strings.Repeat("]", depth),
		"lists without end":  strings.Repeat("[", depth/20),
		"ends only":          strings.Repeat("]", depth/20),
		"objects":            strings.Repeat(`{"a":`, depth/20) + "1" + strings.Repeat("}", depth/20),
		"versioned objects":  strings.Repeat(`{"x_object.name":"n","x_object.data":`, depth/40) + "{}" + strings.Repeat("}", depth/40),
		"names and values":   strings.Repeat(`{"name":"password","value":`, depth/40) + "1" + strings.Repeat("}", depth/40),
		"not a number":       strings.Repeat("[", depth/20) + "NaN" + strings.Repeat("]", depth/20),
		"strings in strings": strings.Repeat(`[\"`, depth/20) + strings.Repeat(`\"]`, depth/20),
		"backslashes":        strings.Repeat(`\`, depth/20),
		"quotes":             strings.Repeat(`'password': '`, depth/40),
	} {
		t.Run(name, func(t *testing.T) {
			for where, body := range map[string]string{
				"alone":    deep,
				"payload":  `{"message_id":"m","event_type":"port.update.end","payload":` + deep + `}`,
				"text":     `{"message_id":"m","event_type":"port.update.end","payload":{"s":` + string(rawjson.AppendQuoted(nil, deep)) + `}}`,
				"envelope": `{"oslo.version":"2.0","oslo.message":` + string(rawjson.AppendQuoted(nil, `{"event_type":"a","payload":`+deep+`}`)) + `}`,
				"traits":   `{"message_id":"m","event_type":"a.b","traits":[["a",1,` + deep + `]]}`,
				"raw":      `{"message_id":"m","event_type":"a.b","raw":` + string(rawjson.AppendQuoted(nil, deep)) + `}`,
			} {
				for _, c := range converters(t) {
					converted, err := c.Convert(event.Raw{ID: "m", Received: time.Now(), Body: []byte(body)})
					if inText := where == "text"; inText && err != nil {
						t.Errorf("%s, %s: %v", c.Name(), where, err)
					}
					for i := range converted.Events {
						if _, err := converted.Events[i].Encode(); err != nil {
							t.Errorf("%s, %s: %v", c.Name(), where, err)
						}
					}
					if err != nil && len(err.Error()) > 200 {
						t.Errorf("%s, %s: an error of %d bytes", c.Name(), where, len(err.Error()))
					}
				}
			}
		})
	}
}

// What is made of a body is not much more than the body: nothing that is short in it becomes long.
func TestNothingGrowsOutOfProportion(t *testing.T) {
	converter := converters(t)[oslo.Format]
	for name, part := range map[string]string{
		"secrets": `{"token":1},`, "pairs": `["token",1,1],`, "words": `NaN,`, "no UTF-8": "\"a\xffb\xff\",", "ports": `{"id":"%d"},`,
		"text": `"token=a;",`, "names": `{"_":{}},`, "escapes": `"\u2028:=",`, "empty data": `{"x_object.name":1,"x_object.data":{}},`,
	} {
		list := "[" + strings.Repeat(part, 10_000) + "0]"
		body := `{"message_id":"m","event_type":"port.update.end","payload":{"ports":` + list + `}}`
		converted, err := converter.Convert(event.Raw{ID: "m", Received: time.Now(), Body: []byte(body)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, err := converted.Events[0].Encode()
		if err != nil || len(out) > 4*len(body) {
			t.Errorf("%s: %d bytes of %d (%v)", name, len(out), len(body), err)
		}
	}
}
