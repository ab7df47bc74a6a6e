package amqp

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

const (
	novaSource event.Source = "amqp-nova"
	novaQueue  string       = "stackstream.cloud.amqp-nova"
)

func single(c *Config)  { c.Shards = nil }
func sharded(c *Config) { c.Shards = map[string][]string{"nova": {"nova"}} }

// traffic is services that notify, not far ahead of what is collected.
type traffic struct {
	work  sync.WaitGroup
	ended atomic.Bool
	ids   map[string][]string
}

func startTraffic(r *rig, services ...*service) *traffic {
	tr := &traffic{ids: map[string][]string{}}
	var mu sync.Mutex
	total := 0
	for _, s := range services {
		tr.work.Go(func() {
			look := time.NewTicker(5 * time.Millisecond)
			defer look.Stop()
			for !tr.ended.Load() {
				select {
				case <-look.C:
				case <-r.t.Context().Done():
					return
				}
				mu.Lock()
				ahead := total - r.collected()
				mu.Unlock()
				if ahead > 200 {
					continue
				}
				ids := s.notify(5)
				mu.Lock()
				tr.ids[s.exchange] = append(tr.ids[s.exchange], ids...)
				total += len(ids)
				mu.Unlock()
			}
		})
	}
	return tr
}

// end returns what was published, by exchange.
func (tr *traffic) end() map[string][]string {
	tr.ended.Store(true)
	tr.work.Wait()
	return tr.ids
}

// quick has the rig look often.
func quick(r *rig) *rig {
	r.cfg.Probe = 500 * time.Millisecond
	return r
}

// boundTo is how a queue is bound to an exchange.
func (r *rig) boundTo(exchange, queue string) []string {
	var want []string
	for _, key := range r.cfg.keys() {
		want = append(want, fmt.Sprintf("%s > %s by %s", exchange, queue, key))
	}
	return want
}

// settled waits until each exchange belongs to its source, by the cursors and on the broker, and to nobody else.
func (r *rig) settled(broker *rabbitmqtest.Broker, vhost string) {
	r.t.Helper()
	var want []string
	for name, exchanges := range r.cfg.sources() {
		r.live(name, exchanges...)
		r.eventually(fmt.Sprintf("claims of %s for %v", name, exchanges), func() bool {
			return len(r.state(name).Claims) == len(exchanges)
		})
		for _, x := range exchanges {
			want = append(want, r.boundTo(x, fmt.Sprintf("%s.%s.%s", r.cfg.Queue.Prefix, cloud, name))...)
		}
	}
	slices.Sort(want)
	if got := bindings(r.t, broker, vhost); !slices.Equal(got, want) {
		r.t.Errorf("the bindings are %q; want %q", got, want)
	}
}

// undisturbed: nothing failed.
func (r *rig) undisturbed() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.statuses {
		if s.State == event.StateBackoff {
			r.t.Errorf("%s failed: %s", s.Source, s.Reason)
		}
	}
}

// count is how often a source was in a state.
func (r *rig) count(name event.Source, state event.State) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.statuses {
		if s.Source == name && s.State == state {
			n++
		}
	}
	return n
}

// retired waits until a former source has nothing left.
func (r *rig) retired(broker *rabbitmqtest.Broker, vhost string, name event.Source) {
	r.t.Helper()
	r.eventually(string(name)+" retired", func() bool { return r.log.Cursor(cloud, name).Retired })
	if claims := r.state(name).Claims; len(claims) > 0 {
		r.t.Errorf("%s is retired and claims %v", name, claims)
	}
	prefix := fmt.Sprintf("%s.%s.%s", r.cfg.Queue.Prefix, cloud, name)
	for _, queue := range queuesIn(r.t, broker, vhost) {
		if queue == prefix || queue == prefix+".dropped" {
			r.t.Errorf("%s is retired, and there is queue %s", name, queue)
		}
	}
}

