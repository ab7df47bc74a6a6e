package metrics

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gaugeVec is a gauge with labels. Its series are made when they are asked for: kept as the library keeps them, those of a thousand
// quiet providers are a good part of what a process of them takes.
type gaugeVec struct {
	desc   *prometheus.Desc
	labels []string

	mu sync.Mutex
	of map[labelValues]float64
}

// labelValues are the values of the labels, in the order of these.
type labelValues [3]string

func newGaugeVec(name, help string, labels []string) *gaugeVec {
	if len(labels) > len(labelValues{}) {
		panic("a gauge has more labels than are kept: " + name)
	}
	return &gaugeVec{desc: prometheus.NewDesc(name, help, labels, nil), labels: labels, of: map[labelValues]float64{}}
}

// gauge is one series.
type gauge struct {
	vec *gaugeVec
	key labelValues
}

func (v *gaugeVec) key(values []string) labelValues {
	if len(values) != len(v.labels) {
		panic("a metric has other labels: " + v.desc.String())
	}
	var key labelValues
	copy(key[:], values)
	return key
}

// WithLabelValues returns a series, which is shown from now on.
func (v *gaugeVec) WithLabelValues(values ...string) gauge {
	g := gauge{v, v.key(values)}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.of[g.key] += 0
	return g
}

// Set sets the value, unless the series was taken away.
func (g gauge) Set(value float64) { g.change(func(float64) float64 { return value }) }

// SetToCurrentTime sets it to the Unix time.
func (g gauge) SetToCurrentTime() { setTime(g, time.Now()) }

// Add adds to the value, unless the series was taken away.
func (g gauge) Add(value float64) { g.change(func(was float64) float64 { return was + value }) }

func (g gauge) change(to func(was float64) float64) {
	g.vec.mu.Lock()
	defer g.vec.mu.Unlock()
	if was, shown := g.vec.of[g.key]; shown {
		g.vec.of[g.key] = to(was)
	}
}

// DeleteLabelValues takes a series away.
func (v *gaugeVec) DeleteLabelValues(values ...string) {
	key := v.key(values)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.of, key)
}

// DeletePartialMatch takes the series away that have all these labels, and tells how many those are.
func (v *gaugeVec) DeletePartialMatch(labels prometheus.Labels) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := len(v.of)
	maps.DeleteFunc(v.of, func(key labelValues, _ float64) bool {
		for name, value := range labels {
			if i := slices.Index(v.labels, name); i < 0 || key[i] != value {
				return false
			}
		}
		return true
	})
	return before - len(v.of)
}

// Reset takes all series away.
func (v *gaugeVec) Reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.of)
}

// Describe is that of prometheus.Collector.
func (v *gaugeVec) Describe(to chan<- *prometheus.Desc) { to <- v.desc }

// Collect is that of prometheus.Collector.
func (v *gaugeVec) Collect(to chan<- prometheus.Metric) {
	v.mu.Lock()
	now := maps.Clone(v.of)
	v.mu.Unlock()
	for key, value := range now {
		to <- prometheus.MustNewConstMetric(v.desc, prometheus.GaugeValue, value, key[:len(v.labels)]...)
	}
}
