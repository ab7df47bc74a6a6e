package event_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stackstream/event"
)

func TestSecretIsNeverShown(t *testing.T) {
	config := struct {
		Password event.Secret
		Token    *event.Secret
		Empty    event.Secret
	}{Password: "hunter2", Token: new(event.Secret("hunter2"))}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		got := fmt.Sprintf(verb, config.Password) + fmt.Sprintf(verb, config)
		if !strings.Contains(got, "redacted") || strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") {
			t.Errorf("%s: %s", verb, got)
		}
	}
	got, err := json.Marshal(config)
	if err != nil || string(got) != `{"Password":"redacted","Token":"redacted","Empty":""}` {
		t.Errorf("JSON %s, %v", got, err)
	}
	if string(config.Password) != "hunter2" || config.Empty.String() != "" {
		t.Error("the secret itself is lost")
	}
}

func TestSecretFromAFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{"": "hunter2", write("a", "from a file\r\n"): "from a file", write("b", " x "): " x "} {
		if got, err := event.Secret("hunter2").OrFile("password_file", path); err != nil || got != want {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
	for path, want := range map[string]string{write("c", "\n"): "is empty", dir + "/absent": "no such file"} {
		_, err := event.Secret("").OrFile("password_file", path)
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "read password_file") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", path, err)
		}
	}
}
