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

// trio is a stream with three replicas, a, b and c, of which each knows as much of its events as it knows. Consumers come to be
// on them in turn.
type trio struct {
	events   int // that were committed
	leads    func(since time.Duration) string
	has      func(server string, since time.Duration) int
	late     time.Duration // so much later a consumer is told of what its server stores
	unknown  int           // so many requests find nobody who answers
	empty    int           // so many requests bring nothing, though there is something
	loses    int           // so many messages of the next request are lost on their way
	born     time.Time
	consumed int
}

func (f *trio) shown(server string) int {
	if f.has == nil {
		return f.events
	}
	return f.has(server, time.Since(f.born))
}

type trioServer struct {
	natsjs.JetStream
	f *trio
}

func (s trioServer) Stream(context.Context, string) (natsjs.Stream, error) {
	return trioStream{trio: s.f}, nil
}

type trioStream struct {
	natsjs.Stream
	*trio
}

func (f trioStream) CachedInfo() *natsjs.StreamInfo {
	return &natsjs.StreamInfo{Config: natsjs.StreamConfig{Replicas: 3}}
}

func (f trioStream) Info(context.Context, ...natsjs.StreamInfoOpt) (*natsjs.StreamInfo, error) {
	leader := "a"
	if f.leads != nil {
		leader = f.leads(time.Since(f.born))
	}
	last := f.shown(leader)
	if last == f.events {
		last++ // the cursor
	}
	return &natsjs.StreamInfo{
		State:   natsjs.StreamState{LastSeq: uint64(last), Subjects: map[string]uint64{"events.cursor.raw.p.s": 1}},
		Cluster: &natsjs.ClusterInfo{Leader: leader, Replicas: []*natsjs.PeerInfo{{Name: "x", Current: true}, {Name: "y", Current: true}}},
	}, nil
}

func (f trioStream) GetLastMsgForSubject(_ context.Context, subject string) (*natsjs.RawStreamMsg, error) {
	return nil, natsjs.ErrMsgNotFound // of a replica that has nothing
}

func (f trioStream) CreateConsumer(_ context.Context, c natsjs.ConsumerConfig) (natsjs.Consumer, error) {
	f.consumed++
	server := string("bca"[f.consumed%3])
	start := int(c.OptStartSeq) - 1
	return &trioConsumer{trio: f.trio, server: server, read: start, start: start, told: f.shown(server)}, nil
}

type trioConsumer struct {
	natsjs.Consumer
	*trio
	server      string
	read, start int
	told        int // what its server had when it was made
}

func (f *trioConsumer) knows() int {
	if f.has == nil || f.late == 0 {
		return f.shown(f.server)
	}
	return max(f.told, f.has(f.server, time.Since(f.born)-f.late))
}

func (f *trioConsumer) CachedInfo() *natsjs.ConsumerInfo {
	return &natsjs.ConsumerInfo{
		NumPending: uint64(max(f.knows()-f.read, 0)), Delivered: natsjs.SequenceInfo{Consumer: uint64(f.read - f.start)},
		Cluster: &natsjs.ClusterInfo{Leader: f.server},
	}
}

func (f *trioConsumer) Info(context.Context) (*natsjs.ConsumerInfo, error) {
	return f.CachedInfo(), nil
}

func (f *trioConsumer) Fetch(n int, _ ...natsjs.FetchOpt) (natsjs.MessageBatch, error) {
	if f.unknown > 0 {
		f.unknown--
		return trioBatch{err: nats.ErrNoResponders}, nil
	}
	if f.empty > 0 {
		f.empty--
		return trioBatch{}, nil
	}
	var batch trioBatch
	if f.loses > 0 {
		f.read += f.loses
		n, f.loses = n-f.loses, 0
		batch.err = context.DeadlineExceeded
	}
	for range n {
		f.read++
		batch.messages = append(batch.messages, trioMsg{n: f.read, delivery: f.read - f.start, pending: f.knows() - f.read})
	}
	return batch, nil
}

type trioBatch struct {
	natsjs.MessageBatch
	messages []natsjs.Msg
	err      error
}