func TestExchangesMoveBetweenSources(t *testing.T) {
	forQueueTypes(t, func(t *testing.T, broker *rabbitmqtest.Broker, vhost string, queueType func(*Config)) {
		r := quick(newRig(t, broker, vhost, queueType))
		nova := newService(t, broker, vhost, "nova", true)
		glance := newService(t, broker, vhost, "glance", true)
		stop := r.run()
		r.settled(broker, vhost)
		tr := startTraffic(r, nova, glance)
		for _, change := range []func(*Config){sharded, single, sharded} {
			stop()
			r = r.with(change)
			stop = r.run()
			r.settled(broker, vhost)
			if _, has := r.cfg.sources()[novaSource]; !has {
				r.retired(broker, vhost, novaSource)
			} else if r.log.Cursor(cloud, novaSource).Retired {
				t.Errorf("%s collects, and its cursor says that it is retired", novaSource)
			}
			r.undisturbed()
		}
		want := tr.end()
		r.wantEach(want)
		// An exchange that nobody has any more.
		stop()
		last := glance.notify(50)
		r = r.with(func(c *Config) { c.Exchanges = nil })
		r.run()
		r.settled(broker, vhost)
		glance.notify(50)
		want["glance"] = append(want["glance"], last...)
		want["nova"] = append(want["nova"], nova.notify(50)...)
		r.wantEach(want)
	})
}

// Two processes with different configurations, for a while: a rolling restart, there and back.
func TestExchangesMoveBetweenProcesses(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	before := quick(newRig(t, broker, vhost))
	nova := newService(t, broker, vhost, "nova", true)
	glance := newService(t, broker, vhost, "glance", true)
	stopBefore := before.run()
	before.settled(broker, vhost)
	tr := startTraffic(before, nova, glance)

	after := before.with(sharded)
	stopAfter := after.run()
	after.eventually("the new source to wait", func() bool {
		return after.status(novaSource).State == event.StateDegraded && after.status(Kind).State == event.StateStandby
	})
	stopBefore()
	after.settled(broker, vhost)

	back := after.with(single)
	back.run()
	back.eventually("the former sources to stand by", func() bool {
		return back.status(novaSource).State == event.StateStandby && back.status(Kind).State == event.StateStandby
	})
	stopAfter()
	back.settled(broker, vhost)
	back.retired(broker, vhost, novaSource)
	// When it is run again, in the same process, there is nothing to do.
	runs, connected := back.count(novaSource, event.StateLive), len(back.told().connected)
	back.leases.Lose(collectors.LeaseKey(cloud, novaSource))
	back.eventually("the former source to run again", func() bool { return back.count(novaSource, event.StateLive) > runs })
	back.retired(broker, vhost, novaSource)
	if n := len(back.told().connected); n != connected {
		t.Errorf("a retired source connected (%v)", back.told().connected)
	}
	back.wantEach(tr.end())
}

// Connections break at every step of a handover, one after the other.
func TestHandoverBreaksOff(t *testing.T) {
	t.Parallel()
	steps := func(from, to string) []breakpoint {
		bind, unbind := shortText(to)+shortText("nova"), shortText(from)+shortText("nova")
		return []breakpoint{
			{queueDeclare, "", 1, false},             // the claims are durable, and no more
			{queueDeclare, to, 1, false},             // before the new owner's queue
			{queueBind, bind, 4, true},               // the new owner is bound by some keys
			{queueUnbind, unbind, 1, false},          // the new owner is bound
			{queueUnbind, unbind, 6, true},           // the old owner is unbound
			{basicPublish, from + ".probe", 2, true}, // the last probe does not return
		}
	}
	for _, c := range []struct {
		name     string
		from, to func(*Config)
		points   []breakpoint
	}{
		{"to a new source", single, sharded, steps(ourQueue, novaQueue)},
		{"from a former source", sharded, single, append(steps(novaQueue, ourQueue),
			breakpoint{queueDelete, novaQueue, 1, false},
			breakpoint{queueDelete, novaQueue, 1, true},
			breakpoint{queueDelete, novaQueue + ".dropped", 1, true},
		)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			broker := rabbitmqtest.Shared(t)
			vhost := broker.VHost(t)
			wire := newWire(t, broker.Addr())
			r := quick(newRig(t, broker, vhost, func(cfg *Config) { cfg.Hosts = []string{wire.addr()} }, c.from))
			nova := newService(t, broker, vhost, "nova", true)
			glance := newService(t, broker, vhost, "glance", true)
			stop := r.run()
			r.settled(broker, vhost)
			tr := startTraffic(r, nova, glance)
			stop()
			wire.breakAt(c.points...)
			r = r.with(c.to)
			r.run()
			r.eventually("all breaks", func() bool { return len(wire.ahead()) == 0 })
			r.settled(broker, vhost)
			if _, has := r.cfg.sources()[novaSource]; !has {
				r.retired(broker, vhost, novaSource)
			}
			r.wantEach(tr.end())
		})
	}
}

