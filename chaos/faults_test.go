//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/chaos/clock"
	"stackstream/chaos/proxy"
	"stackstream/internal/openstack/standin"
)

// fault is one thing that is done to the world and undone after a while. All that is random about it was drawn when it was
// planned, so that the plan follows from the seed alone.
type fault struct {
	kind string
	on   string   // for people
	uses []string // hosts and links that nothing else may be done to meanwhile
	// alone has nothing else be wrong meanwhile: how long it takes to get over it is measured.
	alone bool
	hold  time.Duration // between doing and undoing
	do    func(ctx context.Context) error
	undo  func(ctx context.Context) error
	// over, if set, ends hold early.
	over func() bool
}

// kind is a kind of fault, which plans one.
type kind struct {
	name   string
	weight int // how often it comes, against the others; 0 where it can't be done here
	plan   func(r *rand.Rand) fault
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}

// kinds are all kinds of faults.
func (w *world) kinds() []kind {
	lease := w.opt.lease
	one := func(r *rand.Rand, name func(int) string, n int) string { return name(r.IntN(n)) }
	program := func(r *rand.Rand) string {
		if r.IntN(2) == 0 {
			return one(r, collector, collectors)
		}
		return one(r, normalizer, normalizers)
	}
	kill := func(name func(int) string, n int) func(r *rand.Rand) fault {
		return func(r *rand.Rand) fault {
			return w.killed(one(r, name, n), r.IntN(3) == 0, between(r, 0, 3*time.Second))
		}
	}
	return []kind{
		{"kill a collector", 8, kill(collector, collectors)},
		{"kill a normalizer", 8, kill(normalizer, normalizers)},
		{"kill a server", 8, func(r *rand.Rand) fault {
			return w.killed(one(r, node, nodes), false, between(r, 0, 5*time.Second))
		}},
		{"kill all servers", 1, func(r *rand.Rand) fault { return w.allKilled(between(r, 0, 3*time.Second)) }},
		{"kill the broker", 2, func(r *rand.Rand) fault { return w.brokerDown(true, between(r, 0, 2*time.Second)) }},
		{"restart the broker", 1, func(r *rand.Rand) fault { return w.brokerDown(false, between(r, 0, 2*time.Second)) }},
		{"pause the broker", 1, func(r *rand.Rand) fault { return w.brokerPaused(between(r, time.Second, 8*time.Second)) }},
		{"stop a program", 3, func(r *rand.Rand) fault { return w.stopped(program(r), between(r, 0, 3*time.Second)) }},
		{"stop a server", 3, func(r *rand.Rand) fault { return w.stopped(one(r, node, nodes), between(r, 0, 3*time.Second)) }},
		{"pause a collector until it is a zombie", 3, func(r *rand.Rand) fault {
			return w.madeZombie(one(r, collector, collectors), r.IntN(3) == 0, 2*lease+20*time.Second)
		}},
		{"pause a normalizer until it is a zombie", 3, func(r *rand.Rand) fault {
			return w.madeZombie(one(r, normalizer, normalizers), r.IntN(3) == 0, 2*lease+20*time.Second)
		}},
		{"pause a program", 3, func(r *rand.Rand) fault { return w.paused(program(r), between(r, 100*time.Millisecond, 5*time.Second)) }},
		{"pause a server", 3, func(r *rand.Rand) fault {
			return w.paused(one(r, node, nodes), between(r, 100*time.Millisecond, 15*time.Second))
		}},
		{"a leader steps down", 6, func(r *rand.Rand) fault {
			return w.stepDown(pick(r.IntN(2) == 0, "EVENTS_RAW", "EVENTS_NORMALIZED"))
		}},
		{"cut a link", 6, func(r *rand.Rand) fault {
			return w.harmedLink(r, "cut", proxy.Fault{Cut: true}, between(r, 100*time.Millisecond, 10*time.Second))
		}},
		{"a link is half-open", 5, func(r *rand.Rand) fault {
			hold := []proxy.Direction{proxy.Both, proxy.Forward, proxy.Backward}[r.IntN(3)]
			return w.harmedLink(r, "half-open", proxy.Fault{Hold: hold}, between(r, time.Second, 20*time.Second))
		}},
		{"delay a link", 4, func(r *rand.Rand) fault {
			d := between(r, 5*time.Millisecond, 300*time.Millisecond)
			return w.harmedLink(r, "delayed by "+d.String(), proxy.Fault{Delay: d, Jitter: d / 2}, between(r, time.Second, 10*time.Second))
		}},
		{"isolate a server", 3, func(r *rand.Rand) fault {
			return w.isolated(one(r, node, nodes), r.IntN(2) == 0, between(r, time.Second, 15*time.Second))
		}},
		{"a clock jumps", pick(jumps(), 4, 0), func(r *rand.Rand) fault {
			host := program(r)
			if r.IntN(4) == 0 {
				host = one(r, node, nodes)
			}
			by := between(r, -time.Hour, time.Hour)
			if r.IntN(2) == 0 {
				by = between(r, -10*time.Second, 10*time.Second)
			}
			return w.clockJumps(host, by.Round(time.Millisecond), between(r, time.Second, 20*time.Second))
		}},
		{"a disk is full", pick(w.disk != nil, 1, 0), func(r *rand.Rand) fault { return w.diskFull(between(r, 2*time.Second, 15*time.Second)) }},
		{"a stream is full", 2, func(r *rand.Rand) fault {
			return w.streamFull(pick(r.IntN(2) == 0, "EVENTS_RAW", "EVENTS_NORMALIZED"), between(r, time.Second, 8*time.Second))
		}},
		{"a second collector without a lease", 3, func(r *rand.Rand) fault {
			return w.withoutLease(one(r, collector, collectors), between(r, 3*time.Second, 15*time.Second))
		}},
		{"a second normalizer without a lease", 3, func(r *rand.Rand) fault {
			return w.withoutLease(one(r, normalizer, normalizers), between(r, 3*time.Second, 15*time.Second))
		}},
		{"an event service fails", 3, func(r *rand.Rand) fault { return w.cloudFails(r, between(r, time.Second, 10*time.Second)) }},
		{"kill a subscriber", 2, func(r *rand.Rand) fault { return w.killed(subscriber, false, between(r, 0, 2*time.Second)) }},
		{"pause a subscriber", 2, func(r *rand.Rand) fault { return w.paused(subscriber, between(r, time.Second, 10*time.Second)) }},
	}
}

