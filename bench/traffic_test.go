//go:build bench

package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/rabbitmqtest"
)

const (
	exchange = "nova"
	key      = "notifications.info"
	// confirms is how many notifications wait for the broker's confirm at a time.
	confirms = 1000
)

// bodies are notifications as services send them, each before and behind its message_id.
type bodies [][2]string

// recorded are the notifications of real services that the converter's tests have, of two to four kilobytes as most are.
func recorded(t testing.TB) bodies {
	t.Helper()
	files, err := filepath.Glob("../normalizer/oslo/testdata/recorded/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var all bodies
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			var r struct{ Body string }
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			before, rest, found := strings.Cut(r.Body, `\"message_id\": \"`)
			if !found || len(r.Body) < 2000 || len(r.Body) > 4096 || len(rest) < len(id(0)) {
				continue
			}
			all = append(all, [2]string{before + `\"message_id\": \"`, rest[len(id(0)):]})
		}
	}
	if len(all) < 50 {
		t.Fatalf("%d notifications", len(all))
	}
	return all
}

// small are notifications of a number of bytes, for streams that are to become long.
func small(size int) bodies {
	before := `{"oslo.version": "2.0", "oslo.message": "{\"message_id\": \"`
	behind := `\", \"event_type\": \"port.update.end\", \"priority\": \"INFO\", \"publisher_id\": \"network.host1\", ` +
		`\"timestamp\": \"2026-11-22 05:42:09.830894\", \"payload\": {\"text\": \"%s\"}}"}`
	fill := max(size-len(before)-len(id(0))-len(behind)+2, 0)
	return bodies{{before, fmt.Sprintf(behind, strings.Repeat("x", fill))}}
}

// body is the nth notification.
func (b bodies) body(n int) []byte {
	parts := b[n%len(b)]
	return []byte(parts[0] + id(n) + parts[1])
}

// mean is how large they are.
func (b bodies) mean() int {
	n := 0
	for i := range b {
		n += len(b.body(i))
	}
	return n / len(b)
}

// id is the message_id of the nth notification, and index finds n in it.
func id(n int) string { return fmt.Sprintf("be9c0000-0000-4000-8000-%012d", n) }

func index(id string) (n int, ok bool) {
	_, err := fmt.Sscanf(id, "be9c0000-0000-4000-8000-%012d", &n)
	return n, err == nil
}

// publisher notifies as a service does, but without waiting.
type publisher struct {
	ch   *amqp.Channel
	open []*amqp.DeferredConfirmation
}

func (w *world) publisher(t testing.TB, vhost string) (*publisher, *amqp.Connection) {
	t.Helper()
	conn, err := amqp.Dial(rabbitmqtest.URL(w.broker.Addr(), "guest", "guest", vhost))
	if err != nil {
		t.Fatal(err)
	}
	ch, err := conn.Channel()
	if err == nil {
		err = ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	}
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{ch: ch}, conn
}

// send publishes, and waits only when very many are not confirmed.
func (p *publisher) send(ctx context.Context, body []byte) error {
	c, err := p.ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, rabbitmqtest.JSON(body))
	if err != nil {
		return err
	}
	if p.open = append(p.open, c); len(p.open) < 2*confirms {
		return nil
	}
	return p.settle(ctx, confirms)
}

// settle waits for the confirms of the first n.
func (p *publisher) settle(ctx context.Context, n int) error {
	for _, c := range p.open[:n] {
		switch ok, err := c.WaitContext(ctx); {
		case err != nil:
			return fmt.Errorf("wait for the broker's confirm: %w", err)
		case !ok:
			return errors.New("the broker refuses a notification")
		}
	}
	p.open = append(p.open[:0], p.open[n:]...)
	return nil
}

// queue makes the queue of a ceiling, durable as that of the pipeline is.
func (w *world) queue(t testing.TB, vhost, name string) {
	t.Helper()
	p, conn := w.publisher(t, vhost)
	defer conn.Close()
	_, err := p.ch.QueueDeclare(name, true, false, false, false, nil)
	if err == nil {
		err = p.ch.QueueBind(name, key, exchange, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fill hands over events that nobody reads yet, or as fast as it goes to somebody who does.
func (w *world) fill(t testing.TB, vhost string, of bodies, events int) {
	t.Helper()
	p, conn := w.publisher(t, vhost)
	defer conn.Close()
	for range events {
		if err := p.send(t.Context(), of.body(w.next())); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.settle(t.Context(), len(p.open)); err != nil {
		t.Fatal(err)
	}
}

// next is the number of an event that was not there before: what has the number of another is a repeat, and taken for one.
func (w *world) next() int {
	w.handed++
	return w.handed
}
