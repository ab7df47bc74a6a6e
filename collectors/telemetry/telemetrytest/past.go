package telemetrytest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

// Past is a source of the past.
type Past interface {
	ReadPast(ctx context.Context, from event.From, emit collectors.Emit) error
}

// ReadsThePast fails the test unless a range of the past is asked for with both its ends, page by page, and all that is in it
// shows, what began to show only lately, too. The clock is that of a bubble.
func ReadsThePast(t *testing.T, opts standin.Options, faults standin.Faults, build func(*httppoll.Past, *http.Client) (Past, error)) {
	synctest.Test(t, func(t *testing.T) {
		opts.Seed = 1
		cloud := standin.New(opts)
		from := time.Now().Add(-24 * time.Hour)
		to := from.Add(200 * time.Second)
		for i := -50; i < 300; i++ {
			e := Made(t, fmt.Sprintf("event-%05d", i+50), from.Add(time.Duration(i)*time.Second))
			if i%3 == 0 {
				e.Visible = time.Now().Add(-time.Hour)
			}
			cloud.Put(e)
		}
		cloud.SetFaults(faults)
		asked := 0
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v2/") {
				asked++
				if !strings.Contains(r.URL.RawQuery, "q.field=end_timestamp&q.op=le&q.value=") {
					t.Errorf("asked without an end: %s", r.URL.RawQuery)
				}
			}
			cloud.ServeHTTP(w, r)
		})
		s, err := build(&httppoll.Past{From: from, To: to}, InProcess(handler))
		if err != nil {
			t.Fatal(err)
		}
		got := map[event.ID]bool{}
		err = s.ReadPast(t.Context(), event.From{}, func(_ context.Context, b collectors.Batch) error {
			for _, e := range b.Events {
				if e.Time.Before(from) || !e.Time.Before(to) {
					t.Errorf("%s of %s is not of the range", e.ID, e.Time)
				}
				got[e.ID] = true
			}
			return nil
		})
		if err != nil || len(got) != 200 || asked > 200 {
			t.Errorf("%d came, want 200, by %d requests (%v)", len(got), asked, err)
		}
	})
}
