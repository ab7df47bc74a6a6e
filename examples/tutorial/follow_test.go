package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"stackstream/internal/app"
	"stackstream/internal/app/cli"
	"stackstream/jetstream/embedded"
)

// The tutorial, followed: what it says that the commands say of its configurations they say.
func TestTutorialIsFollowed(t *testing.T) {
	server := httptest.NewServer(&turnstile{
		began: time.Now().Truncate(time.Second), now: time.Now, live: 100 * time.Millisecond, late: 300 * time.Millisecond, most: 1 << 20,
	})
	defer server.Close()
	page, err := os.ReadFile("../../docs/add-an-event-service.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want int, args ...string) string {
		var out bytes.Buffer
		code := cli.Stackstream(app.Stores(embedded.Open))(t.Context(), cli.Program{
			Args: args, Env: func(string) (string, bool) { return "", false }, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
		})
		if code != want {
			t.Fatalf("stackstream %s ended with %d:\n%s", strings.Join(args, " "), code, out.String())
		}
		return out.String()
	}
	says := func(out string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if !regexp.MustCompile("(?m)" + line).MatchString(out) {
				t.Errorf("nothing like %s in:\n%s", line, out)
			}
		}
	}
	write("turnstile.token", token+"\n")
	var steps []string
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), 2) {
		text := strings.ReplaceAll(m[1], "http://127.0.0.1:8085", server.URL)
		steps = append(steps, strings.ReplaceAll(text, "every: 5s, jitter: 1s", "every: 100ms, jitter: 0s"))
	}

	run(0, "new", "http", "-o", "turnstile.yaml")
	write("turnstile.yaml", steps[0])
	says(run(0, "check", "-c", "turnstile.yaml"), `http\.event\.id +warning`, `http\.pagination +warning`, `turnstile, http +ok +would serve us$`)
	says(run(0, "try", "turnstile.yaml", "--events", "1"), `-> 200, 100 records$`, `event\.type +door\.opened$`)
	write("mistaken.yaml", strings.Replace(steps[0], "rec.what", "record.what", 1))
	mistake := run(2, "check", "-c", "mistaken.yaml")
	if _, told, _ := strings.Cut(mistake, ":"); !strings.Contains(string(page), told) {
		t.Errorf("the tutorial does not show this mistake:\n%s", mistake)
	}

	write("turnstile.yaml", steps[1])
	if out := run(0, "check", "-c", "turnstile.yaml"); strings.Contains(out, "warning") {
		t.Errorf("there are warnings at the end:\n%s", out)
	}
	says(run(0, "try", "turnstile.yaml", "--pages", "3", "--events", "1"), `^300 events on the pages`, `page_token=Mjk5$`,
		`event\.message +North gate was opened for Ann Meyer$`)
	// What is recorded is only the last of it, which is quicker to play back.
	write("turnstile.yaml", strings.Replace(steps[1], "overlap: 1m", "overlap: 1m\n        start: now-10m", 1))
	says(run(0, "record", "-c", "turnstile.yaml", "-o", "turnstile.cassette.yaml", "--runs", "3"), `^run 1, .*: \d requests?, \d+ events$`)
	if cassette, err := os.ReadFile("turnstile.cassette.yaml"); err != nil || bytes.Contains(cassette, []byte(token)) {
		t.Errorf("the token is in the cassette, or there is none: %v", err)
	}
	server.Close()
	test := []string{"test", "turnstile.yaml", "--cassette", "turnstile.cassette.yaml", "--expect", "events.json", "--places", "1"}
	says(run(0, append(test, "--update")...), `^killed +1 of \d+ +none lost, none twice$`, `^ok: \d+ events$`)
	says(run(0, test...), `^ok: \d+ events$`)
}
