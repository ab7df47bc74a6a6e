package metrics

import "github.com/prometheus/client_golang/prometheus"

// registrar makes metrics that are registered already, with the project's prefix.
type registrar struct{ registry *prometheus.Registry }

func (r *registrar) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stackstream_" + name, Help: help}, labels)
	r.registry.MustRegister(v)
	return v
}

func (r *registrar) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "stackstream_" + name, Help: help}, labels)
	r.registry.MustRegister(v)
	return v
}

func (r *registrar) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(
		prometheus.HistogramOpts{Name: "stackstream_" + name, Help: help, Buckets: buckets}, labels)
	r.registry.MustRegister(v)
	return v
}
