package checker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stackstream/chaos/checker"
	"stackstream/jetstream/jetstreamtest"
)

// limit is how long anything here may take.
const limit = 2 * time.Minute

func dial(t testing.TB, urls ...string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

const stream = "TEST"

// makeStream makes a stream with messages on two subjects.
func makeStream(t testing.TB, js jetstream.JetStream, replicas, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: stream, Subjects: []string{"test.*"}, Replicas: replicas, AllowDirect: true,
	}); err != nil {
		t.Fatal(err)
	}
	publish(t, js, 0, n)
}

// publish publishes messages whose bodies count from from on.
func publish(t testing.TB, js jetstream.JetStream, from, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for i := from; i < from+n; i++ {
		if i%500 == 499 || i == from+n-1 {
			if _, err := js.Publish(ctx, subjectOf(i), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		} else if _, err := js.PublishAsync(subjectOf(i), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		t.Fatal("the messages are not confirmed")
	}
}

func subjectOf(i int) string { return fmt.Sprintf("test.%d", i%2) }

// counting checks that messages come one after the other.
type counting struct {
	t    testing.TB
	next atomic.Int64
}

func (c *counting) take(m checker.Message) {
	want := c.next.Load()
	if string(m.Body) != fmt.Sprint(want) || m.Sequence != uint64(want+1) || m.Subject != subjectOf(int(want)) {
		c.t.Errorf("message %d (%s, %s) comes where %d has to", m.Sequence, m.Subject, m.Body, want)
	}
	c.next.Add(1)
}

func (c *counting) await(n int) {
	c.t.Helper()
	jetstreamtest.Eventually(c.t, fmt.Sprintf("for %d messages", n), func() bool { return c.next.Load() >= int64(n) })
}

// follow follows until the returned function is called.
func follow(t *testing.T, r *checker.Reader, take func(checker.Message)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Follow(ctx, take) }()
	stop = func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			done <- nil
		case <-time.After(limit):
			t.Fatal("it does not stop")
		}
	}
	t.Cleanup(stop)
	return stop
}

func toEnd(t testing.TB, r *checker.Reader, take func(checker.Message)) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return r.ToEnd(ctx, take)
}

func TestReaderGoesOnOverARestartOfTheServer(t *testing.T) {
	server := jetstreamtest.Server(t, jetstreamtest.Bare())
	js := dial(t, server.URL())
	makeStream(t, js, 1, 5000)
	r := &checker.Reader{JS: js, Stream: stream}
	c := &counting{t: t}
	stop := follow(t, r, func(m checker.Message) {
		if m.Sequence == 2500 {
			server.Restart(t) // in the midst of what is read
		}
		c.take(m)
	})
	c.await(5000)
	server.Restart(t)
	publish(t, js, 5000, 1000)
	c.await(6000)
	stop()
	publish(t, js, 6000, 1000)
	if err := toEnd(t, r, c.take); err != nil {
		t.Fatal(err)
	}
	if n := c.next.Load(); n != 7000 || r.Position() != 7000 {
		t.Fatalf("read %d messages, up to %d", n, r.Position())
	}
	if err := toEnd(t, r, c.take); err != nil || c.next.Load() != 7000 {
		t.Fatalf("at the end: %v, %d", err, c.next.Load())
	}
}

func TestReaderGoesOnWithoutItsConsumer(t *testing.T) {
	server := jetstreamtest.Server(t, jetstreamtest.Bare())
	js := dial(t, server.URL())
	makeStream(t, js, 1, 1000)
	r := &checker.Reader{JS: js, Stream: stream}
	c := &counting{t: t}
	follow(t, r, c.take)
	c.await(1000)
	for round := range 3 {
		removeConsumers(t, js)
		publish(t, js, 1000*(round+1), 1000)
		c.await(1000 * (round + 2))
	}
}

func removeConsumers(t testing.TB, js jetstream.JetStream) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	names := s.ConsumerNames(t.Context())
	for name := range names.Name() {
		if err := s.DeleteConsumer(t.Context(), name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			t.Fatal(err)
		}
	}
}

