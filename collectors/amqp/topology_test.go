package amqp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

const ourQueue = "stackstream.cloud.amqp"

// ask evaluates an Erlang expression whose value is a string, and returns its lines, sorted.
func ask(t *testing.T, broker *rabbitmqtest.Broker, format string, args ...any) []string {
	t.Helper()
	value := broker.Eval(t, fmt.Sprintf(format, args...))
	if value == "[]" {
		return nil
	}
	text, err := strconv.Unquote(value)
	if err != nil {
		t.Fatalf("the broker answered %s", value)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return lines
}

// bindingsOf are those to a queue or exchange: "nova notifications.info".
func bindingsOf(t *testing.T, broker *rabbitmqtest.Broker, vhost, queue string) []string {
	t.Helper()
	return ask(t, broker, `lists:flatten([io_lib:format("~s ~s~n", [element(4, element(2, B)), element(3, B)])
		|| B <- rabbit_binding:list(<<%q>>), element(4, element(4, B)) == <<%q>>, element(4, element(2, B)) /= <<>>])`, vhost, queue)
}

func queuesIn(t *testing.T, broker *rabbitmqtest.Broker, vhost string) []string {
	t.Helper()
	return ask(t, broker, `lists:flatten([io_lib:format("~s~n", [element(4, Q)]) || Q <- rabbit_amqqueue:list_names(<<%q>>)])`, vhost)
}

// argumentsOf are those of a queue: "x-queue-type classic".
func argumentsOf(t *testing.T, broker *rabbitmqtest.Broker, vhost, queue string) []string {
	t.Helper()
	return ask(t, broker, `{ok, Q} = rabbit_amqqueue:lookup({resource, <<%q>>, queue, <<%q>>}),
		lists:flatten([io_lib:format(case is_binary(V) of true -> "~s ~s~n"; _ -> "~s ~p~n" end, [K, V])
		|| {K, _, V} <- amqqueue:get_arguments(Q)])`, vhost, queue)
}

// wantBindings waits until our queue is bound so, and so only.
func (r *rig) wantBindings(broker *rabbitmqtest.Broker, want ...string) {
	r.t.Helper()
	want = append(want, ourQueue+".probe "+ourQueue)
	slices.Sort(want)
	r.eventually(fmt.Sprintf("the bindings %q", want), func() bool {
		return slices.Equal(bindingsOf(r.t, broker, r.cfg.VHost, ourQueue), want)
	})
}

func TestQueueIsDeclaredWithItsLimits(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	for kind, more := range map[string][]string{"classic": nil, "quorum": {"x-delivery-limit 1000000000"}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			vhost := broker.VHost(t)
			r := newRig(t, broker, vhost, func(c *Config) {
				c.Queue = Queue{Prefix: "stackstream", Type: kind, MaxBytes: 123 << 20, TTL: time.Hour}
			})
			nova := newService(t, broker, vhost, "nova", true)
			r.run()
			r.live(Kind, "nova")
			r.wantIDs(nova.notify(50))
			want := append(slices.Clone(more), "x-dead-letter-exchange "+ourQueue+".dropped", fmt.Sprintf("x-max-length-bytes %d", 123<<20),
				"x-message-ttl 3600000", "x-queue-type "+kind, "x-single-active-consumer true")
			slices.Sort(want)
			if got := argumentsOf(t, broker, vhost, ourQueue); !slices.Equal(got, want) {
				t.Errorf("the queue has the arguments %q, want %q", got, want)
			}
			if got := queuesIn(t, broker, vhost); !slices.Equal(got, []string{ourQueue, ourQueue + ".dropped"}) {
				t.Errorf("there are the queues %q", got)
			}
			if state := r.status(Kind); state.Reason != "" {
				t.Errorf("the status says %q", state.Reason)
			}
		})
	}
}

func TestWaitsForExchanges(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost)
	r.run()
	r.eventually("word that no exchange is there", func() bool {
		s := r.status(Kind)
		return s.State == event.StateDegraded && strings.Contains(s.Reason, "none of the exchanges is there yet: nova, glance") &&
			r.told().missing == 2
	})
	r.wantBindings(broker)
	glance := newService(t, broker, vhost, "glance", false)
	r.live(Kind, "glance")
	if n := r.told().missing; n != 1 {
		t.Errorf("%d exchanges are said to be missing, want 1", n)
	}
	ids := glance.notify(3)
	nova := newService(t, broker, vhost, "nova", true)
	r.live(Kind, "nova", "glance")
	r.wantIDs(slices.Concat(ids, nova.notify(3)))
	if told := r.told(); told.missing != 0 || len(told.gaps) != 0 {
		t.Errorf("%d exchanges missing, gaps %v; want none: they are new", told.missing, told.gaps)
	}
}

