//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/chaos/checker"
	"stackstream/chaos/disk"
	"stackstream/chaos/proxy"
	"stackstream/internal/openstack/standin"
	"stackstream/internal/rabbitmqtest"
)

// Names of the hosts between which there is a network. What is not named here (who publishes, who checks) is reached
// without it and suffers nothing.
const (
	brokerHost = "broker"
	cloudHost  = "cloud"
)

// How many of each there are.
const (
	nodes       = 3
	collectors  = 2
	normalizers = 2
)

func node(i int) string       { return fmt.Sprintf("node-%d", i) }
func collector(i int) string  { return fmt.Sprintf("collector-%d", i) }
func normalizer(i int) string { return fmt.Sprintf("normalizer-%d", i) }

// world is everything that runs.
type world struct {
	t     *testing.T
	opt   options
	dir   string // of everything that is written
	bin   string
	begun time.Time

	network *proxy.Network
	addr    map[string]string // where a host really listens: "node-0", "broker", "cloud"
	routes  [nodes]string
	disk    *disk.Disk // under node-2; nil where there can be none

	process map[string]*process // by host
	admin   map[string]string   // address of the admin server, by host
	broker  *rabbitmqtest.Broker
	clouds  map[string]*standin.Service // by provider

	nc      *nats.Conn
	js      natsjs.JetStream
	check   *checker.Checker
	watch   *watch
	traffic *traffic
	faults  *ledger
}

// newWorld starts the world, with streams, and without any traffic.
func newWorld(t *testing.T, opt options) *world {
	t.Helper()
	w := &world{
		t: t, opt: opt, begun: time.Now(), addr: map[string]string{}, process: map[string]*process{},
		admin: map[string]string{}, clouds: map[string]*standin.Service{}, faults: &ledger{},
	}
	w.dir = opt.dir
	if w.dir == "" {
		sweep(t)
		var err error
		if w.dir, err = os.MkdirTemp("", prefix); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if !t.Failed() {
				_ = os.RemoveAll(w.dir)
			}
		})
	}
	w.bin = filepath.Join(w.dir, "bin")
	if err := os.MkdirAll(w.bin, 0o700); err != nil {
		t.Fatal(err)
	}
	w.write(filepath.Join(w.dir, "pid"), strconv.Itoa(os.Getpid()))
	w.buildPrograms()
	w.network = &proxy.Network{}
	t.Cleanup(func() { _ = w.network.Close() })

	w.broker = rabbitmqtest.Start(t)
	w.addr[brokerHost] = w.broker.Addr()
	w.startCloud()
	w.startNodes()
	w.connect()
	w.configure()
	if err := w.provision(); err != nil {
		t.Fatal(err)
	}
	w.check = checker.New(checker.Options{Payloads: true})
	for i := range collectors {
		w.start(collector(i))
	}
	for i := range normalizers {
		w.start(normalizer(i))
	}
	return w
}

// prefix of the directories of runs.
const prefix = "stackstream-chaos-"

// sweep removes what runs left that were killed: a mounted disk, above all. What a run that failed left is kept.
func sweep(t *testing.T) {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range left {
		text, err := os.ReadFile(filepath.Join(dir, "pid"))
		pid, _ := strconv.Atoi(string(text))
		if err != nil || pid == 0 || syscall.Kill(pid, 0) == nil {
			continue
		}
		if err := disk.Sweep(dir); err != nil {
			t.Logf("sweep %s: %v", dir, err)
		}
	}
}

func (w *world) buildPrograms() {
	race := []string{}
	if w.opt.race {
		race = append(race, "-race")
	}
	build(w.t, w.bin, append(race, "stackstream/cmd/collector", "stackstream/cmd/normalizer", "stackstream/cmd/stackstream")...)
	build(w.t, w.bin, "github.com/nats-io/nats-server/v2")
	zombies := filepath.Join(w.bin, "nolease")
	if err := os.MkdirAll(zombies, 0o700); err != nil {
		w.t.Fatal(err)
	}
	build(w.t, zombies, append(race, "-tags", "nolease", "stackstream/cmd/collector", "stackstream/cmd/normalizer")...)
}

func (w *world) start(host string) {
	w.t.Helper()
	if err := w.process[host].start(); err != nil {
		w.t.Fatal(err)
	}
}

// link is where host a finds what host b listens on.
func (w *world) link(a, b, target string) string {
	w.t.Helper()
	p, err := w.network.Add(a, b, w.freeAddr(), target)
	if err != nil {
		w.t.Fatalf("make the link from %s to %s: %v", a, b, err)
	}
	return p.Addr()
}

