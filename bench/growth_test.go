//go:build bench

package bench

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// growthRow is what an event costs when the streams have so many.
type growthRow struct {
	Size       int     `json:"events_in_streams"`
	Result     result  `json:"two_hops"`
	Collector  float64 `json:"collector_ready_ms"`
	Normalizer float64 `json:"normalizer_ready_ms"`
}

// restartRow is how long it takes until programs work that have many providers, and streams that are long. The first start makes
// what each provider needs in the streams.
type restartRow struct {
	Size       int     `json:"events_in_streams"`
	Providers  int     `json:"providers"`
	Start      string  `json:"start"`
	Normalizer float64 `json:"normalizer_ready_s"`
	FirstPoll  float64 `json:"first_poll_s"`
	Polled     float64 `json:"all_polled_s"`
	Collector  float64 `json:"collector_ready_s"`
}

// chunk is how many notifications wait in the broker at most while streams are filled: its queue is bounded.
const chunk = 100_000

// growth lets events through both hops until the streams have as many as they are to have, and looks at what the last of them cost.
// The streams are filled by the pipeline itself, so that they are what they would be.
func growth(t *testing.T, w *world, report *report) {
	p := w.newPipeline(t, w.startServers(t, "synced", true), "")
	of := small(w.opt.Body)
	p.warmUp(t, 2*batchOfOurs)
	for _, size := range w.opt.Sizes {
		have, err := p.normalized(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		looked := min(w.opt.Events, size/2)
		if size < have+looked {
			t.Fatalf("-sizes: the streams have %d events already, and %d are looked at", have, looked)
		}
		p.through(t, of, size-looked-have)
		w.fill(t, p.vhost, of, looked)
		row := growthRow{Size: size}
		count := beyond(t, p.normalized)
		begun := time.Now()
		normalizer := p.run(t, "normalizer")
		p.ready(t, normalizer)
		row.Normalizer = sinceMillis(begun)
		collector := p.run(t, "collector")
		row.Result = watch(t, looked, count,
			append(p.on.watched(), collector.watched(), normalizer.watched(), w.brokerWatched()), collector, normalizer)
		collector.stop(t)
		// It is started once more for the time alone: what waited for it would be in that.
		begun = time.Now()
		collector = p.run(t, "collector")
		p.ready(t, collector)
		row.Collector = sinceMillis(begun)
		collector.stop(t)
		normalizer.stop(t)
		report.Growth = append(report.Growth, row)
		t.Logf("%d events in the streams: %.0f a second", size, row.Result.rate())
	}
	report.Stored = append(report.Stored, p.stored(t, of.mean()))
	clouds := w.startClouds(t, max(slices.Max(w.opt.Providers)-1, 1), pollEvery)
	p.configure(t, clouds.providers())
	for _, start := range []string{"first", "again"} {
		row := p.restart(t, clouds)
		row.Start, row.Size = start, w.opt.Sizes[len(w.opt.Sizes)-1]
		report.Restart = append(report.Restart, row)
	}
}

// restart starts both programs for all providers, one after the other.
func (p *pipeline) restart(t *testing.T, clouds *clouds) restartRow {
	t.Helper()
	row := restartRow{Providers: len(clouds.service) + 1}
	begun := time.Now()
	normalizer := p.run(t, "normalizer")
	p.ready(t, normalizer)
	row.Normalizer = time.Since(begun).Seconds()
	clouds.forget()
	begun = time.Now()
	collector := p.run(t, "collector")
	eventually(t, "every provider to be polled", func(context.Context) error {
		asked, first, last := clouds.polled()
		row.FirstPoll, row.Polled = first.Sub(begun).Seconds(), last.Sub(begun).Seconds()
		if asked < len(clouds.service) {
			return fmt.Errorf("%d of %d", asked, len(clouds.service))
		}
		return nil
	})
	p.ready(t, collector)
	row.Collector = time.Since(begun).Seconds()
	collector.stop(t)
	normalizer.stop(t)
	return row
}

// through lets events through both hops that nobody looks at.
func (p *pipeline) through(t *testing.T, of bodies, events int) {
	t.Helper()
	if events <= 0 {
		return
	}
	collector, normalizer := p.both(t)
	count := beyond(t, p.normalized)
	for handed := 0; handed < events; {
		n := min(chunk/2, events-handed)
		p.w.fill(t, p.vhost, of, n)
		handed += n
		last := time.Now()
		for got := 0; got < handed-chunk/2 || handed == events && got < events; {
			now, err := count(t.Context())
			if err == nil && now > got {
				got, last = now, time.Now()
			}
			if time.Since(last) > patience {
				t.Fatalf("%d of %d events came through, and no more: %v", got, events, err)
			}
			select {
			case <-t.Context().Done():
				t.Fatal(context.Cause(t.Context()))
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	collector.stop(t)
	normalizer.stop(t)
}