func TestBindingsFollowTheSettings(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	for _, x := range []string{"nova", "glance", "cinder"} {
		newService(t, broker, vhost, x, true)
	}
	var byDefault []string
	for _, priority := range []string{"audit", "critical", "debug", "error", "info", "warn"} {
		byDefault = append(byDefault, "nova notifications."+priority, "glance notifications."+priority)
	}
	r := newRig(t, broker, vhost)
	stop := r.run()
	r.wantBindings(broker, byDefault...)
	r.live(Kind, "nova", "glance")
	stop()

	r = r.with(func(c *Config) {
		c.Topics, c.Priorities = []string{"notifications", "versioned_notifications"}, []string{"info", "error"}
	})
	stop = r.run()
	r.wantBindings(broker, "nova notifications.info", "nova notifications.error",
		"nova versioned_notifications.info", "nova versioned_notifications.error",
		"glance notifications.info", "glance notifications.error",
		"glance versioned_notifications.info", "glance versioned_notifications.error")
	r.eventually("nothing stale in the cursor", func() bool { return len(r.state(Kind).Keys) == 4 })
	stop()

	r = r.with(func(c *Config) {
		c.Topics, c.Priorities, c.Exchanges = []string{"versioned_notifications"}, []string{"info"}, []string{"nova", "cinder"}
	})
	r.run()
	r.wantBindings(broker, "nova versioned_notifications.info", "cinder versioned_notifications.info")
	r.eventually("nothing stale in the cursor", func() bool {
		st := r.state(Kind)
		_, glance := st.Claims["glance"]
		return len(st.Keys) == 1 && !glance
	})
	if told := r.told(); len(told.gaps) != 0 {
		t.Errorf("gaps %v", told.gaps)
	}
}

// Whoever consumes notifications.info, ceilometer's agent for one, gets all of it beside us, whatever happens to us.
func TestLeavesTheQueuesOfOthersAlone(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	publisher := broker.Publisher(t, vhost, rabbitmqtest.Window(100))
	if err := publisher.Declare(t.Context(), "nova", "notifications.info"); err != nil {
		t.Fatal(err)
	}
	ch, err := broker.Dial(t, vhost).Channel()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ch.Consume("notifications.info", "agent", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, broker, vhost)
	stop := r.run()
	for range 3 {
		r.live(Kind, "nova")
		if err := publisher.Notify(t.Context(), "nova", make([]rabbitmqtest.Notification, 200)...); err != nil {
			t.Fatal(err)
		}
		r.wantIDs(publisher.Confirmed("nova"))
		broker.DeleteQueue(t, vhost, ourQueue)
		r.eventually("the queue made again", func() bool { return slices.Contains(queuesIn(t, broker, vhost), ourQueue) })
	}
	for i, id := range publisher.Confirmed("nova") {
		if d := <-theirs; !strings.Contains(string(d.Body), id) {
			t.Fatalf("the other consumer's message %d is not %s: %s", i, id, d.Body)
		}
	}
	info, err := ch.QueueDeclarePassive("notifications.info", false, false, false, false, nil)
	if err != nil || info.Consumers != 1 || info.Messages != 0 {
		t.Errorf("notifications.info: %+v, %v; want one consumer and no messages", info, err)
	}
	stop()
	want := []string{"notifications.info", ourQueue, ourQueue + ".dropped"}
	if got := queuesIn(t, broker, vhost); !slices.Equal(got, want) {
		t.Errorf("there are the queues %q, want %q", got, want)
	}
	if got, want := bindingsOf(t, broker, vhost, "notifications.info"), []string{"nova notifications.info"}; !slices.Equal(got, want) {
		t.Errorf("notifications.info has the bindings %q, want %q", got, want)
	}
}

// What a service declares succeeds, whether it declares before us or after us.
func TestServicesDeclareBesideUs(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	for _, variant := range rabbitmqtest.Variants() {
		t.Run(variant.Name, func(t *testing.T) {
			t.Parallel()
			vhost := broker.VHost(t)
			r := newRig(t, broker, vhost)
			before := broker.Publisher(t, vhost, rabbitmqtest.As(variant))
			if err := before.Declare(t.Context(), "nova", "notifications.info"); err != nil {
				t.Fatalf("before us: %v", err)
			}
			stop := r.run()
			r.live(Kind, "nova")
			after := broker.Publisher(t, vhost, rabbitmqtest.As(variant))
			var want []string
			for _, x := range []string{"nova", "glance"} {
				for range 2 {
					if err := after.Declare(t.Context(), x, "notifications.info"); err != nil {
						t.Fatalf("after us, exchange %s: %v", x, err)
					}
					r.live(Kind, x)
				}
				if err := after.Notify(t.Context(), x, make([]rabbitmqtest.Notification, 3)...); err != nil {
					t.Fatal(err)
				}
				want = append(want, after.Confirmed(x)...)
			}
			r.wantIDs(want)
			stop()
			if err := before.Notify(t.Context(), "nova", rabbitmqtest.Notification{}); err != nil {
				t.Fatalf("without us again: %v", err)
			}
			r.run()
			r.wantIDs(append(want, before.Confirmed("nova")...))
		})
	}
}

