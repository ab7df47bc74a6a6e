package httppoll

import (
	"strings"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

func TestRewind(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	to := now.Add(-2 * time.Hour)
	timed, dated, number, none := Default(), Default(), Default(), Default()
	timed.Cursor.Type, dated.Cursor.Type, number.Cursor.Type = CursorTime, CursorTime, CursorInteger
	dated.Cursor.Send.Format = "date"
	dialect := timed.ManualDialect("panko")
	for _, tt := range []struct {
		name         string
		manual       collectors.Manual
		cursor, want string
		at           time.Time // that it reads from
		refused      string
	}{
		{
			name: "of one part", manual: timed.Manual(), at: to,
			cursor: `{"parts":{"":{"newest":"2026-11-22T11:59:00Z","from":"2026-11-22T11:58:00Z","moved":"2026-11-20T00:00:00Z","etag":"x","began":true}}}`,
			want:   `{"parts":{"":{"newest":"2026-11-22T10:00:00Z","from":"2026-11-22T10:00:00Z","moved":"2026-11-22T12:00:00Z","began":true}}}`,
		},
		{
			name: "only what lies behind it", manual: timed.Manual(), at: to,
			cursor: `{"parts":{"a":{"from":"2026-11-22T11:58:00Z","began":true},"b":{"from":"2026-11-22T09:00:00Z","began":true},` +
				`"c":{"began":true}},"next":"b"}`,
			want: `{"parts":{"a":{"newest":"2026-11-22T10:00:00Z","from":"2026-11-22T10:00:00Z","moved":"2026-11-22T12:00:00Z",` +
				`"began":true},"b":{"from":"2026-11-22T09:00:00Z","began":true},"c":{"began":true}}}`,
		},
		{
			name: "to what can be asked for", manual: dated.Manual(), at: now.Add(-12 * time.Hour),
			cursor: `{"parts":{"":{"from":"2026-11-22T11:58:00Z","began":true}}}`,
			want:   `{"parts":{"":{"newest":"2026-11-22T00:00:00Z","from":"2026-11-22T00:00:00Z","moved":"2026-11-22T12:00:00Z","began":true}}}`,
		},
		{
			name: "of a dialect", manual: dialect, at: to,
			cursor: `{"generated":"2026-11-22T11:59:00Z","from":"2026-11-22T11:58:30Z","moved":"2026-11-22T11:59:01Z"}`,
			want:   `{"generated":"2026-11-22T10:00:00Z","from":"2026-11-22T10:00:00Z","moved":"2026-11-22T12:00:00Z"}`,
		},
		{name: "never read", manual: timed.Manual(), refused: "it has not read anything yet"},
		{name: "earlier already", manual: dialect, cursor: `{"from":"2026-11-22T09:00:00Z"}`, refused: "it reads from 2026-11-22T09:00:00Z on in any case"},
		{name: "beginning", manual: timed.Manual(), cursor: `{"parts":{"":{"began":true}}}`, refused: "it reads from the beginning in any case"},
		{name: "number", manual: number.Manual(), cursor: `{"parts":{"":{"number":7}}}`, refused: "of the type integer, .* watermark set --cursor"},
		{name: "none", manual: none.Manual(), cursor: `{"parts":{"":{}}}`, refused: "every run reads all that the service shows"},
		{name: "newer", manual: timed.Manual(), cursor: `{"format":99}`, refused: "written by a newer stackstream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var cursor event.Cursor
			if tt.cursor != "" {
				cursor = event.Cursor(tt.cursor)
			}
			got, at, err := tt.manual.Rewind(cursor, to, now)
			if tt.refused != "" {
				before, behind, _ := strings.Cut(tt.refused, ".*")
				if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), before) || !strings.Contains(err.Error(), behind) {
					t.Errorf("it says %v, want %s", err, tt.refused)
				}
				return
			}
			if err != nil || string(got) != tt.want || !at.Equal(tt.at) {
				t.Errorf("from %v on by\n%s, %v; want %v and\n%s", at, got, err, tt.at, tt.want)
			}
		})
	}
	if _, _, err := timed.Manual().Rewind(event.Cursor(`{"parts":{"":{"began":true}}}`), now.Add(time.Hour), now); err == nil {
		t.Error("what has not come yet can be rewound to")
	}
}

