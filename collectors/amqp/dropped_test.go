package amqp

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// dropped are the totals in the cursor.
func (r *rig) dropped() map[string]int64 { return r.state(Kind).Dropped }

// probed waits until a probe came through the queue.
func (r *rig) probed() {
	r.t.Helper()
	probes := r.told().probes
	r.eventually("a probe", func() bool { return r.told().probes > probes })
}

// wantDropped waits until the cursor says that all notifications that were not collected were dropped, and the broker keeps
// none of them any more.
func (r *rig) wantDropped(broker *rabbitmqtest.Broker, why string, published int) {
	r.t.Helper()
	exact := func() bool {
		collected := int64(len(r.log.IDs(cloud)))
		return maps.Equal(r.dropped(), map[string]int64{why: int64(published) - collected})
	}
	r.eventually("a count of what was dropped", exact)
	r.eventually("all of it acknowledged", func() bool {
		d := broker.Depth(r.t, r.cfg.VHost, ourQueue+".dropped")
		return d.Ready == 0 && d.Unacked == 0
	})
	r.probed()
	if !exact() {
		r.t.Errorf("%d are collected of %d, and %v are said to be dropped", len(r.log.IDs(cloud)), published, r.dropped())
	}
}

func TestCountsWhatIsDropped(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	for name, test := range map[string]struct {
		limits Queue
		why    string
	}{
		"length":         {Queue{Type: "classic", MaxBytes: 20_000}, "maxlen"},
		"length, quorum": {Queue{Type: "quorum", MaxBytes: 20_000}, "maxlen"},
		"age":            {Queue{Type: "classic", TTL: 300 * time.Millisecond}, "expired"},
		"age, quorum":    {Queue{Type: "quorum", TTL: 300 * time.Millisecond}, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vhost := broker.VHost(t)
			r := newRig(t, broker, vhost)
			r.cfg.Queue, r.cfg.Prefetch = test.limits, 10
			r.cfg.Queue.Prefix = "stackstream"
			r.gate = new(gate)
			nova := newService(t, broker, vhost, "nova", true)
			stop := r.run()
			r.live(Kind, "nova")
			stop()

			// While we are away.
			nova.notify(300)
			if test.why == "expired" {
				r.eventually("all of them too old", func() bool { return broker.Depth(t, vhost, ourQueue+".dropped").Ready >= 300 })
			}
			r.run()
			r.probed()
			r.wantDropped(broker, test.why, 300)
			if n := len(r.log.IDs(cloud)); test.why == "expired" && n > 0 {
				t.Errorf("%d events", n)
			}
			if s := r.status(Kind); s.State != event.StateDegraded || !strings.Contains(s.Reason, "queue "+ourQueue+" reached its limit") {
				t.Errorf("the status is %+v", s)
			}

			// While nothing can be committed. Probes are dropped, too, and not counted.
			neighbour := newRig(t, broker, broker.VHost(t))
			neighbour.run()
			r.gate.close()
			nova.notify(300)
			r.patient(neighbour, 3)
			r.gate.open(nil)
			r.wantDropped(broker, test.why, 600)
			if r.said(0, "does not come back") {
				t.Error("a probe that was dropped counts as one that does not come back")
			}
			if told := r.told().dropped; int64(told[test.why]) != r.dropped()[test.why] || len(told) != 1 {
				t.Errorf("the hook was told %v, the cursor has %v", told, r.dropped())
			}
			if lines := r.logged(`"at_least":`); len(lines) != 1 {
				t.Errorf("%d lines in the log, want one a minute: %q", len(lines), lines)
			}
		})
	}
}

// The process dies before, or after, the count is durable.
func TestCountsOnceWhatIsDropped(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	for name, mode := range map[string]int32{"before the commit": commitsNot, "after the commit": commitsAndDies} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vhost := broker.VHost(t)
			r := newRig(t, broker, vhost)
			f := newFuse(r)
			r.cfg.Queue.MaxBytes = 20_000
			nova := newService(t, broker, vhost, "nova", true)
			stop := r.run()
			r.live(Kind, "nova")
			stop()
			nova.notify(300)
			lost := 0
			r.eventually("the queue shortened", func() bool {
				lost = broker.Depth(t, vhost, ourQueue+".dropped").Ready
				return lost > 0 && lost+broker.Depth(t, vhost, ourQueue).Ready >= 300
			})
			f.mode.Store(mode)
			stop = r.run()
			r.eventually("what was dropped handed over", func() bool { return r.told().dropped["maxlen"] > 0 })
			r.eventually("the process dead", func() bool { return r.status(Kind).State == event.StateBackoff })
			f.kill(stop)
			r.eventually("nothing of it acknowledged, but for a probe", func() bool {
				return broker.Depth(t, vhost, ourQueue+".dropped").Ready >= lost-1
			})
			heir := r.with(func(*Config) {})
			heir.run()
			heir.wantDropped(broker, "maxlen", 300)
		})
	}
}

// What waits to be counted is limited, too: then there were more than are counted.
func TestCountsAtLeastWhatIsKept(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	nova := newService(t, broker, vhost, "nova", true)
	if _, err := nova.ch.QueueDeclare(ourQueue+".dropped", true, false, false, false, amqp091.Table{"x-max-length": 20}); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, broker, vhost)
	r.cfg.Queue.MaxBytes = 20_000
	stop := r.run()
	r.live(Kind, "nova")
	stop()
	nova.notify(300)
	stop = r.run()
	r.probed()
	r.eventually("what was dropped counted", func() bool { return r.dropped()["maxlen"] > 0 })
	if got := r.dropped()["maxlen"]; got != 20 {
		t.Errorf("%d are counted, want the 20 that were kept", got)
	}
	stop()
	total := 0
	lines := r.logged(`"at_least":`)
	for _, line := range lines {
		var said struct {
			AtLeast int `json:"at_least"`
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatal(err)
		}
		total += said.AtLeast
	}
	if total != 20 || len(lines) > 2 {
		t.Errorf("the log says %q; want 20 in all, in one line at once and another one at the end", lines)
	}
}

func TestDroppingIsOverAfterAWhile(t *testing.T) {
	said := ""
	s := &session{
		Source: &Source{}, probes: newProbes(time.Hour), acks: newAcks(), changed: make(chan struct{}, 1),
		says: newConditions(func(trouble bool, what string) { said = what }), state: state{Counted: []string{"x"}},
	}
	start := time.Now()
	c := &consumer{session: s, prefetch: 10, droppedN: start, lostSaid: start}
	s.says.Set(conditionDropping, "drops")
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{time.Minute, "drops"}, {droppingFor, "drops"}, {droppingFor + time.Second, ""}} {
		if err := c.check(start.Add(step.after)); err != nil {
			t.Fatal(err)
		}
		if said != step.want {
			t.Errorf("after %s: %q, want %q", step.after, said, step.want)
		}
	}
	if len(s.state.Counted) > 0 {
		t.Error("the marks of what was counted are kept")
	}
}
