package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// waitForAll waits until the durable subscriber was handed want events. If that takes too long, it says where the events
// are: in which stream, with the durable, or not collected at all, and what the programs say of themselves.
func waitForAll(t *testing.T, limit time.Duration, nc *nats.Conn, d *durable, want int, programs ...*process) {
	t.Helper()
	eventually(t, limit, fmt.Sprintf("%d events with the durable subscriber", want),
		func() bool { return d.len() >= want }, func() string { return whereabouts(nc, d, programs) })
}

func whereabouts(nc *nats.Conn, d *durable, programs []*process) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var b strings.Builder
	js, err := natsjs.New(nc)
	if err != nil {
		return err.Error()
	}
	for name, subjects := range map[string]string{
		event.StreamRaw: "events.raw.>", event.StreamNormalized: "events.normalized.*", event.StreamDead: "events.dead.*",
	} {
		fmt.Fprintf(&b, "%s: %s\n", name, countOn(ctx, js, name, subjects))
	}
	if c, err := js.Consumer(ctx, event.StreamNormalized, durableName); err != nil {
		fmt.Fprintf(&b, "durable: %v\n", err)
	} else {
		i := c.CachedInfo()
		fmt.Fprintf(&b, "durable: delivered up to %d, acknowledged up to %d, %d to come, %d unacknowledged, %d pulls wait\n",
			i.Delivered.Stream, i.AckFloor.Stream, i.NumPending, i.NumAckPending, i.NumWaiting)
	}
	fmt.Fprintf(&b, "subscriber: %s, connected %v\n", d, nc.IsConnected())
	for _, p := range programs {
		fmt.Fprintf(&b, "%s: %s", p.name, p.ask("/readyz"))
	}
	return b.String()
}

func countOn(ctx context.Context, js natsjs.JetStream, stream, filter string) string {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err.Error()
	}
	info, err := s.Info(ctx, natsjs.WithSubjectFilter(filter))
	if err != nil {
		return err.Error()
	}
	var events uint64
	for _, n := range info.State.Subjects {
		events += n
	}
	return fmt.Sprintf("%d events, ends at %d", events, info.State.LastSeq)
}

var listens = regexp.MustCompile(`"address":"([^"]+)"[^\n]*"admin server listens"`)

// ask asks the process's admin server.
func (p *process) ask(path string) string {
	at := listens.FindStringSubmatch(p.log.String())
	if at == nil {
		return "has no admin server\n"
	}
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://" + at[1] + path)
	if err != nil {
		return err.Error() + "\n"
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error() + "\n"
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, text)
}

// expectReady waits until every process says that it is ready: nothing is wrong any more, and none may say otherwise.
func expectReady(t *testing.T, programs ...*process) {
	t.Helper()
	for _, p := range programs {
		eventually(t, 30*time.Second, p.name+" to be ready", func() bool { return p.ask("/readyz") == "200 ready\n" },
			func() string { return p.ask("/readyz") })
	}
}