// startNodes starts three servers, each of which syncs what it acknowledges. They find one another through the network,
// and tell nobody of one another, so that there is no other way.
func (w *world) startNodes() {
	w.t.Helper()
	for i := range nodes {
		w.addr[node(i)], w.routes[i] = w.freeAddr(), w.freeAddr()
	}
	w.startDisk()
	for i := range nodes {
		var routes []string
		for k := range nodes {
			if k != i {
				routes = append(routes, "nats-route://"+w.link(node(i), node(k), w.routes[k]))
			}
		}
		store := filepath.Join(w.dir, node(i))
		if i == nodes-1 && w.disk != nil {
			store = filepath.Join(w.disk.Dir(), "store")
		}
		config := filepath.Join(w.dir, node(i)+".conf")
		text := fmt.Sprintf(`server_name: %s
listen: "%s"
max_payload: %d
ping_interval: 3s
ping_max: 3
jetstream { store_dir: "%s", max_file_store: 1TB, max_memory_store: 256MB, sync_interval: always }
cluster { name: chaos, listen: "%s", advertise: "127.0.0.1:1", no_advertise: true, routes: [%s] }
`, node(i), w.addr[node(i)], maxPayload, store, w.routes[i], strings.Join(routes, ", "))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
		w.process[node(i)] = w.newProcess(node(i), filepath.Join(w.bin, "nats-server"), "-c", config)
		w.start(node(i))
	}
}

// startDisk puts the last node's store on a disk of its own that can be filled.
func (w *world) startDisk() {
	parent := filepath.Join(w.dir, "disk")
	if err := disk.Sweep(w.dir); err != nil { // what a run that was killed has left
		w.t.Fatal(err)
	}
	d, err := disk.New(parent, w.opt.disk)
	switch {
	case errors.Is(err, disk.ErrUnavailable):
		w.t.Logf("no disk can be filled here: %v", err)
	case err != nil:
		w.t.Fatal(err)
	default:
		w.disk = d
		w.t.Cleanup(func() {
			w.process[node(nodes-1)].kill()
			if err := d.Close(); err != nil {
				w.t.Errorf("unmount the disk: %v", err)
			}
		})
	}
}

// startCloud serves the event services of the polled providers at one address, below the name of each.
func (w *world) startCloud() {
	mux := http.NewServeMux()
	for _, p := range w.opt.polled {
		s := standin.New(standin.Options{Seed: w.opt.seed, TokenLife: 20 * time.Second})
		s.SetFaults(calm)
		w.clouds[p] = s
		mux.Handle("/"+p+"/", http.StripPrefix("/"+p, s))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	w.t.Cleanup(func() { _ = server.Close(); serving.Wait() })
	w.addr[cloudHost] = l.Addr().String()
}

// connect connects those who check to the servers, around the network.
func (w *world) connect() {
	var urls []string
	for i := range nodes {
		urls = append(urls, "nats://"+w.addr[node(i)])
	}
	var err error
	if w.nc, err = dial(strings.Join(urls, ",")); err == nil {
		w.js, err = natsjs.New(w.nc)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.nc.Close)
}

func dial(urls string) (*nats.Conn, error) {
	return nats.Connect(urls, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond),
		nats.PingInterval(3*time.Second), nats.MaxPingsOutstanding(3), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // that somebody is slow is meant
}

// provision creates the streams with the real command.
func (w *world) provision() error {
	p := w.newProcess("provision", filepath.Join(w.bin, "stackstream"), "provision", "-c", filepath.Join(w.dir, collector(0)+".yaml"))
	if err := p.start(); err != nil {
		return err
	}
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		return fmt.Errorf("provision does not end:\n%s", tail(p.log, 20))
	}
	if _, err := w.js.Stream(w.t.Context(), "EVENTS_NORMALIZED"); err != nil {
		return fmt.Errorf("provision made no streams: %w\n%s", err, tail(p.log, 20))
	}
	return nil
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// freeAddr is an address on loopback below the range from which the kernel gives ports away, so that what listens there
// finds it free again after it was killed.
func (w *world) freeAddr() string {
	w.t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		if w.taken(addr) {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = l.Close()
		w.addr["port "+addr] = addr
		return addr
	}
	w.t.Fatal("no free port on 127.0.0.1")
	return ""
}

func (w *world) taken(addr string) bool { _, is := w.addr["port "+addr]; return is }

// ready says what a process says of itself: "" if it is ready.
func (w *world) ready(ctx context.Context, host string) string {
	text, err := get(ctx, "http://"+w.admin[host]+"/readyz")
	switch {
	case err != nil:
		return err.Error()
	case strings.TrimSpace(text) == "ready":
		return ""
	}
	return text
}

func pick[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}
