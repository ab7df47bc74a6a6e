package measure

import (
	"math"
	"slices"
	"time"
)

// Spread is what a figure was over several rounds.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

// SpreadOf is the spread of some figures, the zero Spread of none.
func SpreadOf(figures []float64) Spread {
	if len(figures) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1], N: n}
}

// Latency is how long something took, of all times that were measured: nothing is rounded, and nothing left out.
type Latency struct {
	N    int     `json:"n"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p99_9_ms"`
	Max  float64 `json:"max_ms"`
}

// LatencyOf sorts times and looks at them.
func LatencyOf(times []time.Duration) Latency {
	if len(times) == 0 {
		return Latency{}
	}
	slices.Sort(times)
	at := func(share float64) float64 {
		return millis(times[max(int(math.Ceil(share*float64(len(times))))-1, 0)])
	}
	return Latency{N: len(times), P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: millis(times[len(times)-1])}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
