package rabbitmqtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// timeout is how long anything here may take before the test fails; a boot, 3 s on an idle machine, may take bootTimeout.
const (
	timeout     = time.Minute
	bootTimeout = 3 * time.Minute
)

// mark is the variable of the environment by which all processes of a broker are found.
const mark = "RABBITMQTEST_DIR"

// Broker is a RabbitMQ broker in processes of its own. The methods that start, end, pause and resume it are not safe for
// concurrent use with one another; everything else is.
type Broker struct {
	home   string // RabbitMQ's installation
	dir    string
	node   string
	epmd   *epmd
	set    settings
	member bool                                        // of a cluster
	ports  struct{ amqp, dist, tls, management *port } // the last two are nil without the option

	mu      sync.Mutex
	current run
}

// run is one run of a broker; the zero run while it is down.
type run struct {
	process *process
	control *control
	paused  bool
}

// Start starts a broker that ends with the test.
func Start(tb testing.TB, opts ...Option) *Broker {
	tb.Helper()
	b, err := launch(apply(opts))
	if err != nil {
		tb.Fatalf("start a RabbitMQ broker: %v", err)
	}
	tb.Cleanup(func() { b.cleanup(tb) })
	return b
}

// cleanup ends the broker, and shows the end of its log if the test failed.
func (b *Broker) cleanup(tb testing.TB) {
	if tb.Failed() {
		tb.Logf("the log of broker %s ends with:\n%s", b.node, tail(b.logFile(), 40))
	}
	if err := b.end(); err != nil {
		tb.Errorf("end a RabbitMQ broker: %v", err)
	}
}

// launch starts a broker on other ports when one was taken between looking and binding.
func launch(set settings) (*Broker, error) {
	for attempt := 1; ; attempt++ {
		b, err := prepare(set, nil)
		if err == nil {
			if err = b.boot(); err == nil {
				return b, nil
			}
			err = errors.Join(err, b.end())
		}
		if attempt == 3 || !portTaken(err) {
			return nil, err
		}
	}
}

func portTaken(err error) bool { return strings.Contains(err.Error(), "eaddrinuse") }

// prepare makes the directory and the port mapper, unless shared with other brokers, and takes ports.
func prepare(set settings, shared *epmd) (b *Broker, err error) {
	home, err := installation()
	if err != nil {
		return nil, err
	}
	if shared == nil {
		if shared, err = startEpmd(); err != nil {
			return nil, err
		}
	}
	b = &Broker{home: home, epmd: shared.use(), set: set}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.end())
		}
	}()
	if b.dir, err = os.MkdirTemp(shared.dir, ""); err != nil {
		return b, err
	}
	wanted := []**port{&b.ports.amqp, &b.ports.dist}
	if set.ca != nil {
		wanted = append(wanted, &b.ports.tls)
	}
	if set.management {
		wanted = append(wanted, &b.ports.management)
	}
	for _, p := range wanted {
		if *p, err = takePort(); err != nil {
			return b, err
		}
	}
	b.node = fmt.Sprintf("rabbit%d@localhost", b.ports.amqp.number)
	return b, b.configure()
}

