package amqp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/event"
	"stackstream/internal/notification"
)

// Whatever a cursor is, it is read or refused as Invalid; what was read can be written, and comes back as the same.
func FuzzReadState(f *testing.F) {
	for _, s := range []string{
		`{"queue":"q","keys":["a.info"],"claims":{"nova":{"bound":true,"lost":"2026-11-22T12:00:00Z"}},"dropped":{"maxlen":7},"counted":["x"],"body_bytes":900}`,
		`{"keys":[""],"gaps":[{"what":"x","from":"9999-12-31T23:59:59-23:59","to":"0000-01-01T00:00:00+23:59"}],"gaps_total":-1}`,
		`{"keys":["a"],"claims":{"x":{"lost":"2026-11-22T12:00:00+24:00"}}}`, `{"keys":["a"],"claims":null,"dropped":null,"body_bytes":-9223372036854775808}`, `{"keys":["\ud800"]}`, `{}`, `null`, `"a"`, `{"keys":[1]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, cursor []byte) {
		st, err := readState(cursor)
		if err != nil {
			if event.KindOf(err) != event.Invalid {
				t.Fatalf("kind %v: %v", event.KindOf(err), err)
			}
			return
		}
		written := st.cursor()
		again, err := readState(written)
		if len(cursor) > 0 && (err != nil || string(again.cursor()) != string(written)) {
			t.Fatalf("%s comes back as %+v (%v)", written, again, err)
		}
		for i := range 2 * droppedPrefetch {
			st.count("maxlen", fmt.Sprint(i))
			st.addGap(Gap{What: "x"})
		}
		if len(st.Counted) != droppedPrefetch || len(st.Gaps) != keptGaps {
			t.Fatalf("%d marks and %d gaps are kept", len(st.Counted), len(st.Gaps))
		}
		st.moveTo("elsewhere")
		_ = st.cursor()
	})
}

// Whatever a broker delivers makes a raw event that any server takes, with the bytes that were delivered, and comes back.
func FuzzDelivery(f *testing.F) {
	f.Add("nova", "notifications.info", "m", "application/json", "utf-8", "", "00-1-2-01", false, []byte(`{"message_id":"a"}`))
	f.Add("a\r\nb", "\xff", "\x00", "\r\nNats-Rollup: all", "gzip", "application/x-gzip", "\r\n\r\n", true, []byte("\x78\x9c"))
	f.Add("", "", strings.Repeat("m", 600), "", "", strings.Repeat("z", 70_000), "", true, []byte(nil))
	f.Add("x", "y", "", "", "", "application/x-bz2", "t", false, []byte("BZh91AY&SY"))
	f.Fuzz(func(t *testing.T, exchange, key, id, contentType, encoding, compressed, trace string, again bool, body []byte) {
		d := &amqp091.Delivery{
			Exchange: exchange, RoutingKey: key, MessageId: id, ContentType: contentType, ContentEncoding: encoding,
			Redelivered: again, Body: body, Headers: amqp091.Table{"compression": compressed, "traceparent": trace},
		}
		all, _, _ := new(notification.Reader).Raws(raw(d), uncompressed(d), func(string) bool { return true })
		if len(all) == 0 {
			t.Fatal("nothing was made of it")
		}
		r := all[0]
		if r.Format == notification.Oslo && string(r.Body) != string(body) {
			t.Fatalf("body %q, want %q", r.Body, body)
		}
		body, compressed = r.Body, r.Header["Evt-Compression"]
		r.Received = time.Unix(1, 0).UTC()
		if r.ID == "" {
			r.ID = event.HashID(body) // as the Collector does
		}
		m := r.Message("cloud", "amqp", 1, event.BodyRef{})
		for name, values := range m.Header {
			if strings.ContainsAny(name+values[0], " \r\n\x00") {
				t.Fatalf("header %q: %q", name, values)
			}
		}
		back, err := event.ParseRaw(event.Stored{Message: m})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"Evt-Exchange": exchange, "Evt-Routing-Key": key, "Evt-Compression": compressed, event.HeaderTraceparent: trace,
		} {
			if back.Header[name] != want {
				t.Fatalf("%s is %q, want %q", name, back.Header[name], want)
			}
		}
		if back.ID != event.BoundID(r.ID) || back.ContentType != contentType || string(back.Body) != string(body) {
			t.Fatalf("%+v comes back as %+v", r, back)
		}
	})
}

// What a broker says of a dropped message is believed only as far as it can be: reasons are a few words, for counting.
func FuzzDeath(f *testing.F) {
	f.Add("maxlen", "nova", uint8(0))
	f.Add("expired\r\n", "\xff", uint8(1))
	f.Add("", "", uint8(9))
	f.Fuzz(func(t *testing.T, reason, exchange string, shape uint8) {
		table := amqp091.Table{"reason": reason, "exchange": exchange}
		for _, headers := range []amqp091.Table{
			nil, {"x-death": nil}, {"x-death": []any{}}, {"x-death": []any{nil}}, {"x-death": table}, {"x-death": []any{table, table}},
			{"x-death": []any{amqp091.Table{"reason": shape, "exchange": table}}}, {"x-death": reason},
		}[:1+shape%8] {
			why, from := death(&amqp091.Delivery{Headers: headers})
			switch why {
			case "unknown", "maxlen", "expired", "rejected", "delivery_limit":
			default:
				t.Fatalf("the reason is %q", why)
			}
			if from != "" && from != exchange {
				t.Fatalf("the exchange is %q", from)
			}
		}
	})
}
