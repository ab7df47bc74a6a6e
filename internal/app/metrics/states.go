package metrics

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"stackstream/event"
)

// stateVec is the gauge of states: of each part as many series as there are states, all but one of which are 0. They are made when
// they are asked for. Kept, they would be most of what the metrics of a thousand quiet providers take.
type stateVec struct {
	desc *prometheus.Desc

	mu sync.Mutex
	of map[stateKey]event.State
}

// stateKey is a part as the labels have it.
type stateKey struct{ role, provider, source string }

func newStateVec(r *registrar, name, help string) *stateVec {
	labels := []string{"role", provider, source, "state"}
	v := &stateVec{desc: prometheus.NewDesc(prefix+name, help, labels, nil), of: map[stateKey]event.State{}}
	r.add(v, "gauge", name, help, labels...)
	return v
}

func (v *stateVec) set(part stateKey, state event.State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.of[part] = state
}

// Describe is that of prometheus.Collector.
func (v *stateVec) Describe(to chan<- *prometheus.Desc) { to <- v.desc }

// Collect is that of prometheus.Collector.
func (v *stateVec) Collect(to chan<- prometheus.Metric) {
	v.mu.Lock()
	now := maps.Clone(v.of)
	v.mu.Unlock()
	for part, is := range now {
		for _, state := range states {
			to <- prometheus.MustNewConstMetric(v.desc, prometheus.GaugeValue, truth(state == is),
				part.role, part.provider, part.source, string(state))
		}
	}
}

// DeletePartialMatch takes away the parts that have all these labels, and tells how many series there are less.
func (v *stateVec) DeletePartialMatch(labels prometheus.Labels) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := len(v.of)
	maps.DeleteFunc(v.of, func(part stateKey, _ event.State) bool {
		has := map[string]string{"role": part.role, provider: part.provider, source: part.source}
		for name, value := range labels {
			if is, known := has[name]; !known || is != value {
				return false
			}
		}
		return true
	})
	return (before - len(v.of)) * len(states)
}
