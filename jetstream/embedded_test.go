package jetstream_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/embedded"
	"stackstream/jetstream/jetstreamtest"
)

func openEmbedded(t *testing.T, cfg jetstream.EmbeddedConfig) *embedded.Server {
	t.Helper()
	e, err := embedded.Open(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() }) // tests that care close it themselves
	return e
}

func connectInProcess(t *testing.T, e *embedded.Server) (*jetstream.Client, natsjs.JetStream) {
	t.Helper()
	c, err := jetstream.Connect(testContext(t), jetstream.Config{Embedded: e}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) })
	js, err := natsjs.New(c.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return c, js
}

func TestEmbeddedKeepsDataOverRestartAndReopening(t *testing.T) {
	ctx := testContext(t)
	cfg := jetstream.EmbeddedConfig{Dir: filepath.Join(t.TempDir(), "new", "dir")}
	e := openEmbedded(t, cfg)
	if url := e.ClientURL(); url != "" {
		t.Errorf("it listens on %s without being told to", url)
	}
	client, js := connectInProcess(t, e)
	if _, err := client.Provision(ctx, jetstream.DefaultLayout(1).Within(e.MaxFile()), jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "ingest.raw.p.s", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := e.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "for the client to reconnect in process", func() bool { return client.Healthy() == nil })
	if _, err := js.Publish(ctx, "ingest.raw.p.s", []byte("two")); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if err := e.Restart(); event.KindOf(err) != event.Invalid {
		t.Errorf("restart after Close gives %v, want an error of the kind invalid", err)
	}
	until(t, "for the client to notice", func() bool { return event.KindOf(client.Healthy()) == event.Unavailable })

	_, js = connectInProcess(t, openEmbedded(t, cfg))
	stream, err := js.Stream(ctx, event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]string{1: "one", 2: "two"} {
		m, err := stream.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) != want || m.Subject != "events.raw.p.s" {
			t.Errorf("message %d is %q on %s", seq, m.Data, m.Subject)
		}
	}
}

func TestEmbeddedHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	first := openEmbedded(t, jetstream.EmbeddedConfig{Dir: dir})
	_, err := embedded.Open(jetstream.EmbeddedConfig{Dir: dir}, zerolog.Nop())
	if err == nil {
		t.Fatal("a second owner got in")
	}
	want := fmt.Sprintf("%s is in use by process %d", dir, os.Getpid())
	if !strings.Contains(err.Error(), want) || event.KindOf(err) != event.Unavailable {
		t.Errorf("the second owner is told %q, want the kind unavailable and %q", err, want)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	openEmbedded(t, jetstream.EmbeddedConfig{Dir: dir})
}

func TestEmbeddedThatCannotStartLeavesNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	dir := t.TempDir()
	_, err = embedded.Open(jetstream.EmbeddedConfig{Dir: dir, Listen: taken.Addr().String()}, zerolog.Nop())
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Fatalf("got %v, want an error that names %s", err, taken.Addr())
	}
	openEmbedded(t, jetstream.EmbeddedConfig{Dir: dir}) // the lock is free
}

func TestEmbeddedRefusesADirectoryThatIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.Open(jetstream.EmbeddedConfig{Dir: file}, zerolog.Nop())
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error of the kind invalid that names %s", err, file)
	}
}

func TestEmbeddedTakesNoMoreThanTheDiskHas(t *testing.T) {
	log := &logBuffer{}
	const wanted = 1 << 60
	e, err := embedded.Open(jetstream.EmbeddedConfig{Dir: t.TempDir(), MaxFile: wanted}, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if got := e.MaxFile(); got <= 0 || got >= wanted {
		t.Errorf("it takes %d bytes", got)
	}
	if !strings.Contains(log.String(), `"level":"warn"`) || !strings.Contains(log.String(), `"wanted":1152921504606846976`) {
		t.Errorf("nothing warns of it:\n%s", log)
	}
	if small := openEmbedded(t, jetstream.EmbeddedConfig{Dir: t.TempDir(), MaxFile: 1 << 20}); small.MaxFile() != 1<<20 {
		t.Errorf("it takes %d bytes where 1 MiB is set", small.MaxFile())
	}
}

func TestEmbeddedListensOnTheSameAddressAfterRestart(t *testing.T) {
	server := jetstreamtest.Server(t, jetstreamtest.Bare())
	client := server.Client(t)
	before := client.Conn().ConnectedUrl()
	server.Shutdown()
	until(t, "for the client to notice", func() bool { return event.KindOf(client.Healthy()) == event.Unavailable })
	server.Restart(t)
	until(t, "for the client to reconnect", func() bool { return client.Healthy() == nil })
	if after := client.Conn().ConnectedUrl(); after != before {
		t.Errorf("it is at %s, was at %s", after, before)
	}
}

// The normalizer has a consumer of EVENTS_RAW for each provider. A server of itself allows for 1,000.
func TestEmbeddedHasRoomForTheConsumersOfManyProviders(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	js := jetStream(t, client)
	for i := range 1001 {
		_, err := js.CreateConsumer(testContext(t), event.StreamRaw, natsjs.ConsumerConfig{
			Durable: fmt.Sprint("c", i), FilterSubject: event.RawSubjects(prov), AckPolicy: natsjs.AckAllPolicy, MemoryStorage: true,
		})
		if err != nil {
			t.Fatalf("consumer %d: %v", i+1, err)
		}
	}
}