// killed kills a process and starts it again.
func (w *world) killed(host string, alone bool, down time.Duration) fault {
	p := w.process[host]
	what := "kill " + host
	return fault{on: host, uses: []string{host}, alone: alone, hold: down,
		do: func(context.Context) error {
			pid := p.pid()
			if pid == 0 {
				return errNothing
			}
			p.kill()
			w.watch.gone(what, pid)
			return nil
		},
		undo: func(context.Context) error { return p.start() },
	}.settle(func() bool { return w.watch.settled(what) })
}

func (w *world) allKilled(down time.Duration) fault {
	f := fault{on: "all servers", hold: down, undo: func(context.Context) error { return nil }}
	for i := range nodes {
		f.uses = append(f.uses, node(i))
	}
	f.do = func(context.Context) error {
		for _, host := range f.uses {
			w.process[host].kill()
		}
		return nil
	}
	f.undo = func(context.Context) error {
		var errs []error
		for _, host := range f.uses {
			errs = append(errs, w.process[host].start())
		}
		return errors.Join(errs...)
	}
	return f
}

func (w *world) stopped(host string, down time.Duration) fault {
	p := w.process[host]
	return fault{on: host, uses: []string{host}, hold: down,
		do:   func(context.Context) error { return p.stop(time.Minute) },
		undo: func(context.Context) error { return p.start() },
	}
}

