package amqp

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// fuse decides what becomes of the commits of a rig.
type fuse struct{ mode atomic.Int32 }

const (
	commits        int32 = iota
	commitsNot           // like a process that was killed before
	commitsAndDies       // like one that was killed right after
)

func newFuse(r *rig) *fuse {
	f := new(fuse)
	r.log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
		switch f.mode.Load() {
		case commits:
			return true, nil
		case commitsNot:
			return false, errors.New("killed, by order of the test")
		default:
			f.mode.Store(commitsNot)
			return true, errors.New("killed, by order of the test")
		}
	}
	return f
}

// kill ends a collector so that from now on nothing becomes durable, and so nothing is acknowledged.
func (f *fuse) kill(stop func()) {
	f.mode.Store(commitsNot)
	stop()
	f.mode.Store(commits)
}

// missed returns what is not collected of what was confirmed; what is collected has to be in order.
func (r *rig) missed(confirmed []published) []published {
	r.t.Helper()
	place := map[string]int{}
	for i, p := range confirmed {
		place[p.id] = i + 1
	}
	last := 0
	for _, id := range r.log.IDs(cloud) {
		at := place[string(id)]
		if at <= last {
			r.t.Errorf("collected %s, which is the %dth, after the %dth", id, at, last)
		}
		last = at
		delete(place, string(id))
	}
	return slices.DeleteFunc(slices.Clone(confirmed), func(p published) bool { return place[p.id] == 0 })
}

// wantGap checks that one gap was reported, once in each way, and that all that is missing lies in it.
func (r *rig) wantGap(missed []published, hooked int) {
	r.t.Helper()
	st := r.state(Kind)
	if len(st.Gaps) != 1 || st.GapsTotal != 1 || !st.Claims["nova"].Lost.IsZero() {
		r.t.Fatalf("the cursor has %+v; want one gap, which is over", st)
	}
	g := st.Gaps[0]
	for _, p := range missed {
		if g.From.After(p.confirmed) || g.To.Before(p.sent) {
			r.t.Errorf("%+v is missing and does not lie in the gap %+v", p, g)
		}
	}
	told, lines := r.told().gaps, r.logged("notifications of this time may be missing")
	same := func(a Gap) bool { return a.What == g.What && a.From.Equal(g.From) && a.To.Equal(g.To) }
	if len(told) != hooked || len(lines) != hooked || g.What != "exchange nova" || hooked == 1 && !same(told[0]) {
		r.t.Errorf("the cursor has %+v, the hook was told %+v, the log has %q", g, told, lines)
	}
}

