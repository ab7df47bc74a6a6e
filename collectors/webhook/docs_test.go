package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	appconfig "stackstream/internal/app/config"
	"stackstream/internal/mapping"
	"stackstream/normalizer/httpevent"
	"stackstream/normalizer/rules"
)

// shown are the configurations of a section of the page about this source, read as a file of an operator is.
func shown(t *testing.T, section string) []Config {
	t.Helper()
	page, err := os.ReadFile("../../docs/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	t.Chdir(t.TempDir())
	if err := os.WriteFile("github.secret", []byte("It's a Secret to Everybody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader := appconfig.Reader{Kinds: []appconfig.Kind{{
		Name: Kind, Settings: func() any { c := Default(); return &c },
		Problems: func(s any) []appconfig.Problem { return appconfig.Problems(s.(*Config).Validate()) },
	}}}
	var all []Config
	for _, m := range regexp.MustCompile("(?s)```yaml fragment\n(.*?)```").FindAllStringSubmatch(text, -1) {
		whole := "providers:\n  prod:\n    " + strings.ReplaceAll(strings.TrimSpace(m[1]), "\n", "\n    ") + "\n"
		if err := os.WriteFile("stackstream.yaml", []byte(whole), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := reader.File("stackstream.yaml")
		if err != nil {
			t.Fatalf("the page shows\n%s\n%v", whole, err)
		}
		all = append(all, *cfg.Providers["prod"].Sources[Kind].(*Config))
	}
	return all
}

// github posts what GitHub does.
type github struct {
	*rig
	verifier *verifier
}

func newGitHub(t *testing.T, cfg Config) *github {
	t.Helper()
	r := newRig(t, formatJSON, func(c *Config) { *c = cfg; c.Listen = "127.0.0.1:0" })
	v, err := newVerifier(*cfg.Auth.HMAC)
	if err != nil {
		t.Fatal(err)
	}
	return &github{r, v}
}

func (g *github) deliver(t *testing.T, name string, payload map[string]any) said {
	t.Helper()
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return g.send(t, name, "application/json", body)
}

func (g *github) send(t *testing.T, name, kind string, body []byte) said {
	t.Helper()
	return g.post(t, body, "Content-Type", kind, "User-Agent", "GitHub-Hookshot/044aadd", "X-GitHub-Event", name,
		"X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "X-GitHub-Hook-ID", "292430182",
		"X-Hub-Signature-256", fmt.Sprintf("sha256=%x", g.verifier.sign(g.verifier.keys[0], nil, body)))
}

func repository(pushed any) map[string]any {
	return map[string]any{
		"id": 186853002, "name": "orchard", "full_name": "ada/orchard", "private": false, "created_at": 1557933565,
		"updated_at": "2026-11-22T05:20:41Z", "pushed_at": pushed, "default_branch": "main", "description": strings.Repeat("about it ", 500),
	}
}

func ada() map[string]any {
	return map[string]any{"login": "ada", "id": 21031067, "type": "User", "site_admin": false}
}

// ping is what GitHub posts first.
func ping() map[string]any {
	return map[string]any{
		"zen": "Design for failure.", "hook_id": 292430182,
		"hook": map[string]any{
			"type": "Repository", "id": 292430182, "name": "web", "active": true, "events": []string{"push"},
			"config": map[string]any{"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": "https://hook.example/events"},
		},
		"repository": repository("2026-11-22T05:20:38Z"), "sender": ada(),
	}
}

const noCommit = "0000000000000000000000000000000000000000"

// commit is one; its author may be nobody who is known to GitHub.
func commit(sha string, distinct bool, author map[string]any) map[string]any {
	return map[string]any{
		"id": sha, "tree_id": "f9d2a07e9488b91af2641b26b9407fe22a451433", "distinct": distinct, "message": "mend the fence",
		"timestamp": "2026-11-22T07:20:33+02:00", "url": "https://github.com/ada/orchard/commit/" + sha, "author": author,
		"committer": map[string]any{"name": "GitHub", "email": "noreply@github.com", "username": "web-flow"}, "added": []string{},
		"removed": []string{}, "modified": []string{"fence.go"},
	}
}

func push(at int64, ref, before, after string, commits ...map[string]any) map[string]any {
	var head any
	if after != noCommit {
		head = commit(after, true, map[string]any{"name": "Ada", "email": "ada@example.org", "username": "ada"})
	}
	if commits == nil {
		commits = []map[string]any{}
	}
	return map[string]any{
		"ref": ref, "before": before, "after": after, "created": before == noCommit, "deleted": after == noCommit, "forced": false,
		"base_ref": nil, "compare": "https://github.com/ada/orchard/compare/x...y", "commits": commits, "head_commit": head,
		"repository": repository(at), "pusher": map[string]any{"name": "ada", "email": "ada@example.org"}, "sender": ada(),
	}
}

// What the page shows takes what GitHub posts: the ping, pushes, the same commits to another branch, branches that are made and removed.
func TestGitHubAsThePageShowsIt(t *testing.T) {
	pages := shown(t, "Any JSON")
	if len(pages) != 2 {
		t.Fatalf("the page shows %d configurations", len(pages))
	}
	const a, b, main, next = "a8fbb0c1", "b0a77a11", "refs/heads/main", "refs/heads/next"
	who := map[string]any{"name": "Ada", "email": "ada@example.org", "username": "ada"}
	nobody := map[string]any{"name": "Bo", "email": "bo@example.org"}
	pushes := []map[string]any{
		push(1795324833, main, "9fceb02d", b, commit(a, true, who), commit(b, true, nobody)),
		push(1795324900, next, "9fceb02d", b, commit(a, false, who), commit(b, false, nobody)),
		push(1795324901, "refs/heads/made", noCommit, b),
		push(1795324902, "refs/heads/made", b, noCommit),
		push(1795324903, main, b, "9fceb02d"), // and back
		push(1795324904, main, "9fceb02d", b, commit(a, false, who), commit(b, false, nobody)),
	}
	for i, test := range []struct {
		each  func(push map[string]any) int
		typ   string
		ids   []string
		users []string
	}{
		{
			func(map[string]any) int { return 1 }, "push", []string{
				"ada/orchard refs/heads/main b0a77a11 1795324833", "ada/orchard refs/heads/next b0a77a11 1795324900",
				"ada/orchard refs/heads/made b0a77a11 1795324901", "ada/orchard refs/heads/made " + noCommit + " 1795324902",
				"ada/orchard refs/heads/main 9fceb02d 1795324903", "ada/orchard refs/heads/main b0a77a11 1795324904",
			}, slices.Repeat([]string{"ada"}, 6),
		},
		{
			func(push map[string]any) int { return len(push["commits"].([]map[string]any)) }, "commit", []string{
				"ada/orchard refs/heads/main a8fbb0c1", "ada/orchard refs/heads/main b0a77a11", "ada/orchard refs/heads/next a8fbb0c1",
				"ada/orchard refs/heads/next b0a77a11",
			}, []string{"ada", "", "ada", ""},
		},
	} {
		t.Run(test.typ, func(t *testing.T) {
			g := newGitHub(t, pages[i])
			if got := g.deliver(t, "ping", ping()); got.status != http.StatusOK || got.N != 0 {
				t.Errorf("the ping: %v, %d accepted", got, got.N)
			}
			form, err := json.Marshal(pushes[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := g.send(t, "push", "application/x-www-form-urlencoded", []byte(url.Values{"payload": {string(form)}}.Encode())); got.status/100 != 4 {
				t.Errorf("as a form: %v", got)
			}
			for range 2 { // the second time it is delivered again by hand
				for n, push := range pushes {
					if got := g.deliver(t, "push", push); got.status != http.StatusOK || got.N != test.each(push) {
						t.Errorf("push %d: %v, %d accepted", n, got, got.N)
					}
				}
			}
			g.wantEvents(t, pages[i], test.typ, test.ids, test.users)
		})
	}
}

// wantEvents fails the test unless what is stored becomes these events.
func (g *github) wantEvents(t *testing.T, cfg Config, typ string, ids, users []string) {
	t.Helper()
	shared, err := rules.New(rules.Config{})
	if err != nil {
		t.Fatal(err)
	}
	m, mistakes := mapping.Compile(cfg.Event)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	converter := httpevent.New(shared, m)
	var gotIDs, gotUsers []string
	for _, raw := range g.log.Events(cloud) {
		got, err := converter.Convert(raw.Raw)
		if err != nil {
			t.Fatalf("%s: %v", raw.ID, err)
		}
		e, user := got.Events[0], ""
		if e.Context != nil {
			user = e.Context.UserName
		}
		gotIDs, gotUsers = append(gotIDs, e.MessageID), append(gotUsers, user)
		if at := e.Timestamp.String(); e.EventType != typ || !strings.HasPrefix(at, "2026-11-22T05:2") {
			t.Errorf("%s is %s of %s", e.MessageID, e.EventType, at)
		}
	}
	if !slices.Equal(gotIDs, ids) || !slices.Equal(gotUsers, users) {
		t.Errorf("there are\n%s, of %q, want\n%s, of %q", strings.Join(gotIDs, "\n"), gotUsers, strings.Join(ids, "\n"), users)
	}
}

// The largest push that GitHub tells of is taken, an event for each of its commits.
func TestLargestPush(t *testing.T) {
	pages := shown(t, "Any JSON")
	g := newGitHub(t, pages[1])
	var commits []map[string]any
	for i := range 2048 {
		commits = append(commits, commit(fmt.Sprintf("%040x", i), true, map[string]any{"name": "Bo", "email": "bo@example.org"}))
	}
	if got := g.deliver(t, "push", push(1795324833, "refs/heads/main", "9fceb02d", "b0a77a11", commits...)); got.status != http.StatusOK || got.N != 2048 {
		t.Errorf("it is answered with %v, %d accepted", got, got.N)
	}
	for _, c := range pages {
		for _, p := range c.Doubts() {
			if p.Field != "auth.hmac.timestamp_header" {
				t.Errorf("check warns: %v", p)
			}
		}
	}
}
