package openstacktest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"stackstream/internal/openstacktest/child"
)

// Service names one of the services.
type Service string

// The services. Placement comes with Nova.
const (
	Keystone  Service = "keystone"
	Glance    Service = "glance"
	Cinder    Service = "cinder"
	Neutron   Service = "neutron"
	Nova      Service = "nova"
	placement Service = "placement"
)

// ParseServices reads names between blanks, in the order in which they first come.
func ParseServices(names string) ([]Service, error) {
	var services []Service
	known := []Service{Keystone, Glance, Cinder, Neutron, Nova}
	for _, name := range strings.Fields(names) {
		s := Service(name)
		if !slices.Contains(known, s) {
			return nil, fmt.Errorf("no service %q: want some of %v", name, known)
		}
		if !slices.Contains(services, s) {
			services = append(services, s)
		}
	}
	return services, nil
}

// Broker is the RabbitMQ that the services send to.
type Broker struct {
	// URL as oslo.messaging takes it: rabbit://user:password@host:port/vhost.
	URL string
	// Durable is amqp_durable_queues: exchanges and queues that outlive a restart of the broker.
	Durable bool
}

// Cloud is a set of services with their state.
type Cloud struct {
	dir      string
	services []service
	sockets  map[Service]net.Listener
	http     *http.Client
	prepared errgroup.Group
	project  string   // the id of the services' own; the catalogue is filled when it is known
	users    []string // the ids of the services' own users
	image    string   // the id of one for servers
}

// New reserves the ports and begins to create the databases of the services, all at once. Keystone has to be among them,
// and for Nova also Glance.
func New(tb testing.TB, names ...Service) *Cloud {
	tb.Helper()
	if slices.Contains(names, Nova) {
		names = append(slices.Clone(names), placement)
	}
	c := &Cloud{
		dir: tb.TempDir(), sockets: map[Service]net.Listener{},
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for _, name := range names {
		l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = l.Close() })
		c.sockets[name] = l
	}
	for _, name := range names {
		c.services = append(c.services, c.service(name))
	}
	for _, s := range c.services {
		c.prepared.Go(func() error { return c.prepare(tb.Context(), s) })
	}
	tb.Cleanup(func() { _ = c.prepared.Wait() }) // whoever needed it was told
	return c
}

// url is where the API of a service answers; it stays the same over restarts.
func (c *Cloud) url(name Service) string {
	if l := c.sockets[name]; l != nil {
		return "http://" + l.Addr().String()
	}
	return "http://127.0.0.1:9" // nobody listens to the port for discarding
}

// Start runs the services on a broker until the test tb ends, and returns when all of them answer. Afterwards it may be
// called again, with another broker too.
func (c *Cloud) Start(tb testing.TB, broker Broker) {
	tb.Helper()
	if err := c.prepared.Wait(); err != nil {
		tb.Fatalf("create the databases: %v", err)
	}
	var children []*child.Process
	for _, s := range c.services {
		if err := c.configure(s, broker); err != nil {
			tb.Fatal(err)
		}
		children = append(children, c.startAPI(tb, s))
	}
	c.await(tb, children, func(ctx context.Context) error {
		if c.project != "" {
			return nil
		}
		return c.fillCatalogue(ctx) // keystone answers when it has started
	})
	// The daemons look into the catalogue as soon as they start.
	for _, s := range c.services {
		for name, argv := range s.daemons {
			children = append(children, child.Start(tb, name, c.path(name+".log"), c.command(tb.Context(), s, argv)))
		}
	}
	c.await(tb, children, func(ctx context.Context) error {
		all, ctx := errgroup.WithContext(ctx)
		for _, s := range c.services {
			all.Go(func() error { return c.ready(ctx, s) })
		}
		return all.Wait()
	})
}

// startLimit is how long services may take until they are of use.
const startLimit = 4 * time.Minute

// await performs a step of the start. A child that ends meanwhile ends it, and the test.
func (c *Cloud) await(tb testing.TB, children []*child.Process, step func(context.Context) error) {
	tb.Helper()
	ctx, done := context.WithTimeoutCause(tb.Context(), startLimit, fmt.Errorf("it takes more than %v", startLimit))
	defer done()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	for _, p := range children {
		go func() {
			select {
			case <-p.Done():
				end(fmt.Errorf("%s ended:\n%s", p.Name, p.Tail(15)))
			case <-ctx.Done():
			}
		}()
	}
	if err := step(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		tb.Fatalf("start the services: %v", err)
	}
}

func (c *Cloud) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// configure writes the service's configuration.
func (c *Cloud) configure(s service, broker Broker) error {
	dir := c.path(string(s.name))
	for _, sub := range append([]string{"lock", "policy.d"}, s.dirs...) {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, string(s.name)+".conf"), []byte(s.config(broker)), 0o600)
}

// prepare creates the database. It runs commands of the service one after the other.
func (c *Cloud) prepare(ctx context.Context, s service) error {
	// No broker yet: what bootstrapping would tell has nobody to hear it.
	if err := c.configure(s, Broker{}); err != nil {
		return err
	}
	for name, content := range s.files {
		if err := os.WriteFile(c.path(string(s.name), name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	for _, argv := range s.prepare {
		if out, err := c.command(ctx, s, argv).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, tail(string(out), 15))
		}
	}
	return nil
}

// command is a program of the service with nothing of the environment that it could take settings from.
func (c *Cloud) command(ctx context.Context, s service, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/usr/bin/env", argv...) // env: looks argv[0] up in the PATH of cmd.Env
	cmd.Dir = c.path(string(s.name))
	cmd.Env = append([]string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + cmd.Dir, "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
	}, s.env...)
	return cmd
}

// startAPI runs the service's API in uwsgi: one process with some threads, which is what sqlite bears, on the socket that
// the test holds.
func (c *Cloud) startAPI(tb testing.TB, s service) *child.Process {
	tb.Helper()
	socket, err := c.sockets[s.name].(*net.TCPListener).File()
	if err != nil {
		tb.Fatal(err)
	}
	defer socket.Close()
	argv := append([]string{
		"uwsgi_python3", "--http-socket", "fd://3", "--wsgi-file", s.wsgi, "--processes", "1",
		"--threads", strconv.Itoa(s.threads), "--enable-threads", "--need-app", "--buffer-size", "65535",
		"--disable-logging", "--die-on-term", "--add-header", "Connection: close",
	}, s.uwsgi...)
	cmd := c.command(tb.Context(), s, argv)
	cmd.ExtraFiles = []*os.File{socket} // the first of them is 3
	name := string(s.name) + "-api"
	return child.Start(tb, name, c.path(name+".log"), cmd)
}

// ready waits until the API answers, which says that it has loaded, and until what else must be true is. The socket takes
// connections from the beginning, so one request may last as long as the service needs to start.
func (c *Cloud) ready(ctx context.Context, s service) error {
	var status *statusError
	_, err := c.request(ctx, "", http.MethodGet, c.url(s.name)+s.probe, "", nil, nil)
	if err != nil && (!errors.As(err, &status) || status.status >= http.StatusInternalServerError) {
		return fmt.Errorf("wait for %s: %w", s.name, err)
	}
	if s.settle == nil {
		return nil
	}
	if err := s.settle(ctx); err != nil {
		return fmt.Errorf("wait for %s: %w", s.name, err)
	}
	return nil
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
