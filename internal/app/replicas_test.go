package app

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
)

// A server that is behind for long is named, one that is so for a moment is not.
func TestReplicasThatStayBehindAreNamed(t *testing.T) {
	var said []string
	r := replicas{since: map[string]time.Time{}, log: zerolog.Nop(), report: func(s event.Status) {
		reason, _, _ := strings.Cut(s.Reason, ":")
		said = append(said, strings.TrimSpace(string(s.State)+" "+reason))
	}}
	now := time.Now()
	behind := func(stream, server string) jetstream.Behind { return jetstream.Behind{Stream: stream, Server: server} }
	both := []jetstream.Behind{behind("EVENTS_RAW", "nats-2"), behind("EVENTS_NORMALIZED", "nats-2")}
	r.look(nil, nil, now)
	r.look(both, nil, now.Add(5*time.Second))
	r.look(nil, nil, now.Add(10*time.Second))
	r.look(both, nil, now.Add(15*time.Second))
	r.look(append(both, behind("EVENTS_RAW", "nats-3")), nil, now.Add(25*time.Second))
	r.look(append(both, behind("EVENTS_RAW", "nats-3")), nil, now.Add(36*time.Second))
	r.look(nil, nil, now.Add(40*time.Second))
	want := []string{"live", "live", "live", "live", "live",
		"degraded NATS server nats-2 does not keep up with EVENTS_RAW and EVENTS_NORMALIZED", "live"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

func TestAServerWhoseCopyDiffersIsTold(t *testing.T) {
	var last event.Status
	r := replicas{since: map[string]time.Time{}, log: zerolog.Nop(), report: func(s event.Status) { last = s }}
	differs := jetstream.Differing{Stream: "EVENTS_RAW", Subject: "events.cursor.raw.p.s", Sequences: [2]event.StreamSeq{20, 13}}
	r.look(nil, []jetstream.Differing{differs}, time.Now())
	if last.State != event.StateDegraded || !strings.HasPrefix(last.Reason, "a NATS server's copy of EVENTS_RAW differs from the others': one "+
		"and the same message on events.cursor.raw.p.s is at 20 and at 13; find the server") {
		t.Errorf("it says %+v", last)
	}
	r.look(nil, nil, time.Now())
	if last.State != event.StateLive {
		t.Errorf("it says %+v", last)
	}
}