// The broker restarts while services go on. What they got a confirm for and we did not get is in a gap.
func TestGapsOverRestart(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Start(t)
	type part struct {
		*rig
		fuse  *fuse
		proxy *rabbitmqtest.Proxy
		nova  *rabbitmqtest.Publisher
		end   func()
		stop  func() []published
	}
	begin := func(v rabbitmqtest.Variant, change func(*Config)) *part {
		vhost := broker.VHost(t)
		p := &part{proxy: rabbitmqtest.NewProxy(t, broker.Addr()), nova: broker.Publisher(t, vhost, rabbitmqtest.As(v))}
		p.rig = newRig(t, broker, vhost, func(c *Config) { c.Hosts = []string{p.proxy.Addr()}; change(c) })
		p.fuse = newFuse(p.rig)
		if err := p.nova.Declare(t.Context(), "nova", "notifications.info"); err != nil {
			t.Fatal(err)
		}
		p.end = p.run()
		p.live(Kind, "nova")
		p.stop = steady(t, p.nova, "nova")
		p.eventually("events", func() bool { return len(p.log.IDs(cloud)) > 20 })
		return p
	}
	nothing := func(*Config) {}
	transient := begin(rabbitmqtest.Transient(), nothing)
	killed := begin(rabbitmqtest.Transient(), nothing)
	durable := begin(rabbitmqtest.Durable(), nothing)
	told := begin(rabbitmqtest.Durable(), func(c *Config) { c.DurableExchanges = true })
	all := []*part{transient, killed, durable, told}
	before := killed.stop()
	killed.eventually("all events", func() bool { return len(killed.missed(before)) == 0 })
	for _, p := range []*part{transient, durable, told} {
		p.proxy.Refuse(true)
		p.proxy.Cut()
	}
	broker.Restart(t)

	// This one has noticed that it lost its binding; then it is killed, and then notifications come.
	killed.eventually("an open gap", func() bool { return !killed.state(Kind).Claims["nova"].Lost.IsZero() })
	killed.fuse.kill(killed.end)
	stop := steady(t, killed.nova, "nova")

	for _, p := range all {
		n := len(p.nova.Confirmed("nova"))
		p.eventually("notifications that we can't get", func() bool { return len(p.nova.Confirmed("nova")) > n+20 })
		p.proxy.Refuse(false)
	}
	for _, p := range []*part{transient, durable, told} {
		p.live(Kind, "nova")
		n := len(p.log.IDs(cloud))
		p.eventually("events", func() bool { return len(p.log.IDs(cloud)) > n+20 })
		confirmed := p.stop()
		p.eventually("the last event", func() bool {
			ids := p.log.IDs(cloud)
			return string(ids[len(ids)-1]) == confirmed[len(confirmed)-1].id
		})
		missed := p.missed(confirmed)
		if lost := p == transient; lost != (len(missed) > 0) {
			t.Errorf("%d are missing", len(missed))
		}
		if p != told {
			p.wantGap(missed, 1)
		} else if st := p.state(Kind); len(st.Gaps) > 0 || len(p.told().gaps) > 0 {
			t.Errorf("gaps %+v, though the exchanges are said to last", st.Gaps)
		}
	}

	heir := killed.with(func(*Config) {})
	end := heir.run()
	heir.live(Kind, "nova")
	confirmed := append(before, stop()...)
	heir.eventually("the last event", func() bool {
		ids := heir.log.IDs(cloud)
		return string(ids[len(ids)-1]) == confirmed[len(confirmed)-1].id
	})
	heir.eventually("a gap that is over", func() bool { return len(heir.state(Kind).Gaps) > 0 })
	missed := heir.missed(confirmed)
	if len(missed) == 0 {
		t.Error("nothing is missing of what came while the collector was dead")
	}
	heir.wantGap(missed, 1)
	killed.wantGap(missed, 0)
	killed.fuse.kill(end)
	last := heir.with(func(*Config) {})
	last.run()
	last.live(Kind, "nova")
	last.wantGap(missed, 0)
}

// Somebody deletes our queue while we are away.
func TestGapOfDeletedQueue(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	nova := broker.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable()))
	stop := steady(t, nova, "nova")
	r := newRig(t, broker, vhost, func(c *Config) { c.DurableExchanges = true })
	end := r.run()
	r.live(Kind, "nova")
	begun := len(nova.Confirmed("nova"))
	r.eventually("events", func() bool { return len(r.log.IDs(cloud)) > 20 })
	end()
	broker.DeleteQueue(t, vhost, ourQueue)
	n := len(nova.Confirmed("nova"))
	r.eventually("notifications that are lost", func() bool { return len(nova.Confirmed("nova")) > n+20 })
	if gaps := r.told().gaps; len(gaps) != 0 {
		t.Errorf("gaps %v at the first start", gaps)
	}
	r.run()
	r.live(Kind, "nova")
	confirmed := stop()
	r.eventually("the last event", func() bool {
		ids := r.log.IDs(cloud)
		return string(ids[len(ids)-1]) == confirmed[len(confirmed)-1].id
	})
	first := slices.IndexFunc(confirmed, func(p published) bool { return p.id == string(r.log.IDs(cloud)[0]) })
	if first > begun {
		t.Errorf("the %dth came first, and %d had been confirmed when it was bound", first, begun)
	}
	missed := r.missed(confirmed[first:])
	if len(missed) < 20 {
		t.Errorf("%d are missing, want those of the time without a queue", len(missed))
	}
	r.wantGap(missed, 1)
}
