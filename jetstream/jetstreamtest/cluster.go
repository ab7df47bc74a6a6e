package jetstreamtest

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"stackstream/internal/porttest"
	"stackstream/jetstream"
)

// account is the one that clients without credentials are in.
const account = server.DEFAULT_GLOBAL_ACCOUNT

// Three is a cluster of three servers. Its methods fail the test that started it; they are not safe for concurrent use,
// but clients may of course be at work meanwhile.
type Three struct {
	t       testing.TB
	options [3]*server.Options
	servers [3]*server.Server // nil while killed
	urls    []string
}

// Cluster starts three servers, waits until they are one cluster with a leader, and creates the streams with three
// replicas.
func Cluster(t testing.TB, opts ...Option) *Three {
	t.Helper()
	s := apply(3, opts)
	c := &Three{t: t}
	dir := tempDir(t)
	t.Cleanup(func() {
		for _, s := range c.servers {
			s.Shutdown() // all, before any is waited for: else the others elect new leaders meanwhile
		}
		for i := range c.servers {
			c.Kill(i)
		}
	})
	ports := porttest.Free(t, 2*len(c.servers))
	var routes string
	for i := range c.servers {
		routes += fmt.Sprintf(",nats://127.0.0.1:%d", ports[i])
	}
	for i := range c.servers {
		name := fmt.Sprintf("node-%d", i)
		port := ports[len(c.servers)+i]
		c.urls = append(c.urls, fmt.Sprintf("nats://127.0.0.1:%d", port))
		c.options[i] = &server.Options{
			ServerName: name, Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, name), JetStreamMaxStore: 8 << 30, JetStreamMaxMemory: 256 << 20,
			DisableJetStreamBanner: true,
			MaxPayload:             int32(s.maxPayload),
			Routes:                 server.RoutesFromStr(routes[1:]),
			Cluster:                server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i], PoolSize: -1},
		}
		c.start(i)
	}
	c.settle()
	provision(t, s, jetstream.Config{URLs: c.urls})
	return c
}

func (c *Three) start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		c.t.Fatalf("start node %d: %v", i, err)
	}
	s.Start()
	c.servers[i] = s
	if !s.ReadyForConnections(timeout) {
		c.t.Fatalf("node %d does not listen; was its port taken?", i)
	}
}

// settle waits until every running server is up to date and there is one leader.
func (c *Three) settle() {
	c.t.Helper()
	Eventually(c.t, "for the cluster to have one leader and be current", func() bool {
		leaders := 0
		for _, s := range c.servers {
			if s == nil {
				continue
			}
			if !s.JetStreamIsCurrent() {
				return false
			}
			if s.JetStreamIsLeader() {
				leaders++
			}
		}
		return leaders == 1
	})
}

// URLs are where clients reach the servers, by index; they stay the same over restarts.
func (c *Three) URLs() []string { return append([]string(nil), c.urls...) }

// Client connects to any of the servers. The client is closed when the test ends.
func (c *Three) Client(t testing.TB) *jetstream.Client {
	t.Helper()
	return connect(t, jetstream.Config{URLs: c.URLs()})
}

// Kill stops server i: its connections break, its leaderships go to others. Killing it again does nothing. A server in
// this process can't be killed without a chance to close its files; for that use a process of its own.
func (c *Three) Kill(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

// Restart starts server i again on its data and address, killing it first if need be, and waits until the cluster is
// whole and up to date.
func (c *Three) Restart(i int) {
	c.t.Helper()
	c.Kill(i)
	c.start(i)
	c.settle()
}

// Leader returns which server leads a stream, waiting for one.
func (c *Three) Leader(stream string) int {
	c.t.Helper()
	leader := -1
	Eventually(c.t, "for a leader of "+stream, func() bool {
		for i, s := range c.servers {
			if s != nil && s.JetStreamIsStreamLeader(account, stream) {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// StepDown makes the leader of a stream give up its place, and waits until there is a leader again.
func (c *Three) StepDown(stream string) {
	c.t.Helper()
	if err := c.servers[c.Leader(stream)].JetStreamStepdownStream(account, stream); err != nil {
		c.t.Fatalf("step down the leader of %s: %v", stream, err)
	}
	c.Leader(stream)
}
