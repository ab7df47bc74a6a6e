package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/embedded"
	"stackstream/subscribe"
)

// A program that reads every event of two providers, in order, and stops on an interrupt. What it handled is remembered
// under the name of the durable.
func Example() {
	url, stop := streamsWithEvents()
	defer stop()

	nc, err := nats.Connect(url, nats.Name("inventory"), nats.MaxReconnects(-1))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	s, err := subscribe.New(nc, subscribe.Options{
		Durable:   "inventory",
		Providers: []event.Provider{"prod", "stage"},
		Types:     []string{"compute.instance.*"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	err = s.Run(ctx, func(_ context.Context, e subscribe.Event) error {
		fmt.Println(e.Provider, e.EventType, e.MessageID, string(e.Payload))
		if e.EventType == "compute.instance.delete.end" {
			cancel() // a real program waits for the next one
		}
		return nil
	})
	fmt.Println("ended:", err)
	// Output:
	// prod compute.instance.create.end prod-1 {"n":1}
	// stage compute.instance.create.end stage-1 {"n":1}
	// prod compute.instance.delete.end prod-3 {"n":3}
	// ended: <nil>
}

// A program that keeps the position together with what it does with an event, so that each event takes effect exactly
// once, whatever dies in between.
func ExampleOptions_after() {
	url, stop := streamsWithEvents()
	defer stop()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()

	// In a database, one transaction writes both.
	var store struct {
		created  int
		position event.StreamSeq
	}
	died := errors.New("died")
	for range 4 { // lives of the program; each dies after one event
		s, err := subscribe.New(nc, subscribe.Options{Durable: "counter", After: store.position})
		if err != nil {
			fmt.Println(err)
			return
		}
		err = s.Run(context.Background(), func(_ context.Context, e subscribe.Event) error {
			if e.EventType == "compute.instance.create.end" {
				store.created++
			}
			store.position = e.Sequence
			return died
		})
		if !errors.Is(err, died) {
			fmt.Println(err)
		}
	}
	fmt.Println("created:", store.created)
	// Output: created: 2
}

// streamsWithEvents runs a server with four events.
func streamsWithEvents() (url string, stop func()) {
	dir, err := os.MkdirTemp("", "subscribe-example-")
	if err != nil {
		panic(err)
	}
	server, err := embedded.Open(jetstream.EmbeddedConfig{
		Dir: dir, Listen: "127.0.0.1:0", MaxFile: 4 << 30,
	}, zerolog.Nop())
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := jetstream.Connect(ctx, jetstream.Config{Embedded: server}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		panic(err)
	}
	if _, err := client.Provision(ctx, jetstream.DefaultLayout(1).Within(1<<30), jetstream.CreateMissing); err != nil {
		panic(err)
	}
	for _, e := range []struct {
		provider  event.Provider
		eventType string
		n         int
	}{
		{"prod", "compute.instance.create.end", 1}, {"stage", "compute.instance.create.end", 1},
		{"prod", "image.create", 2}, {"prod", "compute.instance.delete.end", 3},
	} {
		m := message(e.provider, e.eventType, e.n)
		m.Header.Set(event.HeaderSeq, fmt.Sprint(e.n))
		if _, err := client.Conn().RequestMsgWithContext(ctx, m); err != nil {
			panic(err)
		}
	}
	return server.ClientURL(), func() {
		_ = client.Close(context.Background())
		if err := server.Close(); err != nil {
			panic(err)
		}
		_ = os.RemoveAll(dir)
	}
}
