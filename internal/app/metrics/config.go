package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stackstream/event"
)

// The results of reading the configuration again.
const (
	ConfigApplied   = "applied"
	ConfigUnchanged = "unchanged"
	ConfigRefused   = "refused"
)

// ConfigRead takes what became of a configuration that was read again.
func (m *Metrics) ConfigRead(result string) { m.configReads.WithLabelValues(result).Inc() }

// ConfigInUse says when the configuration in use was read, and whether the file has more that only a restart takes.
func (m *Metrics) ConfigInUse(since time.Time, restart bool) {
	for _, result := range []string{ConfigApplied, ConfigUnchanged, ConfigRefused} {
		m.configReads.WithLabelValues(result) // see Expect
	}
	setTime(m.configApplied.WithLabelValues(), since)
	m.configRestart.WithLabelValues().Set(truth(restart))
}

// ForgetPart takes a provider's state in one role off the board and out of the metrics: what ran there has ended, and what
// runs next says anew how it does.
func (m *Metrics) ForgetPart(role event.Role, p event.Provider) {
	m.board.Forget(role, p)
	if role == event.RoleNormalizer {
		m.board.Beat(normalizerLoop(p), 0) // a collector's loops say by themselves that they have ended
	}
	labels := prometheus.Labels{"role": string(role), provider: string(p)}
	for _, gauge := range []vector{m.state, m.since, m.leaseHeld} {
		gauge.DeletePartialMatch(labels)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.held {
		if strings.HasPrefix(key, string(role)+" "+string(p)+" ") {
			delete(m.held, key)
		}
	}
}

// Forget removes every metric of a provider that this process does not work for any more.
func (m *Metrics) Forget(p event.Provider) {
	for _, role := range []event.Role{event.RoleCollector, event.RoleNormalizer} {
		m.ForgetPart(role, p)
	}
	labels := prometheus.Labels{provider: string(p)}
	for _, v := range m.vectors {
		v.DeletePartialMatch(labels)
	}
}
