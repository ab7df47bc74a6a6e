package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// prefix is what the names of all metrics of ours begin with.
const prefix = "stackstream_"

// Description is what there is to know of a metric without asking a process for its value.
type Description struct {
	Part   string // of the page
	Name   string
	Type   string // counter, gauge or histogram
	Help   string
	Labels []string // in order
}

// Unit is what a metric counts in, "" where it is a plain number.
func (d Description) Unit() string {
	name := strings.TrimSuffix(d.Name, "_total")
	switch {
	case strings.HasSuffix(name, "_time_seconds"), strings.HasSuffix(name, "_since_seconds"):
		return "seconds of Unix time"
	case strings.HasSuffix(name, "_seconds"):
		return "seconds"
	case strings.HasSuffix(name, "_bytes"):
		return "bytes"
	}
	return ""
}

// registrar makes metrics that are registered already, with the project's prefix, and keeps what there is to read of them.
type registrar struct {
	registry *prometheus.Registry
	part     string
	list     []Description
	vectors  []vector
}

// vector is a metric with labels.
type vector interface {
	DeletePartialMatch(labels prometheus.Labels) int
}

func (r *registrar) add(c prometheus.Collector, kind, name, help string, labels ...string) {
	r.registry.MustRegister(c)
	if v, ok := c.(vector); ok {
		r.vectors = append(r.vectors, v)
	}
	labels = slices.Clone(labels)
	slices.Sort(labels)
	r.list = append(r.list, Description{Part: r.part, Name: prefix + name, Type: kind, Help: help, Labels: labels})
}

func (r *registrar) counter(name, help string, labels ...string) *counterVec {
	v := newCounterVec(prefix+name, help, labels)
	r.add(v, "counter", name, help, labels...)
	return v
}

func (r *registrar) gauge(name, help string, labels ...string) *gaugeVec {
	v := newGaugeVec(prefix+name, help, labels)
	r.add(v, "gauge", name, help, labels...)
	return v
}

// function is a gauge that is asked for its value.
func (r *registrar) function(name, help string, value func() float64) {
	r.add(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + name, Help: help}, value), "gauge", name, help)
}

// histogram has the buckets given, and for servers that read native histograms finer ones: each a tenth wider than the one before.
func (r *registrar) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: prefix + name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
	r.add(v, "histogram", name, help, labels...)
	return v
}
