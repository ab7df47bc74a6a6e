//go:build bench

package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/bench/measure"
	"stackstream/event"
)

// providersRow is what so many providers cost that have nothing to tell, in one collector and one normalizer.
type providersRow struct {
	Providers int                `json:"providers"`
	Polled    float64            `json:"all_polled_s"` // from the start of the collector until each was asked once
	Processes map[string]idleRow `json:"processes"`
}

type idleRow struct {
	RSS  float64 `json:"rss_mib"`
	Core float64 `json:"share_of_a_core"`
}

// providers has more and more providers polled that show nothing.
func providers(t *testing.T, w *world, report *report) {
	for _, n := range w.opt.Providers {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			clouds := w.startClouds(t, n, pollEvery)
			p := w.newPipeline(t, w.startServers(t, "synced", true), clouds.providers())
			begun := time.Now()
			collector, normalizer := p.run(t, "collector"), p.run(t, "normalizer")
			row := providersRow{Providers: n}
			eventually(t, "every provider to be polled", func(context.Context) error {
				asked, _, last := clouds.polled()
				if asked < n {
					return fmt.Errorf("%d of %d", asked, n)
				}
				row.Polled = last.Sub(begun).Seconds()
				return nil
			})
			p.ready(t, collector)
			p.ready(t, normalizer)
			row.Processes = w.idle(t, append(p.on.watched(), collector.watched(), normalizer.watched()))
			report.Providers = append(report.Providers, row)
			collector.stop(t)
			normalizer.stop(t)
		})
	}
}

// idle looks at processes over whole periods of the polls, after one in which things come to rest.
func (w *world) idle(t testing.TB, processes []watched) map[string]idleRow {
	t.Helper()
	if !w.opt.Short {
		time.Sleep(pollEvery)
	}
	before, begun := make([]measure.Usage, len(processes)), time.Now()
	look := func(i int) measure.Usage {
		u, err := measure.Of(processes[i].pid)
		if err != nil {
			t.Fatalf("look at %s: %v", processes[i].name, err)
		}
		return u
	}
	for i := range processes {
		before[i] = look(i)
	}
	time.Sleep(w.opt.Idle)
	took, out := time.Since(begun), map[string]idleRow{}
	for i, p := range processes {
		after, row := look(i), out[p.name]
		row.RSS = max(row.RSS, float64(after.RSS)/(1<<20))
		row.Core += (after.CPU - before[i].CPU).Seconds() / took.Seconds()
		out[p.name] = row
	}
	return out
}

// fairnessRow is how long the events of quiet providers took, from when their services showed them, alone and beside one that has
// more than can be dealt with.
type fairnessRow struct {
	Quiet  int             `json:"quiet_providers"`
	Alone  measure.Latency `json:"alone"`
	Beside measure.Latency `json:"beside_a_hot_one"`
	Hot    float64         `json:"hot_events_per_second"`
}

// fairness has many quiet providers polled beside one whose services notify without end.
func fairness(t *testing.T, w *world, report *report) {
	n := max(slices.Max(w.opt.Providers)-1, 1)
	every := pollEvery
	if w.opt.Short {
		every = 2 * time.Second
	}
	clouds := w.startClouds(t, n, every)
	p := w.newPipeline(t, w.startServers(t, "synced", true), clouds.providers())
	p.warmUp(t, 2*batchOfOurs)
	clouds.forget()
	collector, normalizer := p.both(t)
	eventually(t, "every provider to be polled", func(context.Context) error {
		if asked, _, _ := clouds.polled(); asked < n {
			return fmt.Errorf("%d of %d", asked, n)
		}
		return nil
	})
	row := &fairnessRow{Quiet: n, Alone: w.quietLatency(t, p, clouds)}

	hot, end := context.WithCancel(t.Context())
	var filling sync.WaitGroup
	count := beyond(t, p.normalized)
	filling.Go(func() { _ = p.flood(hot, t, count) })
	eventually(t, "the hot provider", func(ctx context.Context) error {
		got, err := count(ctx)
		if err == nil && got < batchOfOurs {
			err = fmt.Errorf("%d events", got)
		}
		return err
	})
	before, err := count(t.Context())
	begun := time.Now()
	row.Beside = w.quietLatency(t, p, clouds)
	after, err2 := count(t.Context())
	row.Hot = float64(after-before) / time.Since(begun).Seconds()
	end()
	filling.Wait()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	report.Fairness = row
	collector.stop(t)
	normalizer.stop(t)
}

// quietLatency has each quiet provider show an event in each run, for a while.
func (w *world) quietLatency(t testing.TB, p *pipeline, clouds *clouds) measure.Latency {
	t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	// The hot provider's events come, too: a subject can't tell many from one. So they come without their bodies.
	all := natsjs.ConsumerConfig{FilterSubject: event.NormalizedSubject("*"), HeadersOnly: true}
	stop := p.on.subscribe(t, event.StreamNormalized, all, func(m natsjs.Msg) {
		if d, ours := clouds.since(ceID(m), time.Now()); ours {
			mu.Lock()
			took = append(took, d)
			mu.Unlock()
		}
	})
	defer stop()
	clouds.offer(true)
	time.Sleep(w.opt.Idle)
	clouds.offer(false)
	// Those that take longest count most.
	eventually(t, "all that was shown", func(context.Context) error {
		if n := clouds.waitedFor(); n > 0 {
			return fmt.Errorf("%d events have not arrived", n)
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	if len(took) == 0 {
		t.Fatal("no event of a quiet provider has arrived")
	}
	return measure.LatencyOf(took)
}

// flood hands over events so that there are always more, and no more than the broker keeps, until ctx ends. It returns how many.
func (p *pipeline) flood(ctx context.Context, t testing.TB, count func(context.Context) (int, error)) (handed int) {
	pub, conn := p.w.publisher(t, p.vhost)
	defer conn.Close()
	for ctx.Err() == nil {
		if got, err := count(ctx); err != nil || handed-got > chunk/4 {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		for range confirms {
			if err := pub.send(ctx, p.w.bodies.body(p.w.next())); err != nil {
				if ctx.Err() == nil {
					t.Errorf("hand over events: %v", err)
				}
				return handed
			}
			handed++
		}
	}
	return handed
}
