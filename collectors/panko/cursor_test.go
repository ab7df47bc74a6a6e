package panko

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

func TestAStartAtNowIsDurableBeforeTheFirstEvent(t *testing.T) {
	s := standin.New(standin.Options{})
	s.Put(telemetrytest.Made(t, "old", time.Now().Add(-time.Hour)))
	src := local(t, s, func(c *Config) { c.SkipHistory = true })
	var out telemetrytest.Sink
	if err := out.Once(t, src); err != nil {
		t.Fatal(err)
	}
	first := out.Batches[0]
	if len(first.Events) != 0 || first.Cursor == nil || first.Floor.IsZero() {
		t.Fatalf("the first batch is %+v", first)
	}
	s.Put(telemetrytest.Made(t, "new", time.Now()))
	if err := out.Once(t, src); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Want(t, out.IDs(), []string{"new"})
}

// What an earlier version stored is read, and what is stored can be read by an earlier version.
func TestTheCursorIsWrittenAsItEverWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is midnight, at the beginning of the year 2000
		s := standin.New(standin.Options{})
		time.Sleep(time.Hour)
		s.Put(telemetrytest.Made(t, "known", time.Now().Add(-time.Hour)), telemetrytest.Made(t, "new", time.Now().Add(-10*time.Minute)))
		out := telemetrytest.Sink{From: event.From{Cursor: event.Cursor(
			`{"generated":"2000-01-01T00:30:00.5Z","from":"2000-01-01T00:29:30.5Z","moved":"2000-01-01T00:30:01Z"}`)}}
		asked := telemetrytest.Queries(s)
		if err := out.Once(t, local(t, s, nil)); err != nil {
			t.Fatal(err)
		}
		telemetrytest.Want(t, out.IDs(), []string{"new"})
		if !strings.Contains((*asked)[0], "q.value=2000-01-01T00%3A29%3A30.500000") {
			t.Errorf("it goes on with %s", (*asked)[0])
		}
		want := `{"generated":"2000-01-01T00:50:00Z","from":"2000-01-01T00:49:30Z","moved":"2000-01-01T01:00:00Z"}`
		if got := string(out.From.Cursor); got != want {
			t.Errorf("the cursor is\n%s, want\n%s", got, want)
		}
	})
}
