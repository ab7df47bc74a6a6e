package cli

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"stackstream/internal/app/author/authortest"
	"stackstream/internal/openstack/standin"
	"stackstream/internal/rabbitmqtest"
	"stackstream/jetstream"
	"stackstream/jetstream/embedded"
	"stackstream/jetstream/jetstreamtest"
)

func startCloud(ts *testscript.TestScript, neg bool, args []string) {
	options := standin.Options{}
	if len(args) > 0 && (args[0] == "ceilometer" || args[0] == "moved") {
		options.Ceilometer = true
		if args[0] == "moved" {
			options.MovedTo = "http://panko.example.org:8977"
		}
		args = args[1:]
	}
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		options.Burst = n
	}
	if len(args) > 1 {
		rate, err := strconv.ParseFloat(args[1], 64)
		ts.Check(err)
		options.Rate = rate
	}
	cloud := standin.New(options)
	server := httptest.NewServer(cloud)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = cloud.Run(ctx) })
	ts.Defer(func() {
		cancel()
		done.Wait()
		server.Close()
	})
	ts.Setenv("CLOUD", server.URL)
	ts.Setenv("KEYSTONE", server.URL+"/v3")
}

func fillIn(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: fill FILE")
	}
	text := regexp.MustCompile(`<([^>\n]*)>`).ReplaceAllString(ts.ReadFile(args[0]), "$1")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

type served struct{} // key of Env.Values

func startService(ts *testscript.TestScript, neg bool, args []string) {
	count := 25
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		count = n
	}
	service := authortest.New(count, time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC))
	if len(args) > 1 {
		service.Paging = args[1]
	}
	service.Descending = len(args) > 2 && args[2] == "descending"
	server := httptest.NewServer(service)
	ts.Value(served{}).(*serving).server = server
	ts.Defer(server.Close)
	ts.Setenv("SERVICE", server.URL)
	ts.Check(os.WriteFile(ts.MkAbs("token"), []byte(authortest.Token+"\n"), 0o600))
}

type serving struct{ server *httptest.Server }

func endService(ts *testscript.TestScript, neg bool, args []string) {
	ts.Value(served{}).(*serving).server.Close()
	ts.Check(os.Remove(ts.MkAbs("token")))
}

func useBroker(ts *testscript.TestScript, neg bool, args []string) {
	tb := ts.Value(owner{}).(testing.TB)
	b := rabbitmqtest.Shared(tb)
	vhost := b.VHost(tb)
	const own = `^stackstream\.`
	user, password := b.User(tb, vhost, own, own, `^(stackstream\..*|`+strings.Join(args, "|")+`)$`)
	ts.Setenv("BROKER", b.Addr())
	ts.Setenv("VHOST", vhost)
	ts.Setenv("BROKER_USER", user)
	ts.Check(os.WriteFile(ts.MkAbs("broker.password"), []byte(password+"\n"), 0o600))
}

func notify(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: notify EXCHANGE COUNT")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	tb := ts.Value(owner{}).(testing.TB)
	p := rabbitmqtest.Shared(tb).Publisher(tb, ts.Getenv("VHOST"))
	defer p.Close()
	ts.Check(p.Declare(tb.Context(), args[0], "notifications.info"))
	ts.Check(p.Notify(tb.Context(), args[0], make([]rabbitmqtest.Notification, n)...))
}

func lose(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: lose EXCHANGE")
	}
	tb := ts.Value(owner{}).(testing.TB)
	ch, err := rabbitmqtest.Shared(tb).Dial(tb, ts.Getenv("VHOST")).Channel()
	ts.Check(err)
	ts.Check(ch.ExchangeDelete(args[0], false, false))
}

func startNATS(ts *testscript.TestScript, neg bool, args []string) {
	var options []jetstreamtest.Option
	if len(args) > 0 && args[0] == "bare" {
		options = append(options, jetstreamtest.Bare())
	}
	server := jetstreamtest.Server(ts.Value(owner{}).(testing.TB), options...)
	ts.Setenv("NATS_URL", server.URL())
}

// restoreHalfway is a restore that was killed before its end; ! before its first change.
func restoreHalfway(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: halfway DIR [STORE]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, err := jetstream.OpenBackup(ts.MkAbs(args[0]))
	ts.Check(err)
	to := jetstream.Config{URLs: []string{ts.Getenv("NATS_URL")}}
	if len(args) > 1 {
		server, err := embedded.Open(jetstream.EmbeddedConfig{Dir: ts.MkAbs(args[1])}, zerolog.Nop())
		ts.Check(err)
		defer server.Close()
		to = jetstream.Config{Embedded: server}
	}
	client, err := jetstream.Connect(ctx, to, zerolog.Nop(), jetstream.Hooks{})
	ts.Check(err)
	defer client.Close(ctx)
	killed := errors.New("killed")
	o := jetstream.RestoreOptions{Replace: true, Settle: func() error { return killed }}
	if neg {
		o.Sync = func() error {
			over, end := context.WithCancel(ctx)
			end()
			_ = client.Close(over) // at once: it can't take its mark back
			return killed
		}
	}
	_, err = client.Restore(ctx, b, o)
	if !errors.Is(err, killed) {
		ts.Fatalf("the restore ended with %v", err)
	}
}

// killed runs a program that is killed before it sends more than so many messages that change something.
func killed(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || programs[args[1]] == nil {
		ts.Fatalf("usage: killed MESSAGES PROGRAM ARG…")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	p := command(ts, args[1:])
	dead := make(chan struct{})
	gate := jetstreamtest.NewGate(ts.Value(owner{}).(testing.TB), ts.Getenv("NATS_URL"), n, func(subject string) bool {
		return strings.HasPrefix(subject, "ingest.") || strings.HasPrefix(subject, "$KV.")
	}, func() { close(dead) })
	defer gate.Close()
	p.Env = append(p.Env, "NATS_URL="+gate.URL())
	ts.Check(p.Start())
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	select {
	case <-dead:
		ts.Check(p.Process.Kill())
		<-ended
	case err := <-ended:
		ts.Fatalf("%s has ended before it was killed: %v", strings.Join(args[1:], " "), err)
	}
}
