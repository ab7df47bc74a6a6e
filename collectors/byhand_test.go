package collectors_test

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/collectors"
	"stackstream/event"
)

// byHand has a member of every type that cursors are made of.
type byHand struct {
	At    time.Time        `json:"at,omitzero"`
	Text  string           `json:"text,omitempty"`
	Count *int64           `json:"count,omitempty"`
	Size  int              `json:"size,omitempty"`
	Begun bool             `json:"begun,omitempty"`
	Names []string         `json:"names,omitempty"`
	Parts map[string]*part `json:"parts,omitempty"`
}

type part struct {
	From time.Time `json:"from,omitzero"`
	N    int64     `json:"n,omitempty"`
}

func TestReadCursorNamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		``:                                "it is no JSON: unexpected end of JSON input",
		`{"size":1} {}`:                   "it is no JSON: invalid character '{' after top-level value",
		`null`:                            "it has to be a JSON object",
		`[1]`:                             "it has to be a JSON object",
		`{"at":"yesterday"}`:              "at: wants a time such as 2026-01-31T12:00:00Z",
		`{"at":null}`:                     "at: wants a time such as 2026-01-31T12:00:00Z",
		`{"text":7}`:                      "text: wants a text",
		`{"count":"7"}`:                   "count: wants a whole number",
		`{"count":1.5}`:                   "count: wants a whole number",
		`{"size":1e99}`:                   "size: wants a whole number",
		`{"begun":"yes"}`:                 "begun: wants true or false",
		`{"names":"a"}`:                   "names: wants a list",
		`{"names":["a",2]}`:               "names[1]: wants a text",
		`{"parts":[]}`:                    "parts: wants a JSON object",
		`{"parts":{"a":null}}`:            `parts["a"]: wants a JSON object`,
		`{"parts":{"":{"form":"x"}}}`:     `parts[""].form: unknown (known here: from, n)`,
		`{"parts":{"a.b":{"n":"x"}}}`:     `parts["a.b"].n: wants a whole number`,
		`{"Size":1}`:                      "Size: unknown (known here: at, begun, count, names, parts, size, text)",
		`{"parts":{},"size":1,"zeal":{}}`: "zeal: unknown (known here: at, begun, count, names, parts, size, text)",
	} {
		err := collectors.ReadCursor(text, &byHand{})
		if want = "read the cursor: invalid: " + want; event.KindOf(err) != event.Invalid || err.Error() != want {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

func TestReadCursorReadsWhatWasWritten(t *testing.T) {
	at := rapid.Map(rapid.Int64Range(-60_000_000_000, 250_000_000_000), func(s int64) time.Time { return time.Unix(s, 7).UTC() })
	rapid.Check(t, func(t *rapid.T) {
		want := byHand{
			At: at.Draw(t, "at"), Text: rapid.String().Draw(t, "text"), Count: rapid.Ptr(rapid.Int64(), true).Draw(t, "count"),
			Size: rapid.Int().Draw(t, "size"), Begun: rapid.Bool().Draw(t, "begun"),
			Names: rapid.SliceOfN(rapid.StringMatching(`[a-z"\\]{0,4}`), 1, 3).Draw(t, "names"),
			Parts: map[string]*part{rapid.StringMatching(`[a-z.]{0,4}`).Draw(t, "part"): {From: at.Draw(t, "from"), N: 3}},
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got byHand
		err = collectors.ReadCursor(string(text), &got)
		if again, _ := json.Marshal(got); err != nil || string(again) != string(text) {
			t.Fatalf("%s is read as %s, %v", text, again, err)
		}
	})
}
