package jetstream

import (
	"context"
	"encoding/json"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// newLeader is a stream whose leader has just been elected and shows less than its replicas.
type newLeader struct{ natsjs.Stream }

type newLeaders struct{ natsjs.JetStream }

func (newLeaders) Stream(context.Context, string) (natsjs.Stream, error) { return newLeader{}, nil }

func (newLeader) Info(context.Context, ...natsjs.StreamInfoOpt) (*natsjs.StreamInfo, error) {
	return &natsjs.StreamInfo{State: natsjs.StreamState{LastSeq: 8, Subjects: map[string]uint64{"events.raw.p.s": 7}}}, nil
}

func (newLeader) CachedInfo() *natsjs.StreamInfo { return &natsjs.StreamInfo{} }

func (newLeader) GetLastMsgForSubject(context.Context, string) (*natsjs.RawStreamMsg, error) {
	body, err := json.Marshal(event.RawCursor{Position: 10})
	return &natsjs.RawStreamMsg{Subject: "events.cursor.raw.p.s", Sequence: 12, Data: body}, err
}

// What a leader does not show yet has not expired: that would stop the provider at once.
func TestAFeedOfALeaderThatShowsLess(t *testing.T) {
	c := &Client{js: newLeaders{}}
	_, err := c.Feed().Open(t.Context(), "p", event.NormalizedCursor{
		RawSeq: 2, Sources: map[event.Source]event.SourcePosition{"s": {Position: 2}},
	})
	if event.KindOf(err) != event.Regressed {
		t.Errorf("the error is %v", err)
	}
}