func TestCreatesExchangesOnlyWhenTold(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	for create, variants := range map[string][2]rabbitmqtest.Variant{
		createDurable:   {rabbitmqtest.Durable(), rabbitmqtest.Transient()},
		createTransient: {rabbitmqtest.Transient(), rabbitmqtest.Durable()},
	} {
		t.Run(create, func(t *testing.T) {
			t.Parallel()
			vhost := broker.VHost(t)
			r := newRig(t, broker, vhost, func(c *Config) { c.CreateExchanges = create })
			r.run()
			r.live(Kind, "nova", "glance")
			same := broker.Publisher(t, vhost, rabbitmqtest.As(variants[0]))
			if err := same.Notify(t.Context(), "nova", rabbitmqtest.Notification{}); err != nil {
				t.Fatalf("a service that declares so, too: %v", err)
			}
			r.wantIDs(same.Confirmed("nova"))
			other := broker.Publisher(t, vhost, rabbitmqtest.As(variants[1]))
			if err := other.Declare(t.Context(), "nova", "notifications.error"); !isCode(err, amqp091.PreconditionFailed) {
				t.Errorf("a service that declares otherwise gets %v, want 406: the exchange was made as told", err)
			}
		})
	}
}

func TestQueueThatExistsAlready(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	const without = "without " + argSingleActive
	tests := map[string]struct {
		arguments amqp091.Table
		transient bool
		refused   string
	}{
		"other limits": {arguments: amqp091.Table{argSingleActive: true, "x-max-length-bytes": 5_000_000}},
		"no limits":    {arguments: amqp091.Table{argSingleActive: true}},
		"quorum":       {arguments: amqp091.Table{argSingleActive: true, "x-queue-type": "quorum"}},
		"not durable":  {arguments: amqp091.Table{argSingleActive: true}, transient: true, refused: "does not last"},
		"several consumers": {arguments: amqp091.Table{
			"x-queue-type": "classic", "x-dead-letter-exchange": ourQueue + ".dropped",
			"x-max-length-bytes": int64(1 << 30), "x-message-ttl": int64(72 * 3600 * 1000),
		}, refused: without},
		"several consumers, other limits":        {arguments: amqp091.Table{"x-max-length-bytes": 5_000_000}, refused: without},
		"several consumers, nothing else either": {refused: without},
		"several consumers, quorum":              {arguments: amqp091.Table{"x-queue-type": "quorum"}, refused: without},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vhost := broker.VHost(t)
			nova := newService(t, broker, vhost, "nova", true)
			if _, err := nova.ch.QueueDeclare(ourQueue, !test.transient, false, false, false, test.arguments); err != nil {
				t.Fatal(err)
			}
			before := argumentsOf(t, broker, vhost, ourQueue)
			r := newRig(t, broker, vhost)
			r.run()
			if test.refused != "" {
				r.eventually("word that the queue can't be used", func() bool {
					s := r.status(Kind)
					return s.State == event.StateBackoff && strings.Contains(s.Reason, "queue "+ourQueue) &&
						strings.Contains(s.Reason, test.refused) && strings.Contains(s.Reason, "delete it when it is empty")
				})
				if got := bindingsOf(t, broker, vhost, ourQueue); len(got) != 0 {
					t.Errorf("it was bound to %q", got)
				}
				broker.DeleteQueue(t, vhost, ourQueue)
				r.live(Kind, "nova")
				r.wantIDs(nova.notify(3))
				return
			}
			r.live(Kind, "nova")
			r.wantIDs(nova.notify(3))
			if s := r.status(Kind); !strings.Contains(s.Reason, "queue "+ourQueue+" has other arguments than are configured") {
				t.Errorf("the status says %q", s.Reason)
			}
			if after := argumentsOf(t, broker, vhost, ourQueue); !slices.Equal(after, before) {
				t.Errorf("the queue has the arguments %q, had %q", after, before)
			}
		})
	}
}

func TestArgumentThatTheBrokerDoesNotKnow(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost)
	r.cfg.Queue.Type = "of-the-future"
	newService(t, broker, vhost, "nova", true)
	r.run()
	r.eventually("word that the broker takes no such argument", func() bool {
		s := r.status(Kind)
		return s.State == event.StateBackoff && strings.Contains(s.Reason, "the broker does not take it like that") &&
			strings.Contains(s.Reason, "x-queue-type")
	})
}
