package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// A series is shown from when it is first named until it is taken away: who still has it then changes nothing.
func TestGaugeVec(t *testing.T) {
	v := newGaugeVec("g", "", []string{"role", "provider"})
	show := func(want string) {
		t.Helper()
		got := ""
		for _, key := range []labelValues{{"c", "a"}, {"c", "b"}, {"n", "a"}} {
			if value, shown := v.of[key]; shown {
				got += key[0] + key[1] + string(rune('0'+int(value))) + " "
			}
		}
		out := make(chan prometheus.Metric, 8)
		v.Collect(out)
		if got != want || len(out) != len(v.of) {
			t.Errorf("%d series are shown and kept is %q, want %q", len(out), got, want)
		}
	}
	old := v.WithLabelValues("c", "a")
	show("ca0 ")
	old.Set(3)
	v.WithLabelValues("c", "a").Add(2)
	v.WithLabelValues("c", "b").Set(7)
	v.WithLabelValues("n", "a").Set(1)
	show("ca5 cb7 na1 ")
	if n := v.DeletePartialMatch(prometheus.Labels{"provider": "a"}); n != 2 {
		t.Errorf("%d series were taken away", n)
	}
	old.Set(4)
	show("cb7 ")
	if n := v.DeletePartialMatch(prometheus.Labels{"source": "x"}); n != 0 {
		t.Errorf("%d series were taken away by a label that there is not", n)
	}
	v.DeleteLabelValues("c", "b")
	show("")
}

// A counter counts from when it is first named, says since when, and counts nothing once it was taken away.
func TestCounterVec(t *testing.T) {
	v := newCounterVec("c", "", []string{"role", "provider", "result"})
	old := v.WithLabelValues("c", "a", "ok")
	old.Inc()
	since := v.of[old.key].since
	v.WithLabelValues("c", "a", "ok").Add(2)
	if got := v.of[old.key]; got.value != 3 || got.since != since || since == 0 {
		t.Errorf("it counted %+v, begun at %d", got, since)
	}
	out := make(chan prometheus.Metric, 1)
	v.Collect(out)
	var shown dto.Metric
	if err := (<-out).Write(&shown); err != nil {
		t.Fatal(err)
	}
	if c := shown.GetCounter(); c.GetValue() != 3 || c.GetCreatedTimestamp().AsTime().UnixNano() != since {
		t.Errorf("shown is %v", c)
	}
	v.DeleteLabelValues("c", "a", "ok")
	old.Inc()
	if len(v.of) != 0 {
		t.Errorf("%v are shown after they were taken away", v.of)
	}
}
