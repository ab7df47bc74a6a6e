package amqp

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// changes is how many changes of state there were.
func (r *rig) changes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.statuses)
}

// said tells whether one of the statuses of the source from a change on was no good one, and had all these words.
func (r *rig) said(from int, words ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.statuses[from:], func(s event.Status) bool {
		return s.Source == Kind && (s.State == event.StateBackoff || s.State == event.StateDegraded) &&
			!slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(s.Reason, word) })
	})
}

func (r *rig) troubled(from int, words ...string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("word of %q", words), func() bool { return r.said(from, words...) })
}

// patient waits until a source that nothing happens to has had n more probes, that is for n times as long as a probe of r
// may take at least.
func (r *rig) patient(neighbour *rig, n int) {
	r.t.Helper()
	probes := neighbour.told().probes
	r.eventually("time to go by", func() bool { return neighbour.told().probes >= probes+n })
}

// permit sets the rights of a user.
func permit(t *testing.T, broker *rabbitmqtest.Broker, user, vhost, configure, write, read string) {
	t.Helper()
	if got := broker.Eval(t, fmt.Sprintf(`rabbit_auth_backend_internal:set_permissions(<<%q>>, <<%q>>, <<%q>>, <<%q>>, <<%q>>, <<"test">>)`,
		user, vhost, configure, write, read)); got != "ok" {
		t.Fatal(got)
	}
}

// Each of these ends or stops the connection of a source. It is noticed and named, and the same collector goes on from
// there; nothing is lost, and nothing comes twice.
func TestTroubleIsNamedAndMended(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	type scene struct {
		*rig
		proxy      *rabbitmqtest.Proxy
		vhost      string
		user, pass string
	}
	again := func(s scene) { // guest may use the virtual host again
		broker.Eval(s.t, fmt.Sprintf(`rabbit_vhost:add(<<%q>>, <<"test">>), rabbit_vhost:await_running_on_all_nodes(<<%q>>, 60000)`,
			s.vhost, s.vhost))
		permit(s.t, broker, "guest", s.vhost, ".*", ".*", ".*")
		permit(s.t, broker, s.user, s.vhost, ".*", ".*", ".*")
	}
	tests := map[string]struct {
		change  func(c *Config)
		trouble func(s scene)
		words   []string
		mend    func(s scene)
	}{
		"queue deleted": {
			trouble: func(s scene) { broker.DeleteQueue(s.t, s.vhost, ourQueue) },
			words:   []string{"consume queue " + ourQueue, "the broker cancelled our consumer: the queue was deleted"},
		},
		"connection closed by the broker": {
			trouble: func(s scene) { broker.CloseConnections(s.t, s.vhost) },
			words:   []string{"the broker closed the connection", "closed by a test"},
		},
		"cut": {
			trouble: func(s scene) { s.proxy.Cut() },
			words:   []string{"the connection"},
		},
		"cut, and refused for a while": {
			trouble: func(s scene) { s.proxy.Refuse(true); s.proxy.Cut() },
			words:   []string{"connect to ", "nothing listens there"},
			mend:    func(s scene) { s.proxy.Refuse(false) },
		},
		"half-open, by heartbeats": {
			change:  func(c *Config) { c.Heartbeat, c.Probe = time.Second, time.Minute },
			trouble: func(s scene) { s.proxy.Freeze() },
			words:   []string{"the broker has gone silent, without even a heartbeat"},
			mend:    func(s scene) { s.proxy.Cut(); s.proxy.Thaw() },
		},
		"half-open, by probes": {
			change:  func(c *Config) { c.Heartbeat = time.Minute },
			trouble: func(s scene) { s.proxy.Freeze() },
			words:   []string{"a probe that was sent through the queue does not come back"},
			mend:    func(s scene) { s.proxy.Cut(); s.proxy.Thaw() },
		},
		"password changed": {
			trouble: func(s scene) {
				broker.Ctl(s.t, "change_password", s.user, "another")
				s.proxy.Cut()
			},
			words: []string{"the broker refuses the login (see user and password_file)"},
			mend:  func(s scene) { broker.Ctl(s.t, "change_password", s.user, s.pass) },
		},
		"user deleted": {
			trouble: func(s scene) { broker.Ctl(s.t, "delete_user", s.user) },
			words:   []string{"the broker refuses the login (see user and password_file)"},
			mend: func(s scene) {
				broker.Ctl(s.t, "add_user", s.user, s.pass)
				permit(s.t, broker, s.user, s.vhost, ".*", ".*", ".*")
			},
		},
		"rights taken away": {
			trouble: func(s scene) { permit(s.t, broker, s.user, s.vhost, "", "", "") },
			words:   []string{"has no right to"},
			mend:    func(s scene) { permit(s.t, broker, s.user, s.vhost, ".*", ".*", ".*") },
		},
		"virtual host deleted": {
			trouble: func(s scene) { broker.Ctl(s.t, "delete_vhost", s.vhost) },
			words:   []string{"no such virtual host (see vhost)"},
			mend:    again,
		},
		"exchange deleted": {
			trouble: func(s scene) {
				ch, err := broker.Dial(s.t, s.vhost).Channel()
				if err == nil {
					err = ch.ExchangeDelete("nova", false, false)
				}
				if err != nil {
					s.t.Error(err)
				}
			},
			words: []string{"exchanges are gone: nova"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scene{proxy: rabbitmqtest.NewProxy(t, broker.Addr()), vhost: broker.VHost(t)}
			s.user, s.pass = broker.User(t, s.vhost, ".*", ".*", ".*")
			s.rig = newRig(t, broker, s.vhost, func(c *Config) {
				c.Hosts, c.User, c.Password, c.ConnectTimeout = []string{s.proxy.Addr()}, s.user, event.Secret(s.pass), time.Second
				if test.change != nil {
					test.change(c)
				}
			})
			nova := broker.Publisher(t, s.vhost)
			declare := func() {
				if err := nova.Declare(t.Context(), "nova", "notifications.info"); err != nil {
					t.Error(err)
				}
			}
			notify := func() {
				if err := nova.Notify(t.Context(), "nova", make([]rabbitmqtest.Notification, 20)...); err != nil {
					t.Error(err)
				}
				s.wantIDs(nova.Confirmed("nova"))
			}
			declare()
			s.run()
			s.live(Kind, "nova")
			notify()
			from := s.changes()
			test.trouble(s)
			s.troubled(from, test.words...)
			if test.mend != nil {
				test.mend(s)
			}
			nova.Close() // what it had declared may be gone
			declare()
			s.live(Kind, "nova")
			notify()
			if got := s.status(Kind); got.State != event.StateLive || got.Reason != "" {
				t.Errorf("afterwards the status is %+v", got)
			}
		})
	}
}

