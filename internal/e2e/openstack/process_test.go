//go:build openstack

package openstack

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"stackstream/internal/openstacktest/child"
)

// bin is the folder of our programs, with the race detector.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stackstream-openstack-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		return m.Run()
	}())
}

// build makes the programs.
func build() error {
	out, err := exec.Command("go", "build", "-race", "-o", bin, "stackstream/cmd/collector", "stackstream/cmd/normalizer").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// program is one of ours, which is killed and started again as often as the test likes.
type program struct {
	*child.Process
	name, log string
	args      []string
	from      int // where in the log the output of the running process begins
}

// run starts a program until the test ends.
func run(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{name: name, log: filepath.Join(t.TempDir(), name+".log"), args: args}
	t.Cleanup(func() {
		if strings.Contains(string(p.Output()), "DATA RACE") {
			t.Errorf("%s has a data race", name)
		}
	})
	p.start(t)
	return p
}

func (p *program) start(t *testing.T) {
	t.Helper()
	if before, err := os.Stat(p.log); err == nil {
		p.from = int(before.Size())
	}
	p.Process = child.Start(t, p.name, p.log, exec.Command(filepath.Join(bin, p.name), p.args...))
}

// restart kills the program and starts it again.
func (p *program) restart(t *testing.T) {
	t.Helper()
	p.Kill()
	p.start(t)
}

var listens = regexp.MustCompile(`"address":"([^"]+)"[^\n]*"admin server listens"`)

// trouble is what /readyz says is wrong, "" if the program is ready.
func (p *program) trouble() string {
	at := listens.FindSubmatch(p.Output()[p.from:])
	if at == nil {
		return "no admin server yet"
	}
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://" + string(at[1]) + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return err.Error()
	case answer.StatusCode == http.StatusOK:
		return ""
	}
	return string(text)
}

// ready waits until the program says that nothing is wrong.
func (p *program) ready(t *testing.T) {
	t.Helper()
	eventually(t, 2*time.Minute, p.name+" to be ready", func() bool { return p.trouble() == "" },
		func() string { return p.trouble() })
}

// troubled waits until the program says that something is wrong.
func (p *program) troubled(t *testing.T) {
	t.Helper()
	eventually(t, 2*time.Minute, p.name+" to say that something is wrong", func() bool { return p.trouble() != "" },
		func() string { return "it says that nothing is" })
}

// eventually waits until check says true, and fails the test if it does not within limit, with what explain says then.
func eventually(t *testing.T, limit time.Duration, what string, check func() bool, explain func() string) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-deadline.C:
			t.Fatalf("waited %v for %s: %s", limit, what, explain())
		case <-tick.C:
		}
	}
}