func (w *world) paused(host string, d time.Duration) fault {
	p := w.process[host]
	return fault{on: host, uses: []string{host}, hold: d,
		do: func(context.Context) error {
			p.pause()
			if p.pid() == 0 {
				return errNothing
			}
			return nil
		},
		undo: func(context.Context) error { p.resume(); return nil },
	}
}

// madeZombie pauses a process until others have all its work, and lets it go on as if nothing had been.
func (w *world) madeZombie(host string, alone bool, most time.Duration) fault {
	p, pid := w.process[host], 0
	return fault{on: host, uses: []string{host}, alone: alone, hold: most,
		do: func(context.Context) error {
			p.pause()
			if pid = p.pid(); pid == 0 || !w.watch.gone("pause "+host, pid) {
				return fmt.Errorf("%w: it works on nothing", errNothing)
			}
			return nil
		},
		over: func() bool { return w.watch.taken(pid) },
		undo: func(context.Context) error { p.resume(); return nil },
	}
}

func (w *world) brokerDown(kill bool, down time.Duration) fault {
	return fault{on: brokerHost, uses: []string{brokerHost}, hold: down,
		do: func(context.Context) error {
			if kill {
				w.broker.Kill(w.t)
			} else {
				w.broker.Stop(w.t)
			}
			return nil
		},
		undo: func(context.Context) error { w.broker.Run(w.t); return nil },
	}
}

func (w *world) brokerPaused(d time.Duration) fault {
	return fault{on: brokerHost, uses: []string{brokerHost}, hold: d,
		do:   func(context.Context) error { w.broker.Pause(w.t); return nil },
		undo: func(context.Context) error { w.broker.Resume(w.t); return nil },
	}
}

func (w *world) stepDown(stream string) fault {
	return fault{on: stream, uses: []string{"leader of " + stream},
		do: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			answer, err := w.nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
			if err != nil {
				return fmt.Errorf("%w: %w", errNothing, err)
			}
			var said struct{ Error *natsjs.APIError }
			if err := json.Unmarshal(answer.Data, &said); err == nil && said.Error != nil {
				return fmt.Errorf("%w: %w", errNothing, said.Error)
			}
			return nil
		},
		undo: func(context.Context) error { return nil },
	}
}

// links are all pairs of hosts that talk.
func (w *world) links() [][2]string {
	var all [][2]string
	for i := range nodes {
		for k := range i {
			all = append(all, [2]string{node(i), node(k)})
		}
		for k := range collectors {
			all = append(all, [2]string{collector(k), node(i)})
		}
		for k := range normalizers {
			all = append(all, [2]string{normalizer(k), node(i)})
		}
	}
	for i := range nodes {
		all = append(all, [2]string{subscriber, node(i)})
	}
	for k := range collectors {
		all = append(all, [2]string{collector(k), brokerHost}, [2]string{collector(k), cloudHost})
	}
	return all
}

func (w *world) harmedLink(r *rand.Rand, what string, f proxy.Fault, d time.Duration) fault {
	links := w.links()
	l := links[r.IntN(len(links))]
	name := l[0] + " - " + l[1]
	return fault{on: name + " " + what, uses: []string{"link " + name}, hold: d,
		do:   func(context.Context) error { return w.network.Between(l[0], l[1]).Set(f) },
		undo: func(context.Context) error { return w.network.Between(l[0], l[1]).Set(proxy.Fault{}) },
	}
}

// isolated takes a host off the network: with cut, connections break; without, nothing comes through any more.
func (w *world) isolated(host string, cut bool, d time.Duration) fault {
	f := pick(cut, proxy.Fault{Cut: true}, proxy.Fault{Hold: proxy.Both})
	var uses []string
	for _, l := range w.links() {
		if l[0] == host || l[1] == host {
			uses = append(uses, "link "+l[0]+" - "+l[1])
		}
	}
	return fault{on: host + pick(cut, " cut off", " behind a wall"), uses: uses, hold: d,
		do:   func(context.Context) error { return w.network.Of(host).Set(f) },
		undo: func(context.Context) error { return w.network.Of(host).Set(proxy.Fault{}) },
	}
}