func TestSetCursor(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	timed, number, token, none := Default(), Default(), Default(), Default()
	timed.Cursor.Type, number.Cursor.Type, token.Cursor.Type = CursorTime, CursorInteger, CursorToken
	parted := number
	parted.Partitions.Values = []string{"a", "b"}
	dialect := timed.ManualDialect("panko")
	for _, tt := range []struct {
		manual             collectors.Manual
		cursor, text, want string
		refused            string
	}{
		{manual: number.Manual(), text: "120", want: `{"parts":{"":{"number":120,"began":true}}}`},
		{manual: number.Manual(), cursor: `{"parts":{"a":{"number":3,"etag":"x"},"b":{}}}`, text: "-1",
			want: `{"parts":{"a":{"number":-1,"began":true},"b":{"number":-1,"began":true}}}`},
		{manual: token.Manual(), text: "abc", want: `{"parts":{"":{"token":"abc","began":true}}}`},
		{manual: timed.Manual(), text: "2026-11-22T09:00:00+01:00",
			want: `{"parts":{"":{"newest":"2026-11-22T08:00:00Z","from":"2026-11-22T08:00:00Z","moved":"2026-11-22T12:00:00Z","began":true}}}`},
		{manual: dialect, text: "2026-11-22T08:00:00Z",
			want: `{"generated":"2026-11-22T08:00:00Z","from":"2026-11-22T08:00:00Z","moved":"2026-11-22T12:00:00Z"}`},
		{manual: dialect, text: `{"from":"2026-11-22T08:00:00Z"}`, want: `{"from":"2026-11-22T08:00:00Z"}`},
		{manual: number.Manual(), text: ` {"parts":{"a":{"number":3}}}`, want: `{"parts":{"a":{"number":3,"began":true}}}`},
		{manual: number.Manual(), text: "1.5", refused: "is no whole number"},
		{manual: timed.Manual(), text: "yesterday", refused: "is no time such as"},
		{manual: parted.Manual(), text: "5", refused: "give the whole cursor, as JSON"},
		{manual: number.Manual(), text: `{"parts":{"":{"numbr":3}}}`, refused: `parts[""].numbr: unknown`},
		{manual: number.Manual(), text: `{"parts":{"":{"token":"x"}}}`,
			refused: `parts[""].token: is of a cursor of the type token, and this one is of the type integer`},
		{manual: timed.Manual(), text: `{"parts":{"a":{},"b":{"from":"yesterday"}}}`, refused: `parts["b"].from: wants a time`},
		{manual: dialect, text: `{"generated":7}`, refused: "generated: wants a time"},
		{manual: dialect, text: `{"format":99}`, refused: "written by a newer stackstream"},
		{manual: number.Manual(), text: `{}`, refused: "it has no positions"},
		{manual: number.Manual(), text: `{"parts":{}} {}`, refused: "after top-level value"},
		{manual: none.Manual(), text: "5", refused: "is not asked from a cursor on"},
	} {
		var cursor event.Cursor
		if tt.cursor != "" {
			cursor = event.Cursor(tt.cursor)
		}
		got, err := tt.manual.Set(cursor, tt.text, now)
		if tt.refused != "" {
			if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%s: %v, want %s", tt.text, err, tt.refused)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s is %s, %v; want %s", tt.text, got, err, tt.want)
		}
	}
}

// Where nobody knows the configuration, the cursor that is there says what another one has to be like.
func TestSetCursorLikeTheOneThatIsThere(t *testing.T) {
	panko := WholeCursorOf("panko")
	const numbers, dated, token = `{"parts":{"a":{"number":3}}}`, `{"parts":{"":{"from":"2026-11-22T08:00:00Z"}}}`, `{"parts":{"":{"token":"x"}}}`
	for _, tt := range []struct {
		whole         func(event.Cursor, string) (event.Cursor, error)
		was, text     string
		want, refused string
	}{
		{whole: WholeCursor, was: numbers, text: `{"parts":{"":{"number":-4}}}`, want: `{"parts":{"":{"number":-4,"began":true}}}`},
		{whole: WholeCursor, was: numbers, text: dated, refused: `parts[""].from: is of a cursor of the type time, and this one is of the type integer`},
		{whole: WholeCursor, was: dated, text: token, refused: `parts[""].token: is of a cursor of the type token, and this one is of the type time`},
		{whole: WholeCursor, was: token, text: numbers, refused: `parts["a"].number: is of`},
		{whole: WholeCursor, was: token, text: `{"parts":{"":{"tokn":"y"}}}`, refused: `parts[""].tokn: unknown`},
		{whole: WholeCursor, was: token, text: `{"generated":"2026-11-22T08:00:00Z"}`, refused: "generated: unknown (known here: next, parts)"},
		{whole: WholeCursor, was: token, text: `{"parts":{}}`, refused: "it has no positions"},
		{whole: WholeCursor, text: token, want: `{"parts":{"":{"token":"x","began":true}}}`},
		{whole: WholeCursor, was: `{"parts":7}`, text: token, want: `{"parts":{"":{"token":"x","began":true}}}`},
		{whole: WholeCursor, was: `{"format":99}`, text: token, refused: "written by a newer stackstream"},
		{whole: panko, was: `{"from":"2026-11-22T08:00:00Z"}`, text: `{"from":"2026-11-21T08:00:00+00:00"}`, want: `{"from":"2026-11-21T08:00:00Z"}`},
		{whole: panko, was: `{"from":"2026-11-22T08:00:00Z"}`, text: token, refused: "parts: unknown (known here: from, generated, moved)"},
	} {
		var was event.Cursor
		if tt.was != "" {
			was = event.Cursor(tt.was)
		}
		got, err := tt.whole(was, tt.text)
		if tt.refused != "" {
			if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%s in place of %s: %v, want %s", tt.text, tt.was, err, tt.refused)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s in place of %s is %s, %v; want %s", tt.text, tt.was, got, err, tt.want)
		}
	}
}