// A connection breaks or stands still while notifications come.
func TestTroubleUnderTraffic(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	for name, trouble := range map[string]func(p *rabbitmqtest.Proxy){
		"cut":       func(p *rabbitmqtest.Proxy) { p.Cut() },
		"half-open": func(p *rabbitmqtest.Proxy) { p.Freeze() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy, vhost := rabbitmqtest.NewProxy(t, broker.Addr()), broker.VHost(t)
			r := newRig(t, broker, vhost, func(c *Config) {
				c.Hosts, c.Heartbeat, c.ConnectTimeout = []string{proxy.Addr()}, time.Second, time.Second
			})
			nova := broker.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable()), rabbitmqtest.Window(50))
			if err := nova.Declare(t.Context(), "nova", "notifications.info"); err != nil {
				t.Fatal(err)
			}
			r.run()
			r.live(Kind, "nova")
			published := make(chan error, 1)
			go func() { published <- nova.Notify(t.Context(), "nova", make([]rabbitmqtest.Notification, 4000)...) }()
			for i := range 3 {
				r.eventually("some events", func() bool {
					return len(r.log.IDs(cloud)) > 1000*i+100 && r.status(Kind).State == event.StateLive
				})
				from := r.changes()
				trouble(proxy)
				r.troubled(from)
				if name == "half-open" {
					proxy.Cut()
					proxy.Thaw()
				}
			}
			if err := <-published; err != nil {
				t.Fatal(err)
			}
			r.wantIDs(nova.Confirmed("nova"))
			if gaps := r.told().gaps; len(gaps) != 0 {
				t.Errorf("gaps %v", gaps)
			}
		})
	}
}

