package jetstreamtest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/event"
	"stackstream/jetstream/jetstreamtest"
)

func streamNames(t *testing.T, nc *nats.Conn) []string {
	t.Helper()
	js, err := nc.JetStream(nats.MaxWait(30 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range js.StreamNames() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var wantStreams = []string{
	event.StreamDead, event.StreamNormalized, event.StreamRaw, event.StreamReplay, "KV_LEASES", "KV_OWNERS", "OBJ_" + event.BucketBodies,
}

func TestServerHasTheStreamsAndKeepsItsAddress(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	if got := streamNames(t, client.Conn()); !slices.Equal(got, wantStreams) {
		t.Fatalf("streams are %v, want %v", got, wantStreams)
	}
	url := server.URL()
	server.Restart(t)
	if got := server.URL(); got != url {
		t.Fatalf("after a restart the server is at %s, was at %s", got, url)
	}
	if got := streamNames(t, server.Client(t).Conn()); !slices.Equal(got, wantStreams) {
		t.Errorf("after a restart streams are %v, want %v", got, wantStreams)
	}
}

func TestBareServerHasNone(t *testing.T) {
	if got := streamNames(t, jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t).Conn()); len(got) != 0 {
		t.Fatalf("streams are %v, want none", got)
	}
}

func TestClusterSurvivesOneServer(t *testing.T) {
	cluster := jetstreamtest.Cluster(t)
	client := cluster.Client(t)
	if got := streamNames(t, client.Conn()); !slices.Equal(got, wantStreams) {
		t.Fatalf("streams are %v, want %v", got, wantStreams)
	}
	first := cluster.Leader(event.StreamRaw)
	cluster.StepDown(event.StreamRaw)
	cluster.Kill(first)
	if now := cluster.Leader(event.StreamRaw); now == first {
		t.Fatalf("server %d leads %s although it was killed", first, event.StreamRaw)
	}
	cluster.Restart(first)
	if got := streamNames(t, cluster.Client(t).Conn()); !slices.Equal(got, wantStreams) {
		t.Fatalf("after a restart streams are %v, want %v", got, wantStreams)
	}
}
