package metrics

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// vec is a metric with labels. Its series are made when they are asked for: kept as the library keeps them, those of a thousand quiet
// providers are a good part of what a process of them takes.
type vec[V any] struct {
	desc   *prometheus.Desc
	labels []string

	mu sync.Mutex
	of map[labelValues]V
}

// labelValues are the values of the labels, in the order of these.
type labelValues [3]string

func newVec[V any](name, help string, labels []string) vec[V] {
	if len(labels) > len(labelValues{}) {
		panic("a metric has more labels than are kept: " + name)
	}
	return vec[V]{desc: prometheus.NewDesc(name, help, labels, nil), labels: labels, of: map[labelValues]V{}}
}

func (v *vec[V]) key(values []string) labelValues {
	if len(values) != len(v.labels) {
		panic("a metric has other labels: " + v.desc.String())
	}
	var key labelValues
	copy(key[:], values)
	return key
}

// show shows a series from now on.
func (v *vec[V]) show(key labelValues, first V) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, shown := v.of[key]; !shown {
		v.of[key] = first
	}
}

// change changes a series, unless it was taken away.
func (v *vec[V]) change(key labelValues, to func(was V) V) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if was, shown := v.of[key]; shown {
		v.of[key] = to(was)
	}
}

// DeleteLabelValues takes a series away.
func (v *vec[V]) DeleteLabelValues(values ...string) {
	key := v.key(values)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.of, key)
}

// DeletePartialMatch takes the series away that have all these labels, and tells how many those are.
func (v *vec[V]) DeletePartialMatch(labels prometheus.Labels) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := len(v.of)
	maps.DeleteFunc(v.of, func(key labelValues, _ V) bool {
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
func (v *vec[V]) Reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.of)
}

// Describe is that of prometheus.Collector.
func (v *vec[V]) Describe(to chan<- *prometheus.Desc) { to <- v.desc }

// now is what the series are.
func (v *vec[V]) now() map[labelValues]V {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.of)
}

// gaugeVec is a gauge with labels.
type gaugeVec struct{ vec[float64] }

func newGaugeVec(name, help string, labels []string) *gaugeVec {
	return &gaugeVec{newVec[float64](name, help, labels)}
}

// gauge is one series.
type gauge struct {
	vec *gaugeVec
	key labelValues
}

// WithLabelValues returns a series, which is shown from now on.
func (v *gaugeVec) WithLabelValues(values ...string) gauge {
	g := gauge{v, v.key(values)}
	v.show(g.key, 0)
	return g
}

// Set sets the value, unless the series was taken away.
func (g gauge) Set(value float64) { g.vec.change(g.key, func(float64) float64 { return value }) }

// SetToCurrentTime sets it to the Unix time.
func (g gauge) SetToCurrentTime() { setTime(g, time.Now()) }

// Add adds to the value, unless the series was taken away.
func (g gauge) Add(value float64) {
	g.vec.change(g.key, func(was float64) float64 { return was + value })
}

// Collect is that of prometheus.Collector.
func (v *gaugeVec) Collect(to chan<- prometheus.Metric) {
	for key, value := range v.now() {
		to <- prometheus.MustNewConstMetric(v.desc, prometheus.GaugeValue, value, key[:len(v.labels)]...)
	}
}

// counterVec is a counter with labels.
type counterVec struct{ vec[count] }

// count is what was counted, and since when in nanoseconds of Unix time.
type count struct {
	value float64
	since int64
}

func newCounterVec(name, help string, labels []string) *counterVec {
	return &counterVec{newVec[count](name, help, labels)}
}

// counter is one series.
type counter struct {
	vec *counterVec
	key labelValues
}

// WithLabelValues returns a series, which is shown from now on.
func (v *counterVec) WithLabelValues(values ...string) counter {
	c := counter{v, v.key(values)}
	v.show(c.key, count{since: time.Now().UnixNano()})
	return c
}

// Add counts n more, unless the series was taken away.
func (c counter) Add(n float64) {
	if n < 0 {
		panic("a counter can't go down: " + c.vec.desc.String())
	}
	c.vec.change(c.key, func(was count) count { return count{was.value + n, was.since} })
}

// Inc counts one more, unless the series was taken away.
func (c counter) Inc() { c.Add(1) }

// Collect is that of prometheus.Collector.
func (v *counterVec) Collect(to chan<- prometheus.Metric) {
	for key, n := range v.now() {
		to <- prometheus.MustNewConstMetricWithCreatedTimestamp(v.desc, prometheus.CounterValue, n.value, time.Unix(0, n.since),
			key[:len(v.labels)]...)
	}
}
