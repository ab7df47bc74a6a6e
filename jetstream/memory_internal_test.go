package jetstream

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// follower is a stream with three replicas. Whoever is asked for messages lags behind the leader, and learns of its events
// only after a while.
type follower struct {
	events  int           // of the leader, all of one source
	behind  time.Duration // until when the follower has none of them
	noise   bool          // others write all the time, so that it is seldom current
	unknown int           // so many requests find nobody who answers
	empty   int           // so many requests bring nothing, though there is something
	loses   int           // so many messages of the next request are lost on their way
	born    time.Time
	read    int
	samples int
}

func (f *follower) has() int {
	if time.Since(f.born) < f.behind {
		return 0
	}
	return f.events
}

type followerServer struct {
	natsjs.JetStream
	f *follower
}

func (s followerServer) Stream(context.Context, string) (natsjs.Stream, error) {
	return followerStream{follower: s.f}, nil
}

type followerStream struct {
	natsjs.Stream
	*follower
}

func (f followerStream) CachedInfo() *natsjs.StreamInfo {
	return &natsjs.StreamInfo{Config: natsjs.StreamConfig{Replicas: 3}}
}

func (f followerStream) Info(context.Context, ...natsjs.StreamInfoOpt) (*natsjs.StreamInfo, error) {
	f.samples++
	caught := f.has() == f.events && (!f.noise || f.samples%3 == 0)
	return &natsjs.StreamInfo{
		State:   natsjs.StreamState{LastSeq: uint64(f.events + 1), Subjects: map[string]uint64{"events.cursor.raw.p.s": 1}},
		Cluster: &natsjs.ClusterInfo{Leader: "a", Replicas: []*natsjs.PeerInfo{{Name: "b", Current: caught}, {Name: "c", Current: true}}},
	}, nil
}

func (f followerStream) GetLastMsgForSubject(_ context.Context, subject string) (*natsjs.RawStreamMsg, error) {
	if f.has() == 0 {
		return nil, natsjs.ErrMsgNotFound
	}
	return &natsjs.RawStreamMsg{Subject: subject, Sequence: uint64(f.events + 1), Data: fmt.Appendf(nil, `{"position":%d}`, f.events)}, nil
}

func (f followerStream) CreateConsumer(context.Context, natsjs.ConsumerConfig) (natsjs.Consumer, error) {
	return followerConsumer{follower: f.follower}, nil
}

type followerConsumer struct {
	natsjs.Consumer
	*follower
}

func (f followerConsumer) CachedInfo() *natsjs.ConsumerInfo {
	return &natsjs.ConsumerInfo{
		NumPending: uint64(f.has() - f.read), Delivered: natsjs.SequenceInfo{Consumer: uint64(f.read)},
		Cluster: &natsjs.ClusterInfo{Leader: "b"},
	}
}

func (f followerConsumer) Info(context.Context) (*natsjs.ConsumerInfo, error) {
	return f.CachedInfo(), nil
}

func (f followerConsumer) Fetch(n int, _ ...natsjs.FetchOpt) (natsjs.MessageBatch, error) {
	if f.unknown > 0 {
		f.unknown--
		return followerBatch{err: nats.ErrNoResponders}, nil
	}
	if f.empty > 0 {
		f.empty--
		return followerBatch{}, nil
	}
	var batch followerBatch
	if f.loses > 0 {
		f.read += f.loses
		n, f.loses = n-f.loses, 0
		batch.err = context.DeadlineExceeded
	}
	for range n {
		f.read++
		batch.messages = append(batch.messages, followerMsg{n: f.read, pending: f.has() - f.read})
	}
	return batch, nil
}

type followerBatch struct {
	natsjs.MessageBatch
	messages []natsjs.Msg
	err      error
}

func (b followerBatch) Messages() <-chan natsjs.Msg {
	all := make(chan natsjs.Msg, len(b.messages))
	for _, m := range b.messages {
		all <- m
	}
	close(all)
	return all
}

func (b followerBatch) Error() error { return b.err }

type followerMsg struct {
	natsjs.Msg
	n, pending int
}

func (m followerMsg) Subject() string { return "events.raw.p.s" }
func (m followerMsg) Data() []byte    { return nil }

func (m followerMsg) Headers() nats.Header {
	e := event.Raw{ID: event.ID(fmt.Sprintf("e%d", m.n)), Received: time.Unix(0, 0)}
	return nats.Header(e.Message("p", "s", event.Seq(m.n), event.BodyRef{}).Header)
}

func (m followerMsg) Metadata() (*natsjs.MsgMetadata, error) {
	return &natsjs.MsgMetadata{
		Sequence: natsjs.SequencePair{Consumer: uint64(m.n), Stream: uint64(m.n)}, NumPending: uint64(m.pending),
	}, nil
}

// The cursor of another source comes from a replica that lags just as the events do: both together look complete.
func TestIdentitiesWaitForAReplicaThatLags(t *testing.T) {
	for name, f := range map[string]*follower{
		"that has nothing yet":                 {events: 3, behind: time.Second},
		"that has it all":                      {events: 3},
		"that has it all while others write":   {events: 3, noise: true},
		"that lags far while others write":     {events: 3, behind: time.Minute, noise: true},
		"of a stream that has nothing, either": {behind: time.Second},
		"that nobody knows yet":                {events: 3, unknown: 5},
		"that brings nothing at first":         {events: 3, empty: 2},
		"that brings nothing when it has it":   {events: 3, behind: time.Second, empty: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.born = time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				c := &Client{js: followerServer{f: f}}
				m := &Memory{raw: &Log{c: c, stream: event.StreamRaw, handle: followerStream{follower: f}}}
				var ids []event.ID
				if err := m.Identities(ctx, "p", 0, func(s event.Seen) { ids = append(ids, s.ID) }); err != nil {
					t.Fatal(err)
				}
				if want := []event.ID{"e1", "e2", "e3"}[:f.events]; !slices.Equal(ids, want) {
					t.Errorf("identities are %v, want %v", ids, want)
				}
				if took := time.Since(f.born); took > f.behind+time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// What was sent and did not come is not taken for read.
func TestIdentitiesThatDoNotComeAreMissed(t *testing.T) {
	for name, f := range map[string]*follower{
		"the last ones are lost": {events: 5, loses: 2},
		"all are lost":           {events: 5, loses: 5},
		"none ever comes":        {events: 5, empty: 99},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.born = time.Now()
				c := &Client{js: followerServer{f: f}}
				m := &Memory{raw: &Log{c: c, stream: event.StreamRaw, handle: followerStream{follower: f}}}
				seen := 0
				if err := m.Identities(t.Context(), "p", 0, func(event.Seen) { seen++ }); event.KindOf(err) != event.Unavailable {
					t.Errorf("%d of 5 identities came, and the error is %v", seen, err)
				}
			})
		})
	}
}
