package httppoll

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

// Where only their number lets records be known again, no more are handed over than that before the cursor passes them.
func TestMoreThanIsRememberedIsRefused(t *testing.T) {
	for _, test := range []struct {
		cursor, order string
		ok            bool
	}{
		{CursorNone, "unordered", false}, {CursorInteger, "unordered", false}, {CursorInteger, "ascending", true},
		{CursorTime, "unordered", true},
	} {
		bubble(t, test.cursor+" "+test.order, func(t *testing.T) {
			s := newService()
			s.order = test.order
			for range 60 {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			cfg := configured("http://service", s)
			switch cfg.Remember = 50; test.cursor {
			case CursorNone:
				cfg.Cursor = Default().Cursor
			case CursorInteger:
				cfg.Cursor = Default().Cursor
				cfg.Cursor.Type, cfg.Cursor.Field, cfg.Cursor.Order = CursorInteger, "n", test.order
				cfg.Cursor.Send.Name = "after_number"
			}
			src, out := local(t, cfg, s), newSink(t)
			err := src.fetch(t.Context(), out.from, out.emit)
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				out.wantAll(s)
				return
			}
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "remember: 50") || len(out.ids) > 50 {
				t.Errorf("%d were handed over, and then: %v", len(out.ids), err)
			}
		})
	}
}

// A service that no longer takes the time that is asked for begins again, but nothing comes that was forgotten since.
func TestAResetKeepsWhatWasPromised(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Retry.On = map[string]string{"410": "reset_cursor"}
		src, out := local(t, cfg, s), newSink(t)
		for range 200 {
			s.put(time.Now())
			time.Sleep(time.Second)
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		gone := true
		s.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			if !gone {
				return false
			}
			gone = false
			http.Error(w, "too old", http.StatusGone)
			return true
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		if gone {
			t.Error("nobody was told that it is gone")
		}
		out.wantAll(s) // the sink looks for what is older than promised
	})
}

// The service's clock may be behind ours by less than shows. What it has not dated yet is not passed.
func TestAClockThatIsALittleBehind(t *testing.T) {
	const behind = 1500 * time.Millisecond
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor.Overlap, cfg.Cursor.Send.Until = 0, "until"
		src, out := local(t, cfg, s), newSink(t)
		for range 5 {
			s.put(time.Now().Add(-behind))
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			mark := out.marks[len(out.marks)-1]
			time.Sleep(200 * time.Millisecond)
			if e := s.put(time.Now().Add(-behind)); e.At.Before(mark) {
				t.Errorf("a watermark says %s, and then comes what is of %s", mark, e.At)
			}
			time.Sleep(10 * time.Second)
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
	})
}
