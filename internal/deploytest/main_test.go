package deploytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// root is the project's root, seen from here.
const root = "../.."

// bin is the folder of the binaries under test.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stackstream-deploy-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		for _, pkg := range []string{
			"stackstream/cmd/collector", "stackstream/cmd/normalizer", "stackstream/cmd/stackstream",
			"github.com/nats-io/nats-server/v2",
		} {
			build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), pkg)
			build.Stderr = os.Stderr
			if err := build.Run(); err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n", pkg, err)
				return 1
			}
		}
		bin = dir
		return m.Run()
	}())
}

// generate copies the deploy folder to a temporary one, runs the documented command there and returns the copy.
func generate(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "deploy")
	for _, name := range []string{"generate-secrets.sh", "nats/nats.conf", "rabbitmq/rabbitmq.conf", "stackstream.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	generateIn(t, dir)
	return dir
}

func generateIn(t *testing.T, dir string, env ...string) {
	t.Helper()
	cmd := exec.Command("sh", filepath.Join(dir, "generate-secrets.sh"))
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("generate-secrets.sh: %v\n%s", err, out)
	}
}
