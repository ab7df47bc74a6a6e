package deploytest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/porttest"
	"stackstream/jetstream"
)

const limit = time.Minute

// cluster is the three servers of compose.yaml as processes, with deploy/nats/nats.conf and generated secrets. Only
// addresses and directories differ, which come from the command line.
type cluster struct {
	t       *testing.T
	dir     string // the copy of deploy
	clients []string
	logs    []string
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: generate(t)}
	// As compose.yaml mounts it.
	users := read(t, filepath.Join(c.dir, "secrets", "nats-users.conf"))
	if err := os.MkdirAll(filepath.Join(c.dir, "nats", "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "nats", "secrets", "users.conf"), []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	ports := porttest.Free(t, 9)
	var routes []string
	for i := range 3 {
		routes = append(routes, fmt.Sprintf("nats://routes:%s@127.0.0.1:%d", c.password("routes"), ports[i]))
	}
	var monitors []string
	for i := range 3 {
		name := fmt.Sprintf("nats-%d", i+1)
		log := filepath.Join(t.TempDir(), name+".log")
		c.logs = append(c.logs, log)
		c.clients = append(c.clients, fmt.Sprintf("nats://127.0.0.1:%d", ports[3+i]))
		monitors = append(monitors, fmt.Sprintf("http://127.0.0.1:%d/healthz?js-server-only=true", ports[6+i]))
		run(t, exec.Command(filepath.Join(bin, "nats-server"), "--config", filepath.Join(c.dir, "nats", "nats.conf"),
			"--addr", "127.0.0.1", "--port", fmt.Sprint(ports[3+i]), "--http_port", fmt.Sprint(ports[6+i]),
			"--cluster", routes[i], "--routes", strings.Join(routes, ","),
			"--store_dir", filepath.Join(t.TempDir(), name), "--log", log), "NATS_SERVER_NAME="+name)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for i, log := range c.logs {
				text, _ := os.ReadFile(log)
				t.Logf("log of server %d:\n%s", i+1, tail(string(text), 15))
			}
		}
	})
	// What compose.yaml asks for the health of a server.
	for _, url := range monitors {
		eventually(t, "for "+url, func() bool {
			res, err := http.Get(url)
			if err != nil {
				return false
			}
			defer res.Body.Close()
			return res.StatusCode == http.StatusOK
		})
	}
	return c
}

// run starts a process that is killed with the test.
func run(t *testing.T, cmd *exec.Cmd, env ...string) *output {
	t.Helper()
	out := &output{}
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(cmd.Path), tail(out.String(), 20))
		}
	})
	return out
}

// output is what a process printed.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s: %s", limit, what)
		}
	}
}

func (c *cluster) password(user string) string {
	return strings.TrimSpace(read(c.t, filepath.Join(c.dir, "secrets", "nats-"+user+".password")))
}

// client connects as a program of the project.
func (c *cluster) client(t *testing.T, user string) *jetstream.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	client, err := jetstream.Connect(ctx, jetstream.Config{
		URLs: c.clients, User: user, Password: event.Secret(c.password(user)), Name: t.Name(),
	}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatalf("connect as %s: %v", user, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = client.Close(ctx) // the servers may be gone
	})
	return client
}

// plain is a connection that tells which subjects it is refused.
type plain struct {
	*nats.Conn
	refused chan string
}

func (c *cluster) plain(t *testing.T, user, inbox string) *plain {
	t.Helper()
	p := &plain{refused: make(chan string, 64)}
	nc, err := nats.Connect(strings.Join(c.clients, ","), nats.UserInfo(user, c.password(user)),
		nats.CustomInboxPrefix(inbox), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				p.refused <- err.Error()
			}
		}))
	if err != nil {
		t.Fatalf("connect as %s: %v", user, err)
	}
	p.Conn = nc
	t.Cleanup(nc.Close)
	return p
}

// mayNot fails the test unless the server refuses a publish on the subject. A refusal comes before the answer to the
// ping that Flush sends.
func (p *plain) mayNot(t *testing.T, m *nats.Msg) {
	t.Helper()
	if err := p.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	if err := p.FlushTimeout(limit); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-p.refused:
		if !strings.Contains(text, `"`+m.Subject+`"`) {
			t.Errorf("refused %s, want %s", text, m.Subject)
		}
	case <-time.After(10 * time.Second): // the handler runs in a goroutine of its own
		t.Errorf("a publish on %s is not refused", m.Subject)
	}
}

// mayNotSubscribe fails the test unless the server refuses the subscription.
func (p *plain) mayNotSubscribe(t *testing.T, subject string) {
	t.Helper()
	if _, err := p.SubscribeSync(subject); err != nil {
		t.Fatal(err)
	}
	if err := p.FlushTimeout(limit); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-p.refused:
		if !strings.Contains(text, `"`+subject+`"`) {
			t.Errorf("refused %s, want %s", text, subject)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("a subscription to %s is not refused", subject)
	}
}

// violations are the subjects that the servers refused so far, by user.
func (c *cluster) violations(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, log := range c.logs {
		for _, line := range strings.Split(read(t, log), "\n") {
			if m := regexp.MustCompile(`(Publish|Subscription) Violation - (.*)`).FindString(line); m != "" {
				found = append(found, m)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// command is one of our programs with the configuration of compose.yaml, moved to the test's addresses.
func (c *cluster) command(t *testing.T, user string, edit func(string) string, program string, args ...string) *exec.Cmd {
	t.Helper()
	text := read(t, filepath.Join(c.dir, "stackstream.yaml"))
	for from, to := range map[string]string{
		"nats://nats-1:4222, nats://nats-2:4222, nats://nats-3:4222": strings.Join(c.clients, ", "),
		"/run/secrets/nats-password":                                 filepath.Join(c.dir, "secrets", "nats-"+user+".password"),
		"/run/secrets/rabbitmq-password":                             filepath.Join(c.dir, "secrets", "rabbitmq-stackstream.password"),
		"0.0.0.0:8321":                                               "127.0.0.1:0",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("stackstream.yaml has no %q", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	if edit != nil {
		text = edit(text)
	}
	file := filepath.Join(t.TempDir(), user+".yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, program), append(args, "-c", file)...)
	cmd.Env = append(os.Environ(), "NATS_USER="+user)
	return cmd
}

// provision runs the service of that name, again when it fails, as compose.yaml has it: right after the start a request
// can be lost between the servers.
func (c *cluster) provision(t *testing.T) {
	t.Helper()
	eventually(t, "for provision to succeed", func() bool {
		out, err := c.command(t, "admin", nil, "stackstream", "provision").CombinedOutput()
		if err != nil {
			t.Logf("provision: %v\n%s", err, tail(string(out), 3))
		}
		return err == nil
	})
}
