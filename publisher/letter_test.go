package publisher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"stackstream/event"
)

func drawRaw(t *rapid.T) event.Raw {
	text := rapid.OneOf(rapid.StringN(0, 20, -1), rapid.Just(strings.Repeat("ö", 3000)))
	raw := event.Raw{
		ID: event.ID(rapid.StringN(1, 40, -1).Draw(t, "id")), Hashed: rapid.Bool().Draw(t, "hashed"),
		Received: at(rapid.IntRange(1, 100).Draw(t, "received")), Format: rapid.StringN(0, 10, -1).Draw(t, "format"),
		ContentType: rapid.StringN(0, 10, -1).Draw(t, "type"), Backfill: rapid.StringN(0, 10, -1).Draw(t, "backfill"),
		Body: rapid.SliceOfN(rapid.Byte(), 1, 700).Draw(t, "body"),
	}
	if rapid.Bool().Draw(t, "timed") {
		raw.Time = at(7)
	}
	for i := range rapid.IntRange(0, 6).Draw(t, "headers") {
		if raw.Header == nil {
			raw.Header = map[string]string{}
		}
		raw.Header[fmt.Sprintf("Evt-H-%d", i)] = text.Draw(t, "header")
	}
	return raw
}

// What is redriven is what the source gave, however often it is, and its first place is known.
func TestALetterIsItsRawEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bodies := newBodies()
		limits := Limits{MaxBody: rapid.SampledFrom([]int{600, 0}).Draw(t, "max body")}
		want := drawRaw(t)
		first := event.RawPlace{Source: source, Seq: 3, Sequence: 70}
		raw := event.StoredRaw{Raw: want, Provider: provider, Source: source, Seq: 3, Sequence: 70}
		for again := range 3 {
			s := &stream{}
			norm := NewNormalized(s, bodies, provider, Options{Limits: limits})
			if _, err := norm.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err := norm.Commit(t.Context(), []event.Outcome{{
				Raw: raw, Dead: &event.DeadLetter{Reason: event.ReasonPanic, Detail: "why\n" + strings.Repeat("\x00", 2000)}, Converter: "a/1",
			}}, rawStream)
			if err != nil {
				t.Fatal(err)
			}
			letter, err := event.ParseLetter(s.messages[0])
			if err != nil {
				t.Fatal(err)
			}
			for name := letter.Stored.Get(event.HeaderAllObject); name != ""; {
				var all event.Header
				if err := json.Unmarshal(bodies.objects[name], &all); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				letter = letter.WithHeaders(all)
				if name = all.Get(event.HeaderAllObject); bodies.objects[name] == nil {
					name = ""
				}
			}
			if letter.Origin != first || letter.Reason != event.ReasonPanic || letter.Converter != "a/1" || letter.Number != 1 ||
				again > 0 && (letter.Repair == nil || letter.Repair.Why != "because") || again == 0 && letter.Repair != nil {
				t.Fatalf("the letter is %+v", letter)
			}
			body, err := bodies.whole(s.messages[0].Message)
			if err != nil {
				t.Fatal(err)
			}
			got := letter.Again(false, "ada", "because", body)
			diff := cmp.Diff(want, got, cmpopts.IgnoreFields(event.Raw{}, "Repair"), cmpopts.EquateEmpty(),
				cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }))
			if diff != "" || got.Repair.Letter != 1 {
				t.Fatalf("redriven %d times (-want +got):\n%s", again, diff)
			}

			redrive := &stream{}
			writer := NewRaw(redrive, bodies, provider, event.SourceRedrive, event.Fence{}, Options{Limits: limits})
			if _, err := writer.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := writer.Commit(t.Context(), []event.Raw{got}, event.Progress{}); err != nil {
				t.Fatal(err)
			}
			if raw, err = event.ParseRaw(redrive.messages[0]); err != nil {
				t.Fatal(err)
			}
			if r := raw.Repair; r == nil || r.Letter != 1 || r.Source != source || r.Seq != 3 || r.Sequence != 70 || raw.Source != event.SourceRedrive {
				t.Fatalf("in RAW it repairs %+v", r)
			}
			if whole, err := bodies.whole(redrive.messages[0].Message); err != nil || !bytes.Equal(whole, want.Body) {
				t.Fatalf("in RAW it has the body %q (%v)", whole, err)
			}
		}
	})
}
