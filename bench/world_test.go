//go:build bench

package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/internal/rabbitmqtest"
)

// world is what all sections share: the programs, the broker, and what services notify of.
type world struct {
	opt    options
	dir    string // of everything that is written
	bin    string
	broker *rabbitmqtest.Broker
	beam   int // the broker's pid
	rabbit string
	bodies bodies
	handed int // number of the last event
}

func newWorld(t *testing.T, opt options) *world {
	t.Helper()
	w := &world{opt: opt, dir: opt.dir}
	if w.dir == "" {
		var err error
		if w.dir, err = os.MkdirTemp("", "stackstream-bench-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if !t.Failed() {
				_ = os.RemoveAll(w.dir)
			}
		})
	}
	w.bin = filepath.Join(w.dir, "bin")
	// What can't be written should be known before an hour is over.
	for _, dir := range []string{w.bin, opt.profile, filepath.Dir(opt.json)} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	build(t, w.bin, !opt.Short, "stackstream/cmd/collector", "stackstream/cmd/normalizer", "stackstream/cmd/stackstream",
		"stackstream/bench/ceiling", "stackstream/bench/profiled", "github.com/nats-io/nats-server/v2")
	w.bodies = recorded(t)
	w.broker = rabbitmqtest.Start(t)
	if _, err := fmt.Sscanf(w.broker.Eval(t, "list_to_integer(os:getpid())"), "%d", &w.beam); err != nil {
		t.Fatalf("the broker's pid: %v", err)
	}
	w.rabbit = strings.Trim(w.broker.Eval(t, "rabbit_misc:version()"), `"`)
	return w
}

func (w *world) program(name string) string { return filepath.Join(w.bin, name) }

// run starts a program of the pipeline, with profiles if they are wanted.
func (w *world) run(t testing.TB, name, program string, args ...string) *process {
	t.Helper()
	if w.opt.profile == "" {
		return w.start(t, name, w.program(program), nil, args...)
	}
	at, err := filepath.Abs(w.opt.profile)
	if err != nil {
		t.Fatal(err)
	}
	return w.start(t, name, w.program("profiled"), []string{"STACKSTREAM_PROFILE=" + at}, append([]string{program}, args...)...)
}

// file writes a file beside everything else.
func (w *world) file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// servers are nats-servers, one or a cluster of three, and a connection to them.
type servers struct {
	urls    []string
	process []*process
	nc      *nats.Conn
	js      natsjs.JetStream
}

// startServers starts servers with empty streams, for the time of a test. synced ones acknowledge what is on the disk; the others
// write it there when they see fit, as a nats-server does for good.
func (w *world) startServers(t *testing.T, name string, synced bool) *servers {
	t.Helper()
	s := &servers{}
	// Each provider has a consumer: the server's default is one too few for a thousand.
	jetstream := "max_file_store: 1TB, limits { default_max_consumers: -1 }"
	listen, routes := make([]string, w.opt.Servers), make([]string, w.opt.Servers)
	if synced {
		jetstream += ", sync_interval: always"
	}
	for i := range listen {
		listen[i], routes[i] = freeAddr(t), freeAddr(t)
		s.urls = append(s.urls, "nats://"+listen[i])
	}
	for i := range listen {
		node, cluster := name, ""
		if len(listen) > 1 {
			node = fmt.Sprintf("%s-%d", name, i+1)
			cluster = fmt.Sprintf("cluster { name: %s, listen: %q, routes: [%s] }\n", name, routes[i],
				"nats-route://"+strings.Join(routes, ", nats-route://"))
		}
		store := filepath.Join(w.dir, t.Name(), node)
		config := w.file(t, node+".conf", fmt.Sprintf("server_name: %s\nlisten: %q\n%sjetstream { store_dir: %q, %s }\n",
			node, listen[i], cluster, store, jetstream))
		t.Cleanup(func() { _ = os.RemoveAll(store) })
		p := w.run(t, node, "nats-server", "-c", config)
		if w.opt.profile != "" {
			t.Cleanup(func() { p.stop(t) }) // it writes what it has at its end
		}
		s.process = append(s.process, p)
	}
	var err error
	if s.nc, err = nats.Connect(strings.Join(s.urls, ","), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond)); err == nil {
		s.js, err = natsjs.New(s.nc)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nc.Close)
	eventually(t, "JetStream to answer", func(ctx context.Context) error {
		_, err := s.js.AccountInfo(ctx)
		return err
	})
	return s
}

// stream makes a stream for a ceiling.
func (w *world) stream(t testing.TB, s *servers, name string) {
	t.Helper()
	eventually(t, "stream "+name, func(ctx context.Context) error {
		_, err := s.js.CreateOrUpdateStream(ctx, natsjs.StreamConfig{
			Name: name, Subjects: []string{name}, Storage: natsjs.FileStorage, Replicas: w.opt.Servers, AllowAtomicPublish: true,
		})
		return err
	})
}

// remove removes streams, and with them what was written for a ceiling.
func (s *servers) remove(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := s.js.DeleteStream(ctx, name)
		cancel()
		if err != nil {
			t.Fatalf("remove stream %s: %v", name, err)
		}
	}
}

// eventually waits until try works.
func eventually(t testing.TB, what string, try func(context.Context) error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err = try(ctx)
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatalf("waited for %s: %v", what, err)
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// get is the text of an answer, or why there is none.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}
