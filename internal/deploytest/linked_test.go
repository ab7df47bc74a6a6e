package deploytest

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is in a program is in its memory, too, as far as it is touched: a container that collects has no server in it, nor what only
// reads JSON in a way of its own or writes logs nobody sees.
func TestProgramsHaveWhatTheyNeed(t *testing.T) {
	const server = "github.com/nats-io/nats-server/v2/server"
	for program, unwanted := range map[string][]string{
		"collector": {server}, "normalizer": {server}, "stackstream": nil,
	} {
		list := exec.Command("go", "list", "-deps", "stackstream/cmd/"+program)
		list.Dir = root
		out, err := list.Output()
		if err != nil {
			t.Fatalf("%v: %v", list, err)
		}
		unwanted = append(unwanted, "github.com/json-iterator/go", "go.uber.org/zap")
		for pkg := range strings.Lines(string(out)) {
			if pkg = strings.TrimSpace(pkg); slices.Contains(unwanted, pkg) {
				t.Errorf("%s has %s in it", program, pkg)
			}
		}
	}
}

// As soon as something calls methods by names that are made while it runs, as templates do, the linker keeps every exported method of
// every type, and the programs are larger by a fifth. One that nothing calls shows it.
func TestMethodsThatNobodyCallsAreLeftOut(t *testing.T) {
	const nobodys = "github.com/spf13/cobra.(*Command).SetUsageTemplate"
	for _, program := range []string{"collector", "normalizer", "stackstream"} {
		out, err := exec.Command("go", "tool", "nm", filepath.Join(bin, program)).Output()
		if err != nil {
			t.Fatalf("go tool nm %s: %v", program, err)
		}
		if !strings.Contains(string(out), "stackstream/internal/app/cli.") {
			t.Fatalf("%s has no symbols", program)
		}
		if strings.Contains(string(out), nobodys) {
			t.Errorf("%s has %s in it, which nothing calls. What keeps it is found with go build -ldflags=-dumpdep, behind <ReflectMethod>",
				program, nobodys)
		}
	}
}