// A process that does not know that it lost its lease, having been suspended for instance, must not undo a handover.
// Nothing is moved before it lost the queue, too.
func TestNothingMovesWhileAnEarlierProcessConsumes(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	zombie := quick(newRig(t, broker, vhost))
	zombie.gate, zombie.host = new(gate), "zombie"
	nova := newService(t, broker, vhost, "nova", true)
	glance := newService(t, broker, vhost, "glance", true)
	zombie.run()
	zombie.settled(broker, vhost)
	before := bindings(t, broker, vhost)
	zombie.gate.close()
	want := map[string][]string{"nova": nova.notify(50), "glance": glance.notify(50)}
	r := zombie.with(sharded)
	r.leases = new(collectorstest.Leases)
	r.run()
	r.eventually("a connection that gets nothing to be given up", func() bool { return len(r.told().connected) > 2 })
	if now := bindings(t, broker, vhost); !slices.Equal(now, before) {
		t.Errorf("the bindings are %q; they were %q, and an earlier process consumes", now, before)
	}
	closeOurs(t, broker, vhost, "(zombie)")
	r.settled(broker, vhost)
	zombie.gate.open(nil)
	want["nova"] = append(want["nova"], nova.notify(50)...)
	want["glance"] = append(want["glance"], glance.notify(50)...)
	r.wantEach(want)
}

// What came before the unbinding is behind earlier probes.
func TestExchangeIsLetGoWithItsProbe(t *testing.T) {
	c := testConsumer(Default(), nil)
	c.state.Claims["nova"], c.state.Claims["old"] = claim{Bound: true}, claim{Bound: true}
	if left := c.leaving(); !slices.Equal(left, []string{"old"}) {
		t.Errorf("%v are to leave, want the one that is not configured", left)
	}
	c.releasing["old"] = 3
	if left := c.leaving(); len(left) > 0 {
		t.Errorf("%v are to leave, and have left", left)
	}
	if c.released(2); !c.state.Claims["old"].Bound {
		t.Error("let go with the probe before")
	}
	c.released(3)
	if _, claimed := c.state.Claims["old"]; claimed || !c.dirty {
		t.Error("not let go with its probe")
	}
	if _, claimed := c.state.Claims["nova"]; !claimed {
		t.Error("let go of what is ours")
	}
}

// Two processes with different configurations claim an exchange at the same time: one of them at most goes on.
func TestExchangeIsClaimedOnce(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	one := quick(newRig(t, broker, vhost, func(c *Config) { c.Exchanges = []string{"nova"} }))
	two := one.with(func(c *Config) { c.Exchanges, c.Shards = nil, map[string][]string{"nova": {"nova"}} })
	// Both see no claim before both have claimed.
	var both sync.WaitGroup
	both.Add(2)
	var first sync.Map
	one.log.Fault = func(_ context.Context, _ []event.Raw, p event.Progress) (bool, error) {
		st, err := readState(p.Cursor)
		if err != nil || len(st.Claims) == 0 {
			return true, nil
		}
		if _, again := first.LoadOrStore(st.Queue, true); !again {
			both.Done()
			both.Wait()
		}
		return true, nil
	}
	nova := newService(t, broker, vhost, "nova", true)
	one.run()
	two.run()
	bound := func() []event.Source {
		var names []event.Source
		for _, name := range []event.Source{Kind, novaSource} {
			if one.state(name).Claims["nova"].Bound {
				names = append(names, name)
			}
		}
		return names
	}
	one.eventually("an owner", func() bool { return len(bound()) > 0 })
	one.wantIDs(nova.notify(100))
	if names := bound(); len(names) != 1 {
		t.Errorf("%v collect from the same exchange", names)
	}
}
