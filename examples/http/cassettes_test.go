package http_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"stackstream/internal/app"
	"stackstream/internal/app/author"
	"stackstream/internal/app/cli"
	"stackstream/internal/app/config"
	"stackstream/internal/standins"
	"stackstream/jetstream/embedded"
)

var record = flag.Bool("record", false, "record the conversations with the stand-ins anew, and what comes of them")

// Each example's recorded conversation plays back, as it was and with faults, and gives what is expected.
func TestCassettes(t *testing.T) {
	for _, s := range standins.All() {
		t.Run(s.Name, func(t *testing.T) {
			dir := filepath.Join("testdata", s.Name)
			args := []string{
				"test", s.Name + ".yaml", "--cassette", filepath.Join(dir, "cassette.yaml"), "--expect", filepath.Join(dir,
					"cassette.events.json"),
				"--places", "2",
			}
			if *record {
				conversation(t, s, filepath.Join(dir, "cassette.yaml"))
				args = append(args, "--update")
			}
			var out, said bytes.Buffer
			code := cli.Stackstream(app.Stores(embedded.Open))(t.Context(), cli.Program{
				Args: args, Env: func(string) (string, bool) { return "", false }, Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &said,
			})
			if code != 0 {
				t.Errorf("exit %d\n%s\n%s", code, &out, &said)
			}
		})
	}
}

// conversation records three runs of an example with its stand-in, which gets more between them. The stand-in is the proxy through
// which everything goes, so that it answers for the hosts that the example names.
func conversation(t *testing.T, s *standins.Service, path string) {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	provider, settings := settings(t, s)
	plain(reflect.ValueOf(settings).Elem())
	settings.Request.HTTP.Proxy = server.URL
	settings.Schedule.Every = 1500 * time.Millisecond
	cfg := config.Default()
	cfg.Providers = config.Providers{provider: {Events: config.EventsAuto, Sources: map[string]any{"http": settings}}}
	subject, err := author.Choose(cfg, provider)
	if err != nil {
		t.Fatal(err)
	}
	subject.Version = "test"
	for i := range 12 {
		at := time.Now().Add(-s.Cutoff - time.Duration(12-i/2*2)*100*time.Second)
		s.Put(at, at)
	}
	c, err := subject.Record(t.Context(), 3, func(int, author.Recorded) {
		at := time.Now().Add(-s.Cutoff - time.Second)
		s.Put(at, at)
		s.Put(at.Add(time.Millisecond), at)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.Save(path, true); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Through a proxy it was http.
	text := strings.ReplaceAll(string(data), "http://", "https://")
	text = fmt.Sprintf("# A conversation with a stand-in for the service, written from its documentation (internal/standins), and not\n"+
		"# with the service itself. Made by: go test ./examples/http -run 'TestCassettes/%s$' -record\n", s.Name) + text
	for secret, value := range s.Secrets {
		if strings.Contains(text, value) {
			t.Errorf("the cassette has the secret %s", secret)
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// plain makes http of every https that is asked, which a proxy can answer for.
func plain(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			plain(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Field(i)
			if f.Kind() == reflect.String && f.CanSet() && strings.HasSuffix(v.Type().Field(i).Name, "URL") {
				f.SetString(strings.Replace(f.String(), "https://", "http://", 1))
			} else if f.CanSet() {
				plain(f)
			}
		}
	}
}