func (w *world) clockJumps(host string, by, d time.Duration) fault {
	p, pid := w.process[host], 0
	return fault{on: fmt.Sprintf("%s by %v", host, by), uses: []string{host}, hold: d,
		do: func(context.Context) error {
			if pid = p.pid(); pid == 0 {
				return errNothing
			}
			return clock.Jump(pid, by)
		},
		undo: func(context.Context) error {
			if p.pid() != pid {
				return nil
			}
			return clock.Jump(pid, 0)
		},
	}
}

// diskFull fills the disk under the last server, frees it after a while, and starts that server again: it does not get
// over a full disk by itself.
func (w *world) diskFull(d time.Duration) fault {
	host := node(nodes - 1)
	return fault{on: host, uses: []string{host}, hold: d,
		do: func(context.Context) error {
			w.process[host].starve(true) // a server that is only starting ends itself on a full disk
			return w.disk.Fill()
		},
		undo: func(context.Context) error {
			err := w.disk.Free()
			w.process[host].kill()
			w.process[host].starve(false)
			return errors.Join(err, w.process[host].start())
		},
	}
}

// streamFull leaves a stream no more than a little room, and gives it room again.
func (w *world) streamFull(name string, d time.Duration) fault {
	limit := func(ctx context.Context, most func(natsjs.StreamState) int64) error {
		stream, err := w.stream(ctx, name)
		if err != nil {
			return fmt.Errorf("%w: %w", errNothing, err)
		}
		config := stream.CachedInfo().Config
		config.MaxBytes = most(stream.CachedInfo().State)
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err = w.js.UpdateStream(ctx, config); err != nil {
			return fmt.Errorf("%w: %w", errNothing, err)
		}
		return nil
	}
	return fault{on: name, uses: []string{"limits of " + name}, hold: d,
		do: func(ctx context.Context) error {
			return limit(ctx, func(s natsjs.StreamState) int64 { return int64(s.Bytes) + 256<<10 })
		},
		undo: func(ctx context.Context) error {
			for {
				err := limit(ctx, func(natsjs.StreamState) int64 { return streamGiB << 30 })
				if err == nil || !sleep(ctx, 200*time.Millisecond) {
					return err
				}
			}
		},
	}
}

// withoutLease runs a second process that does the same work without asking whether it may.
func (w *world) withoutLease(host string, d time.Duration) fault {
	p := w.process[zombie(host)]
	return fault{on: zombie(host), uses: []string{zombie(host)}, hold: d,
		do:   func(context.Context) error { return p.start() },
		undo: func(context.Context) error { p.kill(); return nil },
	}
}

func (w *world) cloudFails(r *rand.Rand, d time.Duration) fault {
	service := w.opt.polled[r.IntN(len(w.opt.polled))]
	f := []standin.Faults{{ErrorRate: 1}, {ErrorRate: 0.5, ShortPages: true}, {Delay: 3 * time.Second, ErrorRate: 0.2}}[r.IntN(3)]
	return fault{on: service, uses: []string{"service " + service}, hold: d,
		do:   func(context.Context) error { w.clouds[service].SetFaults(f); return nil },
		undo: func(context.Context) error { w.clouds[service].SetFaults(calm); return nil },
	}
}

// settle has the fault end only when what follows it is over, if it is to be alone.
func (f fault) settle(over func() bool) fault {
	if !f.alone {
		return f
	}
	undo := f.undo
	f.undo = func(ctx context.Context) error {
		err := undo(ctx)
		limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		for !over() && sleep(limit, 50*time.Millisecond) {
		}
		return err
	}
	return f
}

// jumps tells whether clocks can be made to jump here.
func jumps() bool { return runtime.GOOS == "linux" && runtime.GOARCH == "amd64" }
