//go:build bench

package bench

import (
	"context"
	"testing"
	"time"

	"stackstream/bench/measure"
)

// result is what was seen while some events were dealt with.
type result struct {
	Events    int                `json:"events"`
	Seconds   float64            `json:"seconds"`
	Processes map[string]figures `json:"processes"`
}

// figures are of one process, or of several that do the same.
type figures struct {
	CPU  float64 `json:"cpu_us_per_event"`
	Peak float64 `json:"peak_rss_mib"`
}

func (r result) rate() float64 { return float64(r.Events) / r.Seconds }

// watched is a process that is looked at, whoever started it.
type watched struct {
	name string
	pid  int
}

func (s *servers) watched() (all []watched) {
	for _, p := range s.process {
		all = append(all, watched{"nats-server", p.pid()})
	}
	return all
}

func (w *world) brokerWatched() watched { return watched{"rabbitmq", w.beam} }

func (p *process) watched() watched { return watched{p.name, p.pid()} }

// lookEvery is how often it is looked how many events have been dealt with.
const lookEvery = 5 * time.Millisecond

// watch looks from the first event that is dealt with to the last. What comes before, the start of a program above all, is not in
// the figures; what programs do beside, for themselves or for the guarantee, is.
func watch(t testing.TB, events int, count func(context.Context) (int, error), processes []watched, alive ...*process) result {
	t.Helper()
	usage := func() []measure.Usage {
		all := make([]measure.Usage, len(processes))
		for i, p := range processes {
			var err error
			if all[i], err = measure.Of(p.pid); err != nil {
				t.Fatalf("look at %s: %v", p.name, err)
			}
		}
		return all
	}
	until := func(want int) (int, time.Time) {
		last, moved := 0, time.Now()
		for {
			n, err := count(t.Context())
			now := time.Now()
			if err == nil && n >= want {
				return n, now
			}
			if n != last {
				last, moved = n, now
			}
			for _, p := range alive {
				if err := p.ended(); err != nil {
					t.Fatalf("%d of %d events were dealt with: %v", n, events, err)
				}
			}
			if now.Sub(moved) > patience {
				t.Fatalf("%d of %d events were dealt with, and no more within %v: %v", n, events, patience, err)
			}
			time.Sleep(lookEvery)
		}
	}
	for _, p := range processes {
		if err := measure.ForgetPeak(p.pid); err != nil {
			t.Fatalf("look at %s: %v", p.name, err)
		}
	}
	first, begun := until(1)
	before := usage()
	_, ended := until(events)
	after := usage()
	r := result{Events: events - first, Seconds: ended.Sub(begun).Seconds(), Processes: map[string]figures{}}
	for i, p := range processes {
		f := r.Processes[p.name]
		f.CPU += float64((after[i].CPU - before[i].CPU).Microseconds()) / float64(r.Events)
		f.Peak = max(f.Peak, float64(after[i].Peak)/(1<<20))
		r.Processes[p.name] = f
	}
	return r
}

// said counts by what a ceiling says of itself.
func (p *process) said(context.Context) (int, error) { return int(p.count.Load()), nil }

// beyond counts from where something stands now.
func beyond(t testing.TB, count func(context.Context) (int, error)) func(context.Context) (int, error) {
	t.Helper()
	before, err := count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) (int, error) {
		n, err := count(ctx)
		if err != nil {
			return 0, err
		}
		return n - before, nil
	}
}
