package panko

import (
	"testing"
	"time"

	"stackstream/event"
)

// Whatever a cursor is, a run begins where it says or is refused as Invalid; never before what was promised, and the cursor
// that is written comes back as the same, also after it moved.
func FuzzResume(f *testing.F) {
	f.Add([]byte(`{"generated":"2026-11-22T11:00:00.5Z","from":"2026-11-22T10:59:30.5Z","moved":"2026-11-22T11:00:01Z"}`), int64(0), int64(0), int64(1))
	f.Add([]byte(`{"generated":"9999-12-31T23:59:59.999999999Z","from":"0000-01-01T00:00:00+23:59"}`), int64(-62135596800), int64(253402300799), int64(1<<40))
	f.Add([]byte(`{"generated":"2026-11-22T11:00:00+24:00","moved":"9999-12-31T23:59:59-01:00"}`), int64(0), int64(0), int64(0))
	f.Add([]byte(`null`), int64(5), int64(7), int64(-1))
	f.Add([]byte(`{"from":1}`), int64(1), int64(1), int64(0))
	f.Add([]byte(``), int64(1<<33), int64(1), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, newest, floor, generated int64) {
		within := func(s int64) time.Time { return time.Unix(s%(1<<36), 0).UTC() }
		from := event.From{Newest: within(newest), Floor: within(floor)}
		if len(text) > 0 {
			from.Cursor = text
		}
		at, _, err := Default().resume(from, noon)
		if err != nil {
			if event.KindOf(err) != event.Invalid {
				t.Fatalf("kind %v: %v", event.KindOf(err), err)
			}
			return
		}
		if at.From.Before(from.Floor.Truncate(time.Microsecond)) {
			t.Fatalf("begins at %v, promised was %v", at.From, from.Floor)
		}
		before := at
		at.advance(within(generated), noon, Default().Overlap)
		at.rest(noon.Add(48*time.Hour), Default().Overlap)
		if at.From.Before(before.From) || at.Generated.Before(before.Generated) {
			t.Fatalf("%+v moves back to %+v", before, at)
		}
		if y := at.From.Year(); y < 0 || y > 9999 {
			return // beyond what a time in JSON may be: no cursor that was written has it
		}
		written, err := at.encode()
		if err != nil {
			t.Fatalf("%+v: %v", at, err)
		}
		back, _, err := Default().resume(event.From{Cursor: written}, noon)
		if written != nil && (err != nil || !back.From.Equal(at.From) || !back.Generated.Equal(at.Generated) || !back.Moved.Equal(at.Moved)) {
			t.Fatalf("%s comes back as %+v (%v)", written, back, err)
		}
	})
}
