//go:build openstack

package openstack

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"stackstream/event"
	"stackstream/internal/openstacktest"
	"stackstream/internal/rabbitmqtest"
)

const (
	provider = event.Provider("cloud")
	seed     = 20261123
)

// Real services tell what is done to them. Whatever dies meanwhile, exactly that is handed out: with exchanges that
// outlive a restart of the broker every event; with others, as oslo.messaging declares them by default, every event that
// could reach our queue, and where one is missing a gap is told.
func TestEventsOfARealCloud(t *testing.T) {
	names, err := openstacktest.ParseServices("keystone glance " + os.Getenv("SERVICES"))
	if err != nil {
		t.Fatal(err)
	}
	watch := newStopwatch()
	var programs errgroup.Group
	programs.Go(build)
	cloud := openstacktest.New(t, names...)
	broker := rabbitmqtest.Start(t)
	watch.lap(t, "a broker")
	if err := programs.Wait(); err != nil {
		t.Fatal(err)
	}
	watch.lap(t, "our programs")
	for _, durable := range []bool{false, true} {
		t.Run(map[bool]string{false: "transient", true: "durable"}[durable], func(t *testing.T) {
			newScene(t, cloud, broker, durable).play(t)
		})
	}
	watch.lap(t, "both variants")
}

// stopwatch tells how long the parts of the test take.
type stopwatch struct{ begin, last time.Time }

func newStopwatch() *stopwatch { now := time.Now(); return &stopwatch{now, now} }

func (w *stopwatch) lap(t *testing.T, what string) {
	t.Helper()
	now := time.Now()
	t.Logf("%5.1f s (%5.1f s since the beginning): %s", now.Sub(w.last).Seconds(), now.Sub(w.begin).Seconds(), what)
	w.last = now
}
