package metrics

import (
	"testing"
	"time"

	"stackstream/collectors/amqp"
	"stackstream/internal/app/admin"
)

func TestAMQP(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	want := func(v float64, name string, labels ...string) {
		t.Helper()
		labels = append([]string{"prod"}, labels...)
		if got := value(t, m, "stackstream_amqp_"+name, labels...); got != v {
			t.Errorf("%s%v is %v, want %v", name, labels, got, v)
		}
	}
	absent := func(name string) {
		t.Helper()
		if got, found := find(t, m, "stackstream_amqp_"+name, "prod", "amqp-nova"); found {
			t.Errorf("%s is %v, want none", name, got)
		}
	}
	live := []string{"queue_ready", "queue_consumers", "prefetch", "exchanges_missing", "blocked", "clock_skew_seconds"}

	hooks := m.AMQP("prod", "amqp-nova")
	for _, name := range []string{"redelivered_total", "unknown_routing_keys_total"} {
		want(0, name, "amqp-nova") // there before anything happens: see Expect
	}
	for _, reason := range []string{"maxlen", "expired", "other"} {
		want(0, "dropped_total", reason, "amqp-nova")
	}
	for _, what := range []string{"exchange", "other"} {
		want(0, "gaps_total", "amqp-nova", what)
	}
	for _, name := range live {
		absent(name)
	}

	hooks.Connected("rabbit-1:5672")
	hooks.Queue(120, 1)
	hooks.Prefetch(64)
	hooks.Missing(2)
	hooks.Blocked(true)
	hooks.Skew(-1500 * time.Millisecond)
	hooks.Redelivered(3)
	hooks.Dropped("maxlen", 4)
	hooks.Dropped("delivery_limit", 5)
	hooks.Gap(amqp.Gap{What: "exchange nova"})
	hooks.Gap(amqp.Gap{What: "exchange neutron"})
	hooks.Gap(amqp.Gap{What: "something new"})
	hooks.Unknown(6)
	hooks.Probe(20 * time.Millisecond)

	want(1, "connected", "amqp-nova")
	for i, v := range []float64{120, 1, 64, 2, 1, -1.5} {
		want(v, live[i], "amqp-nova")
	}
	want(3, "redelivered_total", "amqp-nova")
	want(4, "dropped_total", "maxlen", "amqp-nova")
	want(0, "dropped_total", "expired", "amqp-nova")
	want(5, "dropped_total", "other", "amqp-nova")
	want(2, "gaps_total", "amqp-nova", "exchange")
	want(1, "gaps_total", "amqp-nova", "other")
	want(6, "unknown_routing_keys_total", "amqp-nova")
	want(1, "probe_seconds", "amqp-nova")

	// What the broker said last is not shown while nobody is connected; what was counted stays.
	hooks.Connected("")
	want(0, "connected", "amqp-nova")
	for _, name := range live {
		absent(name)
	}
	want(4, "dropped_total", "maxlen", "amqp-nova")
}

// A source that is only asked whether it is available reports to nobody.
func TestNoMetrics(t *testing.T) {
	if hooks := (*Metrics)(nil).AMQP("prod", "amqp"); hooks.Connected != nil || hooks.Dropped != nil {
		t.Error("there are hooks without metrics")
	}
}
