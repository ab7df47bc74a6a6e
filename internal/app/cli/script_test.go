package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"stackstream/internal/app"
	"stackstream/internal/openstack/standin"
	"stackstream/internal/rabbitmqtest"
	"stackstream/jetstream/embedded"
)

var update = flag.Bool("update", false, "write the files that scripts compare with anew")

var programs = map[string]func(context.Context, Program) int{
	"stackstream": Stackstream(app.Stores(embedded.Open)), "collector": Collector, "normalizer": Normalizer,
}

func TestMain(m *testing.M) {
	commands := map[string]func(){}
	for name, program := range programs {
		commands[name] = func() { os.Exit(Main(program)) }
	}
	testscript.Main(brokers{m}, commands)
}

// brokers ends the broker that the scripts share.
type brokers struct{ *testing.M }

func (b brokers) Run() int { return rabbitmqtest.Main(b.M) }

// patience is how long a script waits for something that must happen.
const patience = 60 * time.Second

// TestScripts runs the scripts in testdata. They read as documentation of the commands. Besides testscript's own
// commands they know:
//
//	cloud [EVENTS [RATE]]    a stand-in for an OpenStack cloud with so many events and so many more a second; it is at
//	                         $CLOUD, its Keystone at $KEYSTONE. "cloud ceilometer …" has Ceilometer's API in place of Panko's,
//	                         "cloud moved" sends whoever asks Ceilometer on to Panko
//	service [COUNT [PAGING [descending]]]
//	                         a stand-in for an event service at $SERVICE that knows one by what is in the file token, with so
//	                         many events (25), a second apart, in pages of 10 (marker)
//	unserve                  ends it
//	fill FILE               writes what stands between < and > in place of it
//	broker EXCHANGE…         a virtual host of a RabbitMQ broker, $VHOST of $BROKER, and $BROKER_USER, who may do there what
//	                         docs/amqp.md says with these exchanges. $BROKER_PASSWORD is in the file broker.password
//	notify EXCHANGE COUNT    sends so many notifications as a service would; 0 only makes the exchange
//	lose EXCHANGE            deletes an exchange
//	nats [bare]              a NATS server at $NATS_URL, with the streams unless bare
//	halfway DIR [STORE]      restores the backup in DIR there, or into the directory of an embedded server, but for the end;
//	                         ! has it killed before it changes anything
//	killed N PROGRAM ARG…    runs a program that is killed before it sends $NATS_URL more than N messages that change something
//	start NAME PROGRAM ARG…  runs a program beside the script
//	await NAME REGEXP [VAR…] waits until its standard output or error matches, and keeps the groups in variables
//	end NAME [CODE]          interrupts it and checks its exit code, 0 unless given
//	hangup NAME              sends it SIGHUP
//	until REGEXP PROGRAM ARG…
//	                         runs a program until its standard output matches; ! waits until it does not
//	head N PROGRAM ARG…      runs a program whose output is read for N lines only; it must end well
//	exits CODE PROGRAM ARG…  runs a program to its end and checks its exit code; stdout and stderr look at its output
//	get URL STATUS REGEXP    asks until the answer has the status and matches
//	post URL FILE STATUS REGEXP [HEADER VALUE]…
//	                         posts a file until the answer has the status and matches
//	events FILE COUNT        checks that a file has so many canonical events, each of its own id
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("STAND_IN_PASSWORD", standin.Admin().Password)
			env.Values[served{}] = &serving{}
			env.Values[running{}] = map[string]*process{}
			env.Values[owner{}] = env.T().(testing.TB)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cloud": startCloud, "service": startService, "unserve": endService, "fill": fillIn, "broker": useBroker, "notify": notify, "lose": lose, "nats": startNATS, "halfway": restoreHalfway, "start": startProgram, "await": await, "end": endProgram,
			"get": get, "post": post, "events": countEvents, "exits": exits, "head": head, "hangup": hangUp, "until": until, "killed": killed,
		},
	})
}

type (
	running struct{} // keys of Env.Values
	owner   struct{}
)

// serving is the service of a script.
// process is a program that runs beside its script, in a process of its own.
type process struct {
	stdout, stderr output
	cmd            *exec.Cmd
	ended          chan struct{} // closed once it has ended
}

// output is what a program has written so far.
type output struct {
	mu   sync.Mutex
	data bytes.Buffer
	more chan struct{} // replaced and closed with every write
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.data.Write(p)
}

// read returns everything so far, and what is closed when there is more.
func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more == nil {
		o.more = make(chan struct{})
	}
	return o.data.String(), o.more
}

// passedOn are the variables of the script's environment that a started program sees.
var passedOn = []string{"PATH", "HOME", "TMPDIR", "CLOUD", "KEYSTONE", "SERVICE", "NATS_URL", "STAND_IN_PASSWORD", "PASSWORD", "ADMIN", "BROKER",
	"VHOST", "BROKER_USER"}

