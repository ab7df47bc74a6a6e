package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// secrets reads every file that was generated.
func secrets(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range files {
		found[f.Name()] = read(t, filepath.Join(dir, "secrets", f.Name()))
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func TestSecretsAreMadeOnceAndKept(t *testing.T) {
	dir := generate(t)
	first := secrets(t, dir)
	generateIn(t, dir)
	if diff := cmp.Diff(first, secrets(t, dir)); diff != "" {
		t.Errorf("the second run changed files (-first +second):\n%s", diff)
	}
	seen := map[string]string{}
	for name, text := range first {
		if !strings.HasSuffix(name, ".password") {
			continue
		}
		if !regexp.MustCompile(`^[0-9a-f]{48}\n$`).MatchString(text) {
			t.Errorf("%s is not 48 hexadecimal digits", name)
		}
		if other, twice := seen[text]; twice {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[text] = name
	}
	remove(t, filepath.Join(dir, "secrets", "nats-collector.password"))
	generateIn(t, dir)
	again := secrets(t, dir)
	if again["nats-collector.password"] == first["nats-collector.password"] {
		t.Error("a removed password came back")
	}
	if !strings.Contains(again["nats-users.conf"], strings.TrimSpace(again["nats-collector.password"])) {
		t.Error("nats-users.conf does not have the new password")
	}
	if again["nats-admin.password"] != first["nats-admin.password"] {
		t.Error("another password changed")
	}
}

func TestSecretsAreForTheirOwner(t *testing.T) {
	dir := generate(t)
	info, err := os.Stat(filepath.Join(dir, "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("the directory has the mode %o, want 700", got)
	}
	for name := range secrets(t, dir) {
		info, err := os.Stat(filepath.Join(dir, "secrets", name))
		if err != nil {
			t.Fatal(err)
		}
		// Containers get single files, and run as users of their own.
		if got := info.Mode().Perm(); got != 0o444 {
			t.Errorf("%s has the mode %o, want 444", name, got)
		}
	}
}

func TestSecretsNeedNoOpenSSL(t *testing.T) {
	path := t.TempDir()
	for _, tool := range []string{"sh", "cat", "chmod", "dd", "dirname", "mkdir", "mv", "od", "tr"} {
		file, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(file, filepath.Join(path, tool)); err != nil {
			t.Fatal(err)
		}
	}
	dir := generate(t)
	if err := os.RemoveAll(filepath.Join(dir, "secrets")); err != nil {
		t.Fatal(err)
	}
	generateIn(t, dir, "PATH="+path)
	if got := secrets(t, dir)["nats-admin.password"]; !regexp.MustCompile(`^[0-9a-f]{48}\n$`).MatchString(got) {
		t.Errorf("nats-admin.password has %d characters that are not 48 hexadecimal digits", len(got))
	}
}

func TestSecretsAreNotCommitted(t *testing.T) {
	for file, want := range map[string]string{".gitignore": "/deploy/secrets/", ".dockerignore": "deploy/secrets"} {
		if !strings.Contains("\n"+read(t, filepath.Join(root, file)), "\n"+want+"\n") {
			t.Errorf("%s has no line %s", file, want)
		}
	}
}