func (b trioBatch) Messages() <-chan natsjs.Msg {
	all := make(chan natsjs.Msg, len(b.messages))
	for _, m := range b.messages {
		all <- m
	}
	close(all)
	return all
}

func (b trioBatch) Error() error { return b.err }

type trioMsg struct {
	natsjs.Msg
	n, delivery, pending int
}

func (m trioMsg) Subject() string { return "events.raw.p.s" }
func (m trioMsg) Data() []byte    { return nil }

func (m trioMsg) Headers() nats.Header {
	e := event.Raw{ID: event.ID(fmt.Sprintf("e%d", m.n)), Received: time.Unix(0, 0)}
	return nats.Header(e.Message("p", "s", event.Seq(m.n), event.BodyRef{}).Header)
}

func (m trioMsg) Metadata() (*natsjs.MsgMetadata, error) {
	return &natsjs.MsgMetadata{
		Sequence: natsjs.SequencePair{Consumer: uint64(m.delivery), Stream: uint64(m.n)}, NumPending: uint64(m.pending),
	}, nil
}

func (f *trio) identities(t *testing.T, from, upTo event.StreamSeq) (ids []event.ID, err error) {
	f.born = time.Now()
	c := &Client{js: trioServer{f: f}}
	m := &Memory{raw: &Log{c: c, stream: event.StreamRaw, handle: trioStream{trio: f}}}
	err = m.Identities(t.Context(), "p", from, upTo, func(s event.Seen) { ids = append(ids, s.ID) })
	return ids, err
}

// Whoever lags, and whoever leads: what is known to be there is read, once and in order.
func TestIdentitiesAreThoseOfTheLeader(t *testing.T) {
	only := func(server string) func(string, time.Duration) int {
		return func(s string, _ time.Duration) int {
			if s == server {
				return 5
			}
			return 2
		}
	}
	for name, f := range map[string]*trio{
		"all have everything":      {},
		"only the leader has it":   {has: only("a")},
		"another one leads":        {has: only("c"), leads: func(time.Duration) string { return "c" }},
		"nobody leads for a while": {leads: func(d time.Duration) string { return map[bool]string{true: "", false: "b"}[d < time.Second] }},
		"the leader does not show it yet": {has: func(_ string, d time.Duration) int {
			return map[bool]int{true: 3, false: 5}[d < 3*time.Second]
		}},
		"the consumer is told a moment later than the stream shows it": {
			has:  func(_ string, d time.Duration) int { return map[bool]int{true: 3, false: 5}[d < 3*time.Second] },
			late: 100 * time.Millisecond,
		},
		"the leader changes while it does not": {
			leads: func(d time.Duration) string { return map[bool]string{true: "a", false: "c"}[d < time.Second] },
			has: func(s string, d time.Duration) int {
				return map[bool]int{true: 5, false: 3}[s == "c" && d > 2*time.Second]
			},
		},
		"nobody knows who reads":     {unknown: 5},
		"nothing comes at first":     {empty: 2},
		"it lags, and nothing comes": {empty: 2, has: only("a")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.events = 5
				ids, err := f.identities(t, 0, 6)
				if want := []event.ID{"e1", "e2", "e3", "e4", "e5"}; err != nil || !slices.Equal(ids, want) {
					t.Errorf("identities are %v (%v), want %v", ids, err, want)
				}
				if took := time.Since(f.born); took > 5*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// What was sent and did not come is not taken for read, nor what a server never shows.
func TestIdentitiesThatDoNotComeAreMissed(t *testing.T) {
	for name, f := range map[string]*trio{
		"the last ones are lost": {loses: 2},
		"all are lost":           {loses: 5},
		"none ever comes":        {empty: 99},
		"it is never shown":      {has: func(string, time.Duration) int { return 3 }},
		"nobody ever leads":      {leads: func(time.Duration) string { return "" }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.events = 5
				if ids, err := f.identities(t, 0, 6); event.KindOf(err) != event.Unavailable {
					t.Errorf("%v of 5 identities came, and the error is %v", ids, err)
				}
			})
		})
	}
}
