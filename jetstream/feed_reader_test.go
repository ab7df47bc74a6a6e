package jetstream_test

import (
	"context"
	"fmt"
	"testing"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// nextError reads until the reader ends.
func nextError(t *testing.T, r *jetstream.Reader) error {
	t.Helper()
	for {
		if _, err := r.Next(testContext(t), 100, 1<<20); err != nil {
			return err
		}
	}
}

func TestReaderEndsWhenAnotherTakesOver(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	cursor := mustAppend(t, client.Raw(), rawBatch("panko", 1, 10, 0))
	first := open(t, client, event.NormalizedCursor{})
	read(t, first, "panko", 1, 5+5)
	second := open(t, server.Client(t), normalized(first, 5, "panko", 5))
	// Some of what follows may still be sent to the first reader; then both find out and the second opens again.
	mustAppend(t, client.Raw(), rawBatch("panko", 11, 50, cursor))
	done := make(chan error, 1)
	go func() {
		for {
			if _, err := first.Next(context.Background(), 100, 1<<20); err != nil {
				done <- err
				return
			}
		}
	}()
	wantKind(t, <-done, event.Unavailable, "not in sequence")
	first.Close()
	got := 5
	for got < 60 {
		batch, err := second.Next(testContext(t), 100, 1<<20)
		if err != nil {
			wantKind(t, err, event.Unavailable, "not in sequence")
			second.Close()
			second = open(t, client, normalized(first, event.StreamSeq(seqOf(got)), "panko", event.Seq(got)))
			continue
		}
		for _, m := range batch {
			got++
			if want := fmt.Sprintf("panko-%d", got); m.Header.Get(event.HeaderID) != want {
				t.Fatalf("got %s, want %s", m.Header.Get(event.HeaderID), want)
			}
		}
	}
}

// seqOf is the stream sequence of an event of TestReaderEndsWhenAnotherTakesOver: a cursor stands behind the tenth.
func seqOf(n int) int {
	if n > 10 {
		return n + 1
	}
	return n
}

func TestReaderEndsWhenItsConsumerIsDeleted(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	cursor := mustAppend(t, client.Raw(), rawBatch("panko", 1, 10, 0))
	r := open(t, client, event.NormalizedCursor{})
	read(t, r, "panko", 1, 10)
	if err := jetStream(t, client).DeleteConsumer(testContext(t), event.StreamRaw, jetstream.ConsumerName(prov)); err != nil {
		t.Fatal(err)
	}
	wantKind(t, nextError(t, r), event.Unavailable, "consumer deleted")
	mustAppend(t, client.Raw(), rawBatch("panko", 11, 2, cursor))
	read(t, open(t, client, normalized(r, 10, "panko", 10)), "panko", 11, 2)
}

func TestReaderEndsWhenTheConnectionBreaks(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	mustAppend(t, client.Raw(), rawBatch("panko", 1, 10, 0))
	r := open(t, client, event.NormalizedCursor{})
	read(t, r, "panko", 1, 10)
	server.Restart(t)
	wantKind(t, nextError(t, r), event.Unavailable, "")
	until(t, "for the connection", func() bool { return client.Conn().IsConnected() })
	// The consumer was in memory and is gone; it is made again.
	read(t, open(t, client, normalized(r, 4, "panko", 4)), "panko", 5, 6)
}

func TestReaderEndsWhenClosed(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	r := open(t, client, event.NormalizedCursor{})
	ended := make(chan error, 1)
	go func() {
		_, err := r.Next(context.Background(), 1, 1)
		ended <- err
	}()
	r.Close()
	wantKind(t, <-ended, event.Unavailable, "closed")
	r.Close()
	if err := r.Ack(testContext(t), 1); err != nil {
		t.Fatal(err)
	}
}

// An event that is gone in the middle, while older ones are still there, does not show in the numbers.
func TestReaderEndsAtAGap(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	mustAppend(t, client.Raw(), rawBatch("panko", 1, 10, 0))
	r := open(t, client, event.NormalizedCursor{})
	r.Close()
	s, err := jetStream(t, client).Stream(testContext(t), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(testContext(t), 8); err != nil {
		t.Fatal(err)
	}
	r = open(t, client, normalized(r, 5, "panko", 5))
	read(t, r, "panko", 6, 2)
	_, err = r.Next(testContext(t), 1, 1)
	wantKind(t, err, event.Expired, "events 8 to 8 of source panko")
}
