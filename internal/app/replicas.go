package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/jetstream"
)

const (
	// replicasEvery is how often the replicas of the streams are looked at.
	replicasEvery = 5 * time.Second
	// replicaPatience is how long a server may be behind before somebody should look at it: one that was restarted, or
	// is slow for a moment, catches up by itself.
	replicaPatience = 20 * time.Second
)

// replicas remembers which servers are behind, and since when. A cluster goes on without one of its servers, so that
// nothing else tells that the streams have fewer copies than they should.
type replicas struct {
	since map[string]time.Time
	said  string
	log   zerolog.Logger
	// report is told after every look.
	report func(event.Status)
}

// watch looks at the replicas until ctx ends. What can't be asked now is asked the next time.
func (r *replicas) watch(
	ctx context.Context, behind func(context.Context) ([]jetstream.Behind, error), differing func() []jetstream.Differing,
) error {
	tick := time.NewTicker(replicasEvery)
	defer tick.Stop()
	for {
		if found, err := behind(ctx); err == nil {
			r.look(found, differing(), time.Now())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *replicas) look(found []jetstream.Behind, differing []jetstream.Differing, now time.Time) {
	streams := map[string][]string{}
	for _, b := range found {
		streams[b.Server] = append(streams[b.Server], b.Stream)
	}
	maps.DeleteFunc(r.since, func(server string, _ time.Time) bool { return streams[server] == nil })
	var late []string
	for _, server := range slices.Sorted(maps.Keys(streams)) {
		if r.since[server].IsZero() {
			r.since[server] = now
		}
		if now.Sub(r.since[server]) >= replicaPatience {
			late = append(late, fmt.Sprintf("NATS server %s does not keep up with %s", server, strings.Join(streams[server], " and ")))
		}
	}
	var reasons []string
	for _, d := range differing {
		reasons = append(reasons, fmt.Sprintf("a NATS server's copy of %s differs from the others': one and the same message on %s is "+
			"at %d and at %d; find the server whose last_seq of the stream stays another than on the others (/jsz?accounts=1&streams=1), "+
			"stop it, move its jetstream directory away and start it, so that it copies all streams anew",
			d.Stream, d.Subject, d.Sequences[0], d.Sequences[1]))
	}
	if len(late) > 0 {
		reasons = append(reasons, strings.Join(late, "; ")+": it is down, or has disabled JetStream because its disk was full; restart it "+
			"once there is space")
	}
	status := event.Status{Role: admin.RoleReplicas, State: event.StateLive}
	if len(reasons) > 0 {
		status.State, status.Reason = event.StateDegraded, strings.Join(reasons, "; ")
	}
	r.report(status)
	if status.Reason == r.said {
		return
	}
	if r.said = status.Reason; status.Reason != "" {
		r.log.Warn().Str("reason", status.Reason).Msg("the streams have fewer copies that are whole than they should")
	} else {
		r.log.Info().Msg("the streams have all their copies again")
	}
}
