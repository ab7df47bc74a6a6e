package letters

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"stackstream/event"
)

func TestFilter(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	l := event.Letter{
		Raw: event.Raw{Format: "http/prod"}, Number: 17, DeadLetter: event.DeadLetter{Reason: event.ReasonMalformed, Detail: "type: no such member"},
		Converter: "http/1-0fa3", Origin: event.RawPlace{Source: "http"}, Made: event.RawPlace{Source: "redrive"}, StoredAt: at,
	}
	numbers, err := ParseNumbers("3, 10-17")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Filter{
		"nothing": {}, "reason": {Reasons: []string{"panic", "malformed"}}, "converter": {Converters: []string{"oslo/*", "http/*"}},
		"any converter": {Converters: []string{"*"}}, "version": {Converters: []string{"*0fa?"}}, "format": {Formats: []string{"http/prod"}},
		"first source": {Sources: []string{"http"}}, "since": {Since: at}, "until": {Until: at.Add(1)}, "numbers": {Numbers: numbers},
		"detail": {Match: "no such"},
	} {
		if !f.Wants(&l) || f.Validate() != nil {
			t.Errorf("%s: the letter is not wanted: %v", name, f.Validate())
		}
	}
	for name, f := range map[string]Filter{
		"reason": {Reasons: []string{"panic"}}, "converter": {Converters: []string{"oslo/*"}}, "format": {Formats: []string{"oslo"}},
		"source": {Sources: []string{"redrive"}}, "since": {Since: at.Add(1)}, "until": {Until: at}, "numbers": {Numbers: Numbers{{18, 20}}},
		"detail": {Match: "panic"},
	} {
		if f.Wants(&l) {
			t.Errorf("%s: the letter is wanted", name)
		}
	}
	for text, f := range map[string]Filter{
		"is no glob": {Converters: []string{"[a"}}, "one of open, queued": {State: "closed"}, "nothing lies between": {Since: at, Until: at},
	} {
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	for _, text := range []string{"", "0", "a", "5-2", "1,,2", "-3", "1-", "18446744073709551616"} {
		if _, err := ParseNumbers(text); err == nil {
			t.Errorf("%q is taken for numbers", text)
		}
	}
}

// What is exported is what was there, byte for byte.
func TestRecordsComeBack(t *testing.T) {
	text := rapid.StringN(0, 20, -1)
	rapid.Check(t, func(t *rapid.T) {
		l := event.Letter{
			Raw:      event.Raw{ID: event.ID(text.Draw(t, "id")), Format: text.Draw(t, "format"), Received: time.Unix(5, 7).UTC()},
			Provider: cloud, Number: 3, DeadLetter: event.DeadLetter{Reason: event.ReasonPanic, Detail: text.Draw(t, "detail")},
			Stored: event.Header{"Evt-Id": {"a%20b"}, "Evt-X": {"<&>\u2028"}}, Stream: event.StreamDead, Sequence: 9, StoredAt: time.Unix(8, 0),
		}
		want := NewRecord(&l, Open)
		switch rapid.IntRange(0, 2).Draw(t, "body") {
		case 0:
			want.Body = Body{Bytes: rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")}
		case 1:
			want.Body = Body{Bytes: []byte(rapid.String().Draw(t, "text"))}
		default:
			want.Body = Body{Lost: errors.New("gone")}
		}
		line, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Record
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b error) bool { return a == nil && b == nil || a.Error() == b.Error() })); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", line, diff)
		}
	})
}
