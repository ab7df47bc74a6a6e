package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"
)

// answerTimeout is how long an answer of a server is waited for.
const answerTimeout = 30 * time.Second

func connect(o options) (*nats.Conn, natsjs.JetStream, error) {
	nc, err := nats.Connect(o.nats)
	if err != nil {
		return nil, nil, err
	}
	js, err := natsjs.New(nc, natsjs.WithPublishAsyncMaxPending(o.window))
	return nc, js, err
}

// publish writes atomic batches of events, some at a time.
func publish(ctx context.Context, o options, c *counter) error {
	text, err := os.ReadFile(o.bodies)
	if err != nil {
		return err
	}
	bodies := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	nc, _, err := connect(o)
	if err != nil {
		return err
	}
	defer nc.Close()
	var counting sync.Mutex
	batches := make(chan int)
	group, ctx := errgroup.WithContext(ctx)
	for range o.open {
		group.Go(func() error {
			for first := range batches {
				n := min(o.batch, o.events-first)
				if err := publishBatch(ctx, nc, o.subject, bodies, first, n); err != nil {
					return err
				}
				counting.Lock()
				c.add(n)
				counting.Unlock()
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(batches)
		for first := 0; first < o.events; first += o.batch {
			select {
			case batches <- first:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return group.Wait()
}

// publishBatch writes one atomic batch. Its first message is answered by a server that is ready for it, its last one by the
// server that has stored it.
func publishBatch(ctx context.Context, nc *nats.Conn, subject string, bodies [][]byte, first, n int) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	id := nuid.Next()
	for i := range n {
		m := &nats.Msg{Subject: subject, Data: bodies[(first+i)%len(bodies)], Header: nats.Header{
			"Nats-Batch-Id": {id}, "Nats-Batch-Sequence": {strconv.Itoa(i + 1)},
		}}
		if i == n-1 {
			m.Header["Nats-Batch-Commit"] = []string{"1"}
		}
		if 0 < i && i < n-1 {
			if err := nc.PublishMsg(m); err != nil {
				return err
			}
			continue
		}
		answer, err := nc.RequestMsgWithContext(ctx, m)
		if err != nil {
			return err
		}
		if err := refused(answer.Data, i == n-1); err != nil {
			return err
		}
	}
	return nil
}

// refused is what an answer says against a batch. That of the first message is empty.
func refused(answer []byte, last bool) error {
	if len(answer) == 0 && !last {
		return nil
	}
	var ack struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
		Sequence uint64 `json:"seq"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return fmt.Errorf("the server answers %q", answer)
	}
	if ack.Error != nil {
		return errors.New(ack.Error.Description)
	}
	return nil
}

// messages are read through a durable consumer that acknowledges all up to a message.
func messages(ctx context.Context, js natsjs.JetStream, o options) (natsjs.MessagesContext, error) {
	consumer, err := js.CreateOrUpdateConsumer(ctx, o.stream, natsjs.ConsumerConfig{
		Durable: o.consumer, AckPolicy: natsjs.AckAllPolicy, MaxAckPending: 10_000,
	})
	if err != nil {
		return nil, err
	}
	// In a cluster a request may be lost that is sent before all servers know of the consumer: the heartbeat tells.
	return consumer.Messages(natsjs.PullMaxMessages(o.window), natsjs.PullHeartbeat(time.Second))
}

// consume reads and acknowledges, several at once.
func consume(ctx context.Context, o options, c *counter) error {
	nc, js, err := connect(o)
	if err != nil {
		return err
	}
	defer nc.Close()
	all, err := messages(ctx, js, o)
	if err != nil {
		return err
	}
	defer all.Stop()
	unacknowledged := 0
	for more := true; more; {
		m, err := all.Next()
		if err != nil {
			return err
		}
		unacknowledged++
		if unacknowledged < o.batch && c.n+unacknowledged < o.events {
			continue
		}
		if err := m.Ack(); err != nil {
			return err
		}
		more = c.add(unacknowledged)
		unacknowledged = 0
	}
	return nil
}
