//go:build chaos

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/chaos/checker"
	"stackstream/event"
	"stackstream/subscribe"
)

// subscriber is the host of a downstream program that uses package subscribe and keeps each event, with its position, in one
// write to a file: so it is to see each event once and in order, however often it is killed.
const subscriber = "subscriber"

// Who else subscribes: two who listen to what NATS sends them, one of them slowly, and one with a durable consumer who does not
// hurry.
const (
	plainly  = "plain subscriber"
	sleepily = "slow plain subscriber"
	slowly   = "slow durable"
)

// subscribeUntilKilled is that program. Its arguments are the servers and the file.
func subscribeUntilKilled(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := subscribeTo(ctx, args[0], args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// kept is a line of the file.
type kept struct {
	Subject  string              `json:"subject"`
	Sequence uint64              `json:"sequence"`
	Header   map[string][]string `json:"header"`
	Body     []byte              `json:"body"`
}

func subscribeTo(ctx context.Context, urls, file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	after, err := lastKept(f)
	if err != nil {
		return err
	}
	nc, err := dial(urls)
	if err != nil {
		return err
	}
	defer nc.Close()
	keep := func(k kept) error {
		line, err := json.Marshal(k)
		if err != nil {
			return err
		}
		_, err = f.Write(append(line, '\n'))
		return err
	}
	s, err := subscribe.New(nc, subscribe.Options{
		Durable: "chaos-subscriber", After: after,
		OnDead: func(_ context.Context, d subscribe.Dead) error {
			return keep(kept{event.DeadSubject(d.Provider), uint64(d.Sequence), d.Header, d.Body})
		},
		OnRetry: func(err error, wait time.Duration) {
			fmt.Fprintln(os.Stderr, time.Now().Format("15:04:05.000"), err, wait)
		},
	})
	if err != nil {
		return err
	}
	return s.Run(ctx, func(_ context.Context, e subscribe.Event) error {
		return keep(kept{event.NormalizedSubject(e.Provider), uint64(e.Sequence), e.Header, e.Body})
	})
}

// lastKept reads the position behind the last whole line, and cuts off what is behind it.
func lastKept(f *os.File) (event.StreamSeq, error) {
	size, err := f.Seek(0, 2)
	if err != nil || size == 0 {
		return 0, err
	}
	from := max(0, size-(32<<20)) // longer than any line
	text := make([]byte, size-from)
	if _, err := f.ReadAt(text, from); err != nil {
		return 0, err
	}
	end := bytes.LastIndexByte(text, '\n') + 1
	if err := f.Truncate(from + int64(end)); err != nil || end == 0 {
		return 0, err
	}
	begin := bytes.LastIndexByte(text[:end-1], '\n') + 1
	var k kept
	err = json.Unmarshal(text[begin:end], &k)
	return event.StreamSeq(k.Sequence), err
}

// subscribers are those that read what is normalized: the program, one who only listens, and a slow one with a durable
// consumer of its own.
type subscribers struct {
	program *tailer
	plain   *nats.Subscription
	sleepy  *nats.Subscription
	slow    *checker.Subscription
	all     map[string]*checker.Subscription
	group   sync.WaitGroup
	end     context.CancelFunc
}

func (w *world) subscribe(ctx context.Context) *subscribers {
	w.t.Helper()
	ctx, end := context.WithCancel(ctx)
	s := &subscribers{all: map[string]*checker.Subscription{}, end: end}
	add := func(who checker.Subscriber) *checker.Subscription {
		sub := w.check.Subscribe(who)
		s.all[who.Name] = sub
		return sub
	}

	// The program reaches the servers through the network, like the others.
	var urls []string
	for i := range nodes {
		urls = append(urls, "nats://"+w.link(subscriber, node(i), w.addr[node(i)]))
	}
	file := filepath.Join(w.dir, "subscriber.jsonl")
	p := w.newProcess(subscriber, os.Args[0], strings.Join(urls, ","), file)
	p.env = []string{roleVariable + "=" + subscriber}
	w.process[subscriber] = p
	w.start(subscriber)
	s.program = &tailer{name: file, saw: add(checker.Subscriber{Name: subscriber, Promise: checker.ExactlyOnce, Dead: true}).Saw}
	s.group.Go(func() { s.program.run(ctx) })

	plain := add(checker.Subscriber{Name: plainly, Promise: checker.Plain, Again: true})
	var err error
	s.plain, err = w.nc.Subscribe("events.normalized.*", func(m *nats.Msg) {
		plain.Saw(checker.Message{Subject: m.Subject, Header: m.Header, Body: m.Data})
	})
	if err != nil {
		w.t.Fatal(err)
	}

	// One who does not keep up: NATS drops what he does not take.
	sleepy := add(checker.Subscriber{Name: sleepily, Promise: checker.Plain, Again: true})
	s.sleepy, err = w.nc.Subscribe("events.normalized.*", func(m *nats.Msg) {
		sleepy.Saw(checker.Message{Subject: m.Subject, Header: m.Header, Body: m.Data})
		sleep(ctx, 5*time.Millisecond)
	})
	if err == nil {
		err = s.sleepy.SetPendingLimits(500, 1<<20)
	}
	if err != nil {
		w.t.Fatal(err)
	}

	of := w.opt.polled[0]
	s.slow = add(checker.Subscriber{Name: slowly, Promise: checker.AtLeastOnce, Providers: []string{of}})
	s.group.Go(func() { w.consumeSlowly(ctx, s.slow, of) })
	return s
}

// finish waits until they have had all that they are to have.
func (s *subscribers) finish(w *world) {
	for name, sub := range s.all {
		if name == plainly || name == sleepily {
			continue
		}
		w.await("all events with "+name, 5*time.Minute, func() bool { return sub.Missing() == 0 })
	}
	s.end()
	s.group.Wait()
	_ = s.plain.Unsubscribe()
	_ = s.sleepy.Unsubscribe()
	w.process[subscriber].kill()
}

// consumeSlowly is a durable consumer as anybody may make one, of one provider's events, who does not hurry. It acknowledges
// each message: to acknowledge the last of many would be to acknowledge also what got lost on the way to us.
func (w *world) consumeSlowly(ctx context.Context, s *checker.Subscription, provider string) {
	for sleep(ctx, time.Second) {
		err := func() error {
			brief, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			c, err := w.js.CreateOrUpdateConsumer(brief, "EVENTS_NORMALIZED", natsjs.ConsumerConfig{
				Durable: "chaos-slow", AckPolicy: natsjs.AckExplicitPolicy, AckWait: 10 * time.Second, MaxAckPending: 5000,
				FilterSubject: "events.normalized." + provider,
			})
			if err != nil {
				return err
			}
			for {
				batch, err := c.Fetch(100, natsjs.FetchMaxWait(2*time.Second))
				if err != nil {
					return err
				}
				for m := range batch.Messages() {
					meta, err := m.Metadata()
					if err != nil {
						return err
					}
					s.Saw(checker.Message{Subject: m.Subject(), Header: m.Headers(), Body: m.Data(), Sequence: meta.Sequence.Stream})
					_ = m.Ack() // one that is lost has it come again
				}
				if err := batch.Error(); err != nil {
					return err
				}
				// Slow, but not so that the run has to wait for it in the end.
				if s.Missing() < 20_000 && !sleep(ctx, 250*time.Millisecond) {
					return nil
				}
			}
		}()
		if err != nil && ctx.Err() == nil {
			sleep(ctx, time.Second)
		}
	}
}

// tailer hands over what the program has written.
type tailer struct {
	name string
	saw  func(checker.Message)
}

func (r *tailer) run(ctx context.Context) {
	var f *os.File
	for f == nil {
		var err error
		if f, err = os.Open(r.name); err != nil && !sleep(ctx, 100*time.Millisecond) {
			return
		}
	}
	defer f.Close()
	// A line may be cut off by the program when it starts again, and then another comes in its place: it is read anew from
	// where it began.
	at, buf := int64(0), make([]byte, 1<<20)
	for {
		n, _ := f.ReadAt(buf, at)
		end := bytes.LastIndexByte(buf[:n], '\n') + 1
		if end == 0 {
			if n == len(buf) {
				buf = make([]byte, 2*len(buf))
				continue
			}
			if !sleep(ctx, 50*time.Millisecond) {
				return
			}
			continue
		}
		for line := range bytes.Lines(buf[:end]) {
			var k kept
			if err := json.Unmarshal(line, &k); err != nil {
				k = kept{Subject: fmt.Sprintf("no line: %v", err)}
			}
			r.saw(checker.Message{Subject: k.Subject, Header: k.Header, Body: k.Body, Sequence: k.Sequence})
		}
		at += int64(end)
	}
}