// configure writes what the broker reads when it boots.
func (b *Broker) configure() error {
	lines := []string{
		"listeners.tcp.1 = " + b.Addr(),
		"num_acceptors.tcp = 2",
		"loopback_users.guest = true",
		"log.file = false",
		"log.console = true",
		"log.console.level = info",
		"disk_free_limit.absolute = " + diskLimit,
		"vm_memory_high_watermark.relative = " + memoryLimit,
		"raft.wal_max_size_bytes = 33554432",
	}
	if b.ports.management != nil {
		lines = append(lines, "management.tcp.ip = 127.0.0.1",
			fmt.Sprintf("management.tcp.port = %d", b.ports.management.number))
	}
	if b.set.ca != nil {
		listener, err := b.set.ca.listen(b.dir, b.TLSAddr())
		if err != nil {
			return err
		}
		lines = append(lines, listener...)
	}
	lines = append(lines, b.set.conf...)
	for name, text := range map[string]string{
		"rabbitmq.conf":   strings.Join(lines, "\n") + "\n",
		"enabled_plugins": "[" + strings.Join(b.set.plugins, ",") + "].\n",
		"env.conf":        "",
		".erlang.cookie":  b.epmd.cookie,
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return mirror(b.home, b.dir, b.set.plugins)
}

// processes are those of the broker that run, without the port mapper.
func (b *Broker) processes() []int { return marked(func(dir string) bool { return dir == b.dir }) }

// env is the whole environment of the broker and of rabbitmqctl: nothing of the machine's own settings gets in.
func (b *Broker) env() []string {
	in := func(name string) string { return filepath.Join(b.dir, name) }
	return append(b.epmd.env(),
		mark+"="+b.dir,
		"HOME="+b.dir,
		"TMPDIR="+b.dir,
		"RABBITMQ_NODENAME="+b.node,
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", b.ports.dist.number),
		"RABBITMQ_SCRIPTS_DIR="+in("sbin"),
		"RABBITMQ_CONF_ENV_FILE="+in("env.conf"),
		"RABBITMQ_CONFIG_FILE="+in("rabbitmq"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+in("advanced"),
		"RABBITMQ_GENERATED_CONFIG_DIR="+in("generated"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+in("enabled_plugins"),
		"RABBITMQ_PLUGINS_DIR="+in("plugins"),
		"RABBITMQ_MNESIA_BASE="+in("data"),
		"RABBITMQ_LOG_BASE="+in("log"),
		"RABBITMQ_LOG=info,-color",
		"RABBITMQ_ALLOW_INPUT=1", // else the script that starts it does not become it, and is another process to end
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2",
		"RABBITMQ_CTL_DIST_PORT_MIN=0",
		"RABBITMQ_CTL_DIST_PORT_MAX=0",
		"ERL_CRASH_DUMP_SECONDS=0",
	)
}

// boot starts the processes, and returns when the broker listens.
func (b *Broker) boot() error {
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	seen, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	control, files, err := newControl()
	if err != nil {
		return err
	}
	cmd := command(filepath.Join(b.dir, "sbin", "rabbitmq-server"), "-noshell", "-eval", controlLoop)
	cmd.Env, cmd.Dir = b.env(), b.dir
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, files
	process, err := start(cmd, "")
	for _, f := range files {
		_ = f.Close()
	}
	if err != nil {
		control.close()
		return err
	}
	b.change(func(r *run) { *r = run{process: process, control: control} })
	if _, err = control.eval("rabbit:await_startup(node(), false, 60000)", bootTimeout); err == nil {
		return nil
	}
	b.kill()
	if text, _ := os.ReadFile(b.logFile()); strings.Contains(string(text[seen:]), "eaddrinuse") {
		return fmt.Errorf("a port was taken meanwhile (eaddrinuse): %w", err)
	}
	return fmt.Errorf("%w; its log ends with:\n%s", err, tail(b.logFile(), 60))
}

// kill ends the processes of the broker at once.
func (b *Broker) kill() {
	r := b.now()
	if r.process == nil {
		return
	}
	r.process.end()
	r.control.close()
	b.change(func(r *run) { *r = run{} })
	// What Erlang starts on its own ends when it sees that Erlang is gone.
	poll(timeout, func() bool { return len(b.processes()) == 0 })
}

func (b *Broker) now() run {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current
}

func (b *Broker) change(to func(*run)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	to(&b.current)
}

// end ends everything and gives back what was taken.
func (b *Broker) end() error {
	b.kill()
	for _, p := range []*port{b.ports.amqp, b.ports.dist, b.ports.tls, b.ports.management} {
		if p != nil {
			p.give()
		}
	}
	var err error
	if left := b.processes(); len(left) > 0 {
		err = fmt.Errorf("processes %v still run", left)
	}
	return errors.Join(err, os.RemoveAll(b.dir), b.epmd.release())
}

// Stop ends the broker in order. What it keeps on disk stays.
func (b *Broker) Stop(tb testing.TB) {
	tb.Helper()
	p := b.running(tb).process
	if b.now().paused {
		b.Resume(tb)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatalf("stop broker %s: %v", b.node, err)
	}
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case <-p.exited:
	case <-late.C:
		tb.Fatalf("broker %s does not stop; its log ends with:\n%s", b.node, tail(b.logFile(), 40))
	}
	b.kill()
}

// Kill ends all processes of the broker but the port mapper with SIGKILL.
func (b *Broker) Kill(tb testing.TB) {
	tb.Helper()
	b.running(tb)
	b.kill()
}

// Run starts the broker again after Stop or Kill: on the same ports, with the same data. A member of a cluster waits for
// those that ended after it; RunAll starts several at the same time.
func (b *Broker) Run(tb testing.TB) {
	tb.Helper()
	if err := b.again(); err != nil {
		tb.Fatalf("run broker %s: %v", b.node, err)
	}
}

func (b *Broker) again() error {
	if p := b.now().process; p != nil && p.runs() {
		return errors.New("it runs already")
	}
	b.kill() // what a crash left
	return b.boot()
}

// Restart is Stop and Run.
func (b *Broker) Restart(tb testing.TB) {
	tb.Helper()
	b.Stop(tb)
	b.Run(tb)
}

// Pause stops the broker with SIGSTOP: its connections stay, and it does and answers nothing.
func (b *Broker) Pause(tb testing.TB) {
	tb.Helper()
	if err := b.running(tb).process.pause(); err != nil {
		tb.Fatalf("pause broker %s: %v", b.node, err)
	}
	b.change(func(r *run) { r.paused = true })
}

// Resume lets a paused broker go on.
func (b *Broker) Resume(tb testing.TB) {
	tb.Helper()
	if err := b.running(tb).process.resume(); err != nil {
		tb.Fatalf("resume broker %s: %v", b.node, err)
	}
	b.change(func(r *run) { r.paused = false })
}

func (b *Broker) running(tb testing.TB) run {
	tb.Helper()
	r := b.now()
	if r.process == nil {
		tb.Fatalf("broker %s does not run", b.node)
	}
	return r
}

// Node is the broker's Erlang node name.
func (b *Broker) Node() string { return b.node }

// Addr is where the broker listens, host:port; the same over restarts.
func (b *Broker) Addr() string { return b.ports.amqp.addr() }

// TLSAddr is where the broker listens for TLS; it needs the option TLS.
func (b *Broker) TLSAddr() string { return b.ports.tls.addr() }

// ManagementURL is the root of the management interface; it needs the option Management.
func (b *Broker) ManagementURL() string { return "http://" + b.ports.management.addr() }

// Log is everything that the broker has logged.
func (b *Broker) Log(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile(b.logFile())
	if err != nil {
		tb.Fatalf("read the log of broker %s: %v", b.node, err)
	}
	return string(text)
}

func (b *Broker) logFile() string { return filepath.Join(b.dir, "broker.log") }

func tail(file string, lines int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
