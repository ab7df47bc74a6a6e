package amqp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"stackstream/event"
)

func TestStateComesBack(t *testing.T) {
	st := state{
		Queue: "q", Keys: []string{"a.info", "a.error"}, Claims: map[string]claim{"nova": {Bound: true, Lost: noon}, "glance": {}},
		Dropped: map[string]int64{"maxlen": 7}, Counted: []string{"x"}, BodyBytes: 900,
	}
	for i := range 20 {
		st.addGap(Gap{What: fmt.Sprintf("exchange %d", i), From: at(i), To: at(i + 1)})
	}
	again, err := readState(st.cursor())
	if err != nil || fmt.Sprint(again) != fmt.Sprint(st) {
		t.Errorf("the state comes back as %+v, %v; want %+v", again, err, st)
	}
	if n := len(again.Gaps); n != 16 || again.GapsTotal != 20 || again.Gaps[0].What != "exchange 4" || again.Gaps[15].What != "exchange 19" {
		t.Errorf("%d gaps of %d are kept, from %s on", n, again.GapsTotal, again.Gaps[0].What)
	}
	first, err := readState(nil)
	if err != nil || first.Claims == nil || first.Dropped == nil {
		t.Errorf("no cursor is %+v, %v", first, err)
	}
}

func TestForeignCursorsAreRefused(t *testing.T) {
	for _, cursor := range []string{`{`, `"page 7"`, `[]`, `7`, `{}`, `null`, `{"from": "2026-11-22T05:00:00Z"}`, `{"keys": "a"}`, `{"keys": [], "queue": "q"}`} {
		_, err := readState(event.Cursor(cursor))
		var e *event.Error
		if !errors.As(err, &e) || e.Kind != event.Invalid || !strings.Contains(err.Error(), "not one of this kind of source") {
			t.Errorf("the cursor %s gives %v", cursor, err)
		}
	}
}

func TestAStateOfANewerFormatIsRefused(t *testing.T) {
	_, err := readState(event.Cursor(`{"format": 2, "bindings": ["nova"]}`))
	var newer *event.NewerError
	if !errors.As(err, &newer) || event.KindOf(err) != event.Invalid {
		t.Errorf("it gives %v", err)
	}
}
