package jetstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
)

// fakeServer says in its greeting which version it is, and answers pings.
type fakeServer struct {
	net.Listener
	version atomic.Value // string
	conns   chan net.Conn
}

func startFake(t *testing.T, version string) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{Listener: l, conns: make(chan net.Conn, 100)}
	f.version.Store(version)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.conns <- conn
			running.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.hangUp()
		running.Wait()
	})
	return f
}

func (f *fakeServer) serve(conn net.Conn) {
	fmt.Fprintf(conn, "INFO {\"server_id\":\"X\",\"server_name\":\"fake\",\"version\":%q,\"proto\":1,\"headers\":true,"+
		"\"jetstream\":true,\"max_payload\":1048576}\r\n", f.version.Load())
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if lines.Text() == "PING" {
			fmt.Fprint(conn, "PONG\r\n")
		}
	}
}

// hangUp closes the connections that there are.
func (f *fakeServer) hangUp() {
	for {
		select {
		case conn := <-f.conns:
			_ = conn.Close()
		default:
			return
		}
	}
}

func TestOldServersAreRefusedByNameAndVersion(t *testing.T) {
	old := startFake(t, "2.11.4")
	url := []string{"nats://" + old.Addr().String()}
	wantRefused(t, jetstream.Config{URLs: url}, `server "fake" is nats-server 2.11.4: at least 2.14.0 is needed`)

	old.version.Store("2.15.0-beta.1")
	var states []bool // the callbacks run one at a time
	var tooOld bool
	c, err := jetstream.Connect(testContext(t), jetstream.Config{URLs: url}, zerolog.Nop(), jetstream.Hooks{
		Connected: func(problem error) {
			if connected := problem == nil; len(states) == 0 || states[len(states)-1] != connected {
				states = append(states, connected)
			}
			tooOld = tooOld || event.KindOf(problem) == event.Invalid
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	old.version.Store("2.12.1")
	old.hangUp()
	until(t, "for the client to find the server too old", func() bool { return event.KindOf(c.Healthy()) == event.Invalid })
	if err := c.Healthy(); !strings.Contains(err.Error(), `server "fake" is nats-server 2.12.1: at least 2.14.0 is needed`) {
		t.Errorf("not healthy because %v", err)
	}
	old.version.Store("2.14.0")
	old.hangUp()
	until(t, "for the client to find the server new enough", func() bool { return c.Healthy() == nil })
	if err := c.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	<-c.Closed()
	if want := []bool{true, false, true, false}; !slices.Equal(states, want) {
		t.Errorf("the hook was told %v, want %v", states, want)
	}
	if !tooOld {
		t.Error("the hook was not told that the server is too old")
	}
}

func TestAConnectionThatEndedForGoodSaysSo(t *testing.T) {
	fake := startFake(t, "2.15.2")
	c, err := jetstream.Connect(testContext(t), jetstream.Config{URLs: []string{"nats://" + fake.Addr().String()}}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(<-fake.conns, "-ERR 'Unknown Something'\r\n")
	<-c.Closed()
	if err := c.Healthy(); event.KindOf(err) != event.Unavailable || !strings.Contains(err.Error(), "Unknown Something") {
		t.Errorf("not healthy because %v", err)
	}
	if err := c.Close(testContext(t)); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestCloseEndsWithItsContext(t *testing.T) {
	s := startServer(t, nil)
	c := wantConnected(t, jetstream.Config{URLs: []string{s.ClientURL()}})
	busy, release := make(chan struct{}), make(chan struct{})
	if _, err := c.Conn().Subscribe("work", func(*nats.Msg) {
		close(busy)
		<-release
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.Conn().Publish("work", nil); err != nil {
		t.Fatal(err)
	}
	<-busy // a drain waits for this subscription
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	close(release)
	<-c.Closed()
}

func TestPermissionViolationsReachThoseWhoWait(t *testing.T) {
	s := startServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"ingest.raw.mine.>", "$JS.API.INFO"}},
		}}}
	})
	log := &logBuffer{}
	var refusedHook []string
	c, err := jetstream.Connect(testContext(t), jetstream.Config{URLs: []string{s.ClientURL()}, User: "u", Password: "p"}, zerolog.New(log),
		jetstream.Hooks{Refused: func(subject string) { refusedHook = append(refusedHook, subject) }})
	if err != nil {
		t.Fatal(err)
	}
	mine, stopMine := c.WatchRefusals(func(subject string) bool { return subject == "ingest.raw.mine.s" })
	theirs, stopTheirs := c.WatchRefusals(func(subject string) bool { return subject == "ingest.raw.theirs.s" })
	late, stopLate := c.WatchRefusals(func(string) bool { return true })
	stopLate()
	for range 3 {
		for _, subject := range []string{"ingest.raw.mine.s", "ingest.raw.theirs.s"} {
			if err := c.Conn().Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	const want = "publish to ingest.raw.theirs.s: invalid: the NATS user has no right to"
	if err := <-theirs; event.KindOf(err) != event.Invalid || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	stopMine()
	stopTheirs()

	// A server that refuses what provisioning asks is not asked until the end of time.
	if _, err := c.Provision(testContext(t), jetstream.DefaultLayout(1), jetstream.CreateMissing); event.KindOf(err) != event.Invalid ||
		!strings.Contains(err.Error(), "$JS.API.STREAM.INFO.EVENTS_RAW") {
		t.Errorf("provision: %v", err)
	}
	if err := c.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-mine:
		t.Errorf("told of a subject that is allowed: %v", err)
	case err := <-late:
		t.Errorf("told after it was stopped: %v", err)
	default:
	}
	if len(refusedHook) != 4 || refusedHook[0] != "ingest.raw.theirs.s" {
		t.Errorf("the hook was told of %v", refusedHook)
	}
	if n := strings.Count(log.String(), `"subject":"ingest.raw.theirs.s"`); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log)
	}
}
