package provider_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/provider"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// writes tells whether a message changes something.
func writes(subject string) bool {
	for _, prefix := range []string{"ingest.", "$KV.", "$O.", "$JS.API.CONSUMER.DELETE." + event.StreamRaw, "$JS.API.STREAM.PURGE."} {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return false
}

// killed runs a command that dies after it has sent so many messages that change something, and tells whether it had more to send.
func (w *world) killed(sent int, command func(context.Context, *jetstream.Client) error) (died bool, err error) {
	w.t.Helper()
	ctx, kill := context.WithCancel(w.t.Context())
	defer kill()
	gate := jetstreamtest.NewGate(w.t, w.url, sent, writes, kill)
	defer gate.Close()
	c, err := jetstream.Connect(ctx, jetstream.Config{URLs: []string{gate.URL()}, Name: "gate"}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Conn().Close()
	err = command(ctx, c)
	return gate.Shut(), err
}

// interrupted runs a command that is killed, for all that it sends, before it can send that, and then runs it again: on a provider
// of its own each time, which ready makes and done looks at. And on one it is killed again and again, each time a little later.
// Of each that was killed halfway has a look.
func (w *world) interrupted(
	ready func(event.Provider), command func(context.Context, *jetstream.Client, event.Provider) error, halfway, done func(event.Provider),
) {
	w.t.Helper()
	run := func(sent int, name event.Provider) (died bool) {
		w.t.Helper()
		died, err := w.killed(sent, func(ctx context.Context, c *jetstream.Client) error { return command(ctx, c, name) })
		if problem := (*provider.Problem)(nil); errors.As(err, &problem) || err != nil && !died {
			w.t.Fatalf("killed after %d messages: %v", sent, err)
		}
		return died
	}
	const often = event.Provider("often")
	ready(often)
	for sent := 0; ; sent++ {
		name := event.Provider(fmt.Sprintf("killed%d", sent))
		ready(name)
		died := run(sent, name)
		if died {
			halfway(name)
			if err := command(w.t.Context(), w.client, name); err != nil {
				w.t.Fatalf("killed after %d messages, and run again: %v", sent, err)
			}
		}
		done(name)
		if !died {
			w.t.Logf("killed at each of %d messages", sent)
			break
		}
	}
	for sent := 0; run(sent, often); sent++ {
	}
	done(often)
}

// leftovers are what processes that died have left of a provider: the normalizer's durable consumer, and leases.
func (w *world) leftovers(p event.Provider) {
	w.t.Helper()
	js, err := natsjs.New(w.client.Conn())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx := w.t.Context()
	_, err = js.CreateConsumer(ctx, event.StreamRaw, natsjs.ConsumerConfig{
		Durable: jetstream.ConsumerName(p), AckPolicy: natsjs.AckExplicitPolicy, MemoryStorage: true,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	owners, err := js.KeyValue(ctx, jetstream.BucketOwners)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, key := range []string{"collector.collector." + string(p) + ".test", "normalizer.normalizer." + string(p)} {
		if _, err := owners.Put(ctx, key, []byte(`{"id":"gone","name":"host/0"}`)); err != nil {
			w.t.Fatal(err)
		}
	}
	if h := w.look(p); !h.Consumer || len(h.Owners) != 2 {
		w.t.Fatalf("there is %+v", h)
	}
}

// marked has all paused, and has the record of a job that is over.
func (w *world) marked(p event.Provider) {
	w.t.Helper()
	w.pause(p, collecting, normalizing, "test")
	w.job(p, "old", over)
}

func TestKilledRemoval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.interrupted(func(name event.Provider) { w.plant(name, 2, "x", "y", "z"); w.leftovers(name); w.marked(name) },
		func(ctx context.Context, c *jetstream.Client, name event.Provider) error {
			return provider.Remove(ctx, c, name, provider.Removal{Operator: by, Purge: true})
		},
		func(event.Provider) {},
		func(name event.Provider) {
			h := w.look(name)
			if !provider.Gone(h) || h.Sources["test"].Position != 3 || h.Normalized.Sources["test"].Position != 3 {
				t.Errorf("left of %s is %+v", name, h)
			}
		})
	w.works("often", 4, "x")
}

func TestKilledClean(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.interrupted(func(name event.Provider) { w.plant(name, 2, "x", "y", "z"); w.leftovers(name) },
		func(ctx context.Context, c *jetstream.Client, name event.Provider) error {
			return provider.Remove(ctx, c, name, provider.Removal{Operator: by})
		},
		func(event.Provider) {},
		func(name event.Provider) {
			h := w.look(name)
			if h.Consumer || len(h.Owners) > 0 || h.Events() != 3 || h.Unnormalized() != 2 || h.Choice.Kind != "test" ||
				h.Choice.Removed == nil || string(h.Sources["test"].Cursor) != `{"after":"z"}` {
				t.Errorf("left of %s is %+v", name, h)
			}
		})
	w.works("often", 4, "z", "zz")
	w.wantRaw("often", "x", "y", "z", "zz")
}