// command is a program in the directory and with the environment of the script.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	// testscript puts the directory with the programs first.
	bin, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	cmd := exec.Command(filepath.Join(bin, args[0]), args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range passedOn {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return cmd
}

func startProgram(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || programs[args[1]] == nil {
		ts.Fatalf("usage: start NAME PROGRAM ARG…")
	}
	p := &process{cmd: command(ts, args[1:]), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	ts.Check(p.cmd.Start())
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // stop looks at the exit code
	}()
	ts.Value(running{}).(map[string]*process)[args[0]] = p
	ts.Defer(func() {
		_ = p.cmd.Process.Kill() // where the script failed before its stop
		<-p.ended
		if out, _ := p.stderr.read(); out != "" {
			ts.Logf("[stderr of %s]\n%s", args[0], out)
		}
	})
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: await NAME REGEXP [VAR…]")
	}
	p := ts.Value(running{}).(map[string]*process)[args[0]]
	if p == nil {
		ts.Fatalf("%s was not started", args[0])
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		stdout, moreOut := p.stdout.read()
		stderr, moreErr := p.stderr.read()
		for _, text := range []string{stdout, stderr} {
			if m := pattern.FindStringSubmatch(text); m != nil {
				for i, name := range args[2:] {
					ts.Setenv(name, m[i+1])
				}
				return
			}
		}
		select {
		case <-moreOut:
			continue
		case <-moreErr:
			continue
		case <-late.C:
		case <-p.ended:
			// What it said last may have come since both were read.
			out, _ := p.stdout.read()
			if err, _ := p.stderr.read(); out != stdout || err != stderr {
				continue
			}
		}
		ts.Fatalf("%s never said %s; it said:\n%s%s", args[0], args[1], stdout, stderr)
	}
}

func endProgram(ts *testscript.TestScript, neg bool, args []string) {
	p := ts.Value(running{}).(map[string]*process)[args[0]]
	want := exitOK
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		want = n
	}
	select {
	case <-p.ended:
		ts.Fatalf("%s has ended by itself with %d", args[0], p.cmd.ProcessState.ExitCode())
	default:
	}
	// Twice, as timeout(1) does: the process, and then its group. Stopped meanwhile, it gets both at once, however busy the machine
	// is: a signal that comes later ends it in bad order.
	for _, s := range []os.Signal{syscall.SIGSTOP, os.Interrupt, syscall.SIGTERM, syscall.SIGCONT} {
		if err := p.cmd.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
			ts.Check(err)
		}
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		ts.Fatalf("%s does not end", args[0])
	}
	if code := p.cmd.ProcessState.ExitCode(); code != want {
		ts.Fatalf("%s ended with %d, want %d", args[0], code, want)
	}
	stdout, _ := p.stdout.read()
	stderr, _ := p.stderr.read()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".stdout"), []byte(stdout), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".stderr"), []byte(stderr), 0o600))
}

func hangUp(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Value(running{}).(map[string]*process)[args[0]].cmd.Process.Signal(syscall.SIGHUP))
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || programs[args[1]] == nil {
		ts.Fatalf("usage: until REGEXP PROGRAM ARG…")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; {
		out, err := command(ts, args[1:]).Output()
		if err == nil && pattern.Match(out) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s printed, %v:\n%s", strings.Join(args[1:], " "), err, out)
		}
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := exitOK
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

func head(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || programs[args[1]] == nil {
		ts.Fatalf("usage: head N PROGRAM ARG…")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	cmd := command(ts, args[1:])
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := bufio.NewScanner(pipe)
	for range n {
		if !lines.Scan() {
			ts.Fatalf("%s printed fewer than %d lines: %v\n%s", args[1], n, cmd.Wait(), stderr.String())
		}
	}
	ts.Check(pipe.Close())
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("%s: %v\n%s", strings.Join(args[1:], " "), err, stderr.String())
	}
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: get URL STATUS REGEXP")
	}
	pattern, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	deadline := time.Now().Add(patience)
	for {
		status, body, err := fetch(args[0])
		if err == nil && strconv.Itoa(status) == args[1] && pattern.MatchString(body) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s answered %d, %v:\n%s", args[0], status, err, body)
		}
	}
}

func fetch(url string) (int, string, error) {
	answer, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), errors.Join(err, answer.Body.Close())
}

func countEvents(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: events FILE COUNT")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	ids := map[string]bool{}
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "\n")
	for i, line := range lines {
		var e struct {
			MessageID string          `json:"message_id"`
			EventType string          `json:"event_type"`
			Timestamp time.Time       `json:"timestamp"`
			Payload   json.RawMessage `json:"payload"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			ts.Fatalf("line %d is no event: %v", i+1, err)
		}
		if e.MessageID == "" || e.EventType == "" || e.Timestamp.IsZero() || len(e.Payload) == 0 {
			ts.Fatalf("line %d lacks what every event has: %s", i+1, line)
		}
		ids[e.MessageID] = true
	}
	if len(lines) != want || len(ids) != want {
		ts.Fatalf("%s has %d events with %d ids, want %d", args[0], len(lines), len(ids), want)
	}
}
