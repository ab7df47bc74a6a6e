//go:build bench

package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"stackstream/bench/measure"
)

// startRow is how long programs take until they work, and how large the one is that has everything.
type startRow struct {
	Binary     float64        `json:"binary_mib"`
	FirstPoll  measure.Spread `json:"first_poll_ms"`
	Collector  measure.Spread `json:"collector_ready_ms"`
	Normalizer measure.Spread `json:"normalizer_ready_ms"`
	Idle       map[string]struct {
		RSS float64 `json:"rss_mib"`
	} `json:"idle"`
}

// idleAfter is how long a program does nothing before it is looked at.
const idleAfter = 15 * time.Second

// starts starts the programs again and again, for one provider that is polled and one whose services notify.
func starts(t *testing.T, w *world, report *report) {
	clouds := w.startClouds(t, 1, pollEvery)
	p := w.newPipeline(t, w.startServers(t, "synced", true), clouds.providers())
	info, err := os.Stat(w.program("stackstream"))
	if err != nil {
		t.Fatal(err)
	}
	row := &startRow{Binary: float64(info.Size()) / (1 << 20), Idle: map[string]struct {
		RSS float64 `json:"rss_mib"`
	}{}}
	var polled, collected, normalized []float64
	p.warmUp(t, 100)
	for i := range max(w.opt.Rounds, 2) {
		clouds.forget()
		begun := time.Now()
		normalizer := p.run(t, "normalizer")
		p.ready(t, normalizer)
		normalized = append(normalized, sinceMillis(begun))
		begun = time.Now()
		collector := p.run(t, "collector")
		eventually(t, "the first poll", func(context.Context) error {
			n, at, _ := clouds.polled()
			if n == 0 {
				return fmt.Errorf("%d polled", n)
			}
			if len(polled) == i {
				polled = append(polled, float64(at.Sub(begun))/float64(time.Millisecond))
			}
			return nil
		})
		p.ready(t, collector)
		collected = append(collected, sinceMillis(begun))
		if i == 0 {
			time.Sleep(idleAfter)
			for _, program := range []*process{collector, normalizer} {
				u, err := measure.Of(program.pid())
				if err != nil {
					t.Fatal(err)
				}
				row.Idle[program.name] = struct {
					RSS float64 `json:"rss_mib"`
				}{float64(u.RSS) / (1 << 20)}
			}
		}
		collector.stop(t)
		normalizer.stop(t)
	}
	row.FirstPoll, row.Collector = measure.SpreadOf(polled), measure.SpreadOf(collected)
	row.Normalizer = measure.SpreadOf(normalized)
	report.Start = row
}

func sinceMillis(begun time.Time) float64 {
	return float64(time.Since(begun)) / float64(time.Millisecond)
}