func TestReaderGoesOnInAClusterOfWhichAServerDies(t *testing.T) {
	cluster := jetstreamtest.Cluster(t, jetstreamtest.Bare())
	js := dial(t, cluster.URLs()...)
	makeStream(t, js, 3, 2000)
	r := &checker.Reader{JS: js, Stream: stream}
	c := &counting{t: t}
	follow(t, r, c.take)
	c.await(2000)
	n := 2000
	for i := range 3 {
		cluster.Kill(i)
		for range 50 {
			publishSurely(t, js, n)
			n++
		}
		c.await(n)
		cluster.Restart(i)
		awaitReplicas(t, js)
	}
}

// awaitReplicas waits until each server has the whole stream: with two that lack something of it nobody has it all.
func awaitReplicas(t testing.TB, js jetstream.JetStream) {
	t.Helper()
	jetstreamtest.Eventually(t, "for replicas that are current", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return false
		}
		cluster := s.CachedInfo().Cluster
		return len(cluster.Replicas) == 2 && !slices.ContainsFunc(cluster.Replicas, func(r *jetstream.PeerInfo) bool {
			return r.Offline || !r.Current || r.Lag > 0
		})
	})
}

// publishSurely publishes one message once, although servers die.
func publishSurely(t testing.TB, js jetstream.JetStream, i int) {
	t.Helper()
	jetstreamtest.Eventually(t, "for a message to be confirmed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := js.Publish(ctx, subjectOf(i), fmt.Append(nil, i), jetstream.WithMsgID(fmt.Sprint(i)))
		return err == nil
	})
}

func TestReaderReadsSomeSubjects(t *testing.T) {
	js := dial(t, jetstreamtest.Server(t, jetstreamtest.Bare()).URL())
	makeStream(t, js, 1, 1000)
	for subject, want := range map[string]int{"test.0": 500, "test.1": 500, "test.2": 0} {
		n := 0
		r := &checker.Reader{JS: js, Stream: stream, Subjects: []string{subject}}
		if err := toEnd(t, r, func(checker.Message) { n++ }); err != nil || n != want {
			t.Errorf("read %d messages on %s: %v", n, subject, err)
		}
	}
}

func TestReaderSaysWhereItIsStuck(t *testing.T) {
	server := jetstreamtest.Server(t, jetstreamtest.Bare())
	js := dial(t, server.URL())
	makeStream(t, js, 1, 100)
	r := &checker.Reader{JS: js, Stream: stream, Stall: 3 * time.Second}
	if err := toEnd(t, r, func(checker.Message) {}); err != nil {
		t.Fatal(err)
	}
	publish(t, js, 100, 1)
	server.Shutdown()
	for name, read := range map[string]func(context.Context, func(checker.Message)) error{"Follow": r.Follow, "ToEnd": r.ToEnd} {
		err := read(t.Context(), func(checker.Message) {})
		var stall *checker.StallError
		if !errors.As(err, &stall) || stall.Position != 100 || stall.Stream != stream || stall.Err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReaderNoticesThatTheStreamIsAnother(t *testing.T) {
	js := dial(t, jetstreamtest.Server(t, jetstreamtest.Bare()).URL())
	makeStream(t, js, 1, 100)
	r := &checker.Reader{JS: js, Stream: stream, Stall: 2 * time.Second}
	if err := toEnd(t, r, func(checker.Message) {}); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	makeStream(t, js, 1, 200)
	var stall *checker.StallError
	if err := toEnd(t, r, func(checker.Message) {}); !errors.As(err, &stall) || !strings.Contains(err.Error(), "made anew") {
		t.Errorf("it says %v", err)
	}
}

// A reader that is not waited for would need memory for all that the stream has.
func TestReaderWaitsForWhoTakes(t *testing.T) {
	js := dial(t, jetstreamtest.Server(t, jetstreamtest.Bare()).URL())
	makeStream(t, js, 1, 10_000)
	r := &checker.Reader{JS: js, Stream: stream}
	c := &counting{t: t}
	release := make(chan struct{})
	follow(t, r, func(m checker.Message) {
		if m.Sequence == 100 {
			<-release
		}
		c.take(m)
	})
	c.await(99)
	jetstreamtest.Eventually(t, "for all to be on their way that fits", func() bool { return delivered(t, js) > 99 })
	if n := delivered(t, js); n > 5000 {
		t.Errorf("%d messages are on their way", n)
	}
	close(release)
	c.await(10_000)
}

// delivered is how much was sent to the only reader.
func delivered(t testing.TB, js jetstream.JetStream) uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	most := uint64(0)
	for info := range s.ListConsumers(t.Context()).Info() {
		most = max(most, info.Delivered.Stream)
	}
	return most
}