// A broker that can't be used for long is reported once, and asked again at short intervals.
func TestLongTroubleIsReportedOnce(t *testing.T) {
	t.Parallel()
	if p := Default().Spec().MaxPause; p != 5*time.Second {
		t.Errorf("pauses may last %s", p)
	}
	for name, answer := range map[string]string{"closes": "", "is no broker": "HTTP/1.1 400 Bad Request\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var tries atomic.Int64
			go func() {
				for {
					c, err := l.Accept()
					if errors.Is(err, net.ErrClosed) {
						return
					}
					if err == nil {
						tries.Add(1)
						_, _ = c.Read(make([]byte, 8))
						_, _ = c.Write([]byte(answer))
						_ = c.Close()
					}
				}
			}()
			r := newRig(t, rabbitmqtest.Shared(t), "/", func(c *Config) { c.Hosts = []string{l.Addr().String()} })
			defer r.run()()
			r.eventually("five tries", func() bool { return tries.Load() >= 5 })
			if n := len(r.logged(`"source":"amqp"`)); n != 2 {
				t.Errorf("%d lines in the log, want one that it starts and one that it fails:\n%s", n, r.logged(""))
			}
		})
	}
}

// While nothing can be committed there is nothing wrong with the broker.
func TestSlowCommitsAreNoSilence(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	for name, change := range map[string]func(r *rig){
		"prefetch exhausted": func(r *rig) { r.cfg.Prefetch = 10 },
		"queue full":         func(r *rig) { r.limits.QueueBytes = 10_000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vhost := broker.VHost(t)
			nova := newService(t, broker, vhost, "nova", true)
			r := newRig(t, broker, vhost)
			r.gate = &gate{}
			change(r)
			neighbour := newRig(t, broker, broker.VHost(t))
			neighbour.run()
			r.run()
			r.live(Kind, "nova")
			ids := nova.notify(100)
			r.wantIDs(ids) // and the prefetch is what it stays
			r.gate.close()
			from, before := r.changes(), r.told().redelivered
			ids = append(ids, nova.notify(300)...)
			r.patient(neighbour, 5)
			r.gate.open(nil)
			r.wantIDs(append(ids, nova.notify(300)...))
			r.live(Kind, "nova")
			if n := r.changes(); n != from {
				t.Errorf("there were changes of state: %+v", r.statuses[from:])
			}
			if told := r.told(); told.redelivered != before || len(told.connected) != 1 {
				t.Errorf("connected %q, %d redelivered", told.connected, told.redelivered)
			}
		})
	}
}

// An earlier process still has the queue as far as the broker can tell: what it holds comes first, when it is given up.
func TestTakesOverFromConsumerThatIsHalfDead(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	proxy, vhost := rabbitmqtest.NewProxy(t, broker.Addr()), broker.VHost(t)
	nova := newService(t, broker, vhost, "nova", true)
	r := newRig(t, broker, vhost, func(c *Config) { c.Hosts, c.Heartbeat = []string{proxy.Addr()}, 4*time.Second })
	r.gate = &gate{}
	die := r.run()
	r.live(Kind, "nova")
	ids := nova.notify(100)
	r.wantIDs(ids)
	r.gate.close()
	held := nova.notify(50)
	r.eventually("what comes is held by the first one", func() bool { return broker.Depth(t, vhost, ourQueue).Unacked >= 50 })
	proxy.Freeze()
	dead := make(chan struct{})
	go func() { defer close(dead); die() }()

	heir := r.with(func(c *Config) { c.Hosts, c.Probe = []string{broker.Addr()}, 5*time.Second })
	r.gate.open(errors.New("killed"))
	<-dead
	heir.run()
	heir.troubled(0, "has another consumer, which comes first")
	ids = append(append(ids, held...), nova.notify(50)...)
	heir.wantIDs(ids)
	if heir.told().redelivered < 50 {
		t.Errorf("%d redelivered, want what the first one held", heir.told().redelivered)
	}
	heir.eventually("all well", func() bool { s := heir.status(Kind); return s.State == event.StateLive && s.Reason == "" })
}
