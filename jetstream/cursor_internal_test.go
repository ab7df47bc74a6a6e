package jetstream

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// laggingStream answers as a stream whose replicas have, one after the other, what is in answers; the last is repeated.
type laggingStream struct {
	natsjs.Stream
	last    uint64   // of the leader
	answers []uint64 // sequences on the subject, 0: no message
}

func (s *laggingStream) GetLastMsgForSubject(_ context.Context, subject string) (*natsjs.RawStreamMsg, error) {
	seq := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	if seq == 0 {
		return nil, natsjs.ErrMsgNotFound
	}
	return &natsjs.RawStreamMsg{Subject: subject, Sequence: seq}, nil
}

func (s *laggingStream) Info(context.Context, ...natsjs.StreamInfoOpt) (*natsjs.StreamInfo, error) {
	return &natsjs.StreamInfo{
		State:   natsjs.StreamState{LastSeq: s.last},
		Cluster: &natsjs.ClusterInfo{Leader: "a", Replicas: []*natsjs.PeerInfo{{Name: "b", Current: true}}},
	}, nil
}

func TestCursorsDoNotGoBack(t *testing.T) {
	const subject = "events.cursor.raw.p.s"
	for name, test := range map[string]struct {
		stream laggingStream
		known  event.StreamSeq
		want   event.StreamSeq
		waits  bool
	}{
		"a replica that lags is asked again":        {laggingStream{last: 30, answers: []uint64{10, 0, 20}}, 20, 20, true},
		"a newer one is taken":                      {laggingStream{last: 30, answers: []uint64{30}}, 20, 30, false},
		"a stream made again is believed, if short": {laggingStream{last: 5, answers: []uint64{5}}, 20, 5, true},
		"a stream made again is believed, if long":  {laggingStream{last: 50, answers: []uint64{5}}, 20, 5, true},
		"nothing known":                             {laggingStream{last: 30, answers: []uint64{10, 20}}, 0, 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &Client{}
				log := &Log{c: c, stream: event.StreamRaw, handle: &test.stream}
				c.known.wrote(cursorOn(subject, test.known))
				start := time.Now()
				m, _, err := log.ReadCursor(t.Context(), subject, 0)
				if err != nil || m.Sequence != test.want {
					t.Fatalf("the cursor is at %d (%v), want %d", m.Sequence, err, test.want)
				}
				if waited := time.Since(start) > 0; waited != test.waits {
					t.Errorf("it took %s", time.Since(start))
				}
				if at := c.known.at(subject); at != test.want {
					t.Errorf("%d is known now, want %d", at, test.want)
				}
			})
		})
	}
}

func TestALateReadDoesNotHideAWrite(t *testing.T) {
	var k knownCursors
	k.wrote(cursorOn("s", 10))
	k.wrote(cursorOn("s", 20))
	k.read("s", 10, cursorOn("s", 10))
	if at := k.at("s"); at != 20 {
		t.Errorf("%d is known, want 20", at)
	}
}

func cursorOn(subject string, at event.StreamSeq) event.Stored {
	return event.Stored{Message: event.Message{Subject: subject}, Sequence: at}
}
