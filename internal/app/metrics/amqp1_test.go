package metrics

import (
	"testing"
	"time"

	"stackstream/internal/app/admin"
)

func TestAMQP1(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	want := func(v float64, name string, labels ...string) {
		t.Helper()
		labels = append([]string{"prod"}, labels...)
		if got := value(t, m, "stackstream_amqp1_"+name, labels...); got != v {
			t.Errorf("%s%v is %v, want %v", name, labels, got, v)
		}
	}
	hooks := m.AMQP1("prod", "amqp1")
	for _, name := range []string{"redelivered_total", "presettled_total", "links_lost_total"} {
		want(0, name, "amqp1") // there before anything happens: see Expect
	}
	for _, reason := range []string{"too-large", "undecodable", "empty", "other"} {
		want(0, "rejected_total", reason, "amqp1")
	}
	hooks.Links(1, 2)
	hooks.Held(3, 4000)
	hooks.Redelivered(5)
	hooks.Presettled(6)
	hooks.Rejected("empty", 7)
	hooks.Rejected("something new", 8)
	hooks.Lost()
	hooks.Probe(time.Second)
	want(1, "links", "amqp1")
	want(2, "addresses", "amqp1")
	want(3, "held_messages", "amqp1")
	want(4000, "held_bytes", "amqp1")
	want(5, "redelivered_total", "amqp1")
	want(6, "presettled_total", "amqp1")
	want(7, "rejected_total", "empty", "amqp1")
	want(8, "rejected_total", "other", "amqp1")
	want(1, "links_lost_total", "amqp1")
	var none *Metrics
	if none.AMQP1("prod", "amqp1").Links != nil {
		t.Error("nobody listens, and is told")
	}
}
