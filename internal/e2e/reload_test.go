package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

// skies are providers, each with an event service of its own, in one configuration that changes.
type skies struct {
	t      *testing.T
	nats   string
	file   string
	secret string
	clouds map[string]*cloud
	more   map[string]string // settings of a provider's source, besides where it is
}

func newSkies(t *testing.T, nats string, names ...string) *skies {
	dir := t.TempDir()
	s := &skies{
		t: t, nats: nats, file: filepath.Join(dir, "stackstream.yaml"), secret: filepath.Join(dir, "password"),
		clouds: map[string]*cloud{}, more: map[string]string{},
	}
	s.writeSecret("\n")
	for i, name := range names {
		s.clouds[name] = newCloud(t, seed+uint64(100+i))
		s.clouds[name].SetFaults(standin.Faults{})
	}
	return s
}

// writeSecret writes the password that all share, and what ends its line.
func (s *skies) writeSecret(end string) {
	s.t.Helper()
	if err := os.WriteFile(s.secret, []byte(standin.Admin().Password+end), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// configure writes the file with these providers and no others. One whose name begins with http is asked by the general source.
func (s *skies) configure(names ...string) {
	s.t.Helper()
	text := "nats:\n" + s.nats + "\nadmin: {listen: 127.0.0.1:0}\nstreams: {replicas: 1, budget: 1GiB, lease_ttl: 2m}\nproviders:\n"
	for _, name := range names {
		who := fmt.Sprintf("{url: %s/v3, user: admin, domain: Default, project: admin, project_domain: Default, password: %q}",
			s.clouds[name].url, standin.Admin().Password)
		if name == "rotating" {
			who = strings.Replace(who, fmt.Sprintf("password: %q", standin.Admin().Password), "password_file: "+s.secret, 1)
		}
		if !strings.HasPrefix(name, "http") {
			text += fmt.Sprintf("  %s:\n    panko:\n      auth: %s\n      every: 300ms\n      jitter: 0s\n      overlap: 10s\n%s",
				name, who, indent(s.more[name]))
			continue
		}
		text += fmt.Sprintf(`  %s:
    http:
      schedule: {every: 300ms, jitter: 0s}
      auth: {keystone: %s}
      request:
        url: %s/v2/events
        query:
          sort: generated:asc
          limit: "50"
          q.field: [all_tenants, start_timestamp]
          q.op: [eq, ge]
          q.value: ["True", '{{format(from, "2006-01-02T15:04:05.000000")}}']
      cursor: {type: time, field: generated, order: ascending, start: "2000-01-01T00:00:00Z", overlap: 10s, send: {in: none}}
      pagination: {type: marker, send: {name: marker}, from: last.message_id}
      event: {id: rec.message_id, type: rec.event_type%s}
`, name, who, s.clouds[name].url, s.more[name])
	}
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// emit has every cloud hand out events until the returned function is called.
func (s *skies) emit() (enough func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var emitting sync.WaitGroup
	for name, sky := range s.clouds {
		emitting.Go(func() {
			for n := uint64(0); ctx.Err() == nil; n++ {
				sky.emit(ctx, 40, 4*time.Second, seed+n+uint64(len(name)))
			}
		})
	}
	return func() { cancel(); emitting.Wait() }
}

// logged returns the lines of a process's log that are about a provider and have what in them.
func (p *process) logged(provider, what string) []string {
	var found []string
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, what) && strings.Contains(line, `"provider":"`+provider+`"`) {
			found = append(found, line)
		}
	}
	return found
}

// owned is the revision of a lease: it changes with its holder. 0: nobody holds it.
func owned(t *testing.T, nc *nats.Conn, lease string) uint64 {
	t.Helper()
	if entry := leaseEntry(t, nc, lease); entry != nil {
		return entry.Revision()
	}
	return 0
}

// The configuration changes under load: a provider is changed, one is removed and added again, one is added, a password is
// rotated, the file is broken and repaired. All others do not notice, and every event of every provider arrives once.
func TestConfigurationChangesUnderLoad(t *testing.T) {
	t.Parallel()
	var s *skies
	server := startServer(t, func(nats string) string {
		s = newSkies(t, nats, "steady", "changing", "leaving", "coming", "rotating", "http-mapped", "http-steady")
		s.configure("steady")
		return s.file
	})
	nc := connect(t, server.url)
	most := []string{"steady", "changing", "leaving", "rotating", "http-mapped", "http-steady"}
	s.configure(most...)
	up := start(t, "stackstream", "up", "-c", s.file)
	expectReady(t, up)
	enough := s.emit()
	defer enough()
	applied := func(what string, n int) {
		t.Helper()
		eventually(t, time.Minute, what, func() bool {
			return strings.Count(up.log.String(), "configuration applied") == n
		}, func() string { return up.ask("/readyz") })
	}
	undisturbed := map[string]int{}
	leases := map[string]uint64{}
	for _, name := range []string{"steady", "http-steady"} {
		eventually(t, time.Minute, name+" to have begun", func() bool { return len(up.logged(name, "are read back")) > 0 })
		undisturbed[name] = len(up.logged(name, ""))
		for _, lease := range []string{
			"collector.collector." + name + "." + map[string]string{"steady": "panko", "http-steady": "http"}[name],
			"normalizer.normalizer." + name,
		} {
			leases[lease] = owned(t, nc, lease)
		}
	}

	// Changed: its collector begins again, and no normalizer does.
	s.more["changing"] = "limit: 37\n"
	s.configure(most...)
	applied("one provider to be changed", 1)
	eventually(t, time.Minute, "the changed collector to be live again", func() bool {
		return len(up.logged("changing", `"state":"live","source":"panko"`)) == 2
	})
	if n := len(up.logged("changing", "normalizer state changed")); n > 2 {
		t.Errorf("the normalizer of the provider changed its state %d times", n)
	}

	// Removed and added.
	most[2] = "coming"
	s.configure(most...)
	applied("one provider to go and one to come", 2)
	eventually(t, time.Minute, "nothing to be left of the one that was removed", func() bool {
		return !strings.Contains(up.ask("/metrics"), `provider="leaving"`) && owned(t, nc, "normalizer.normalizer.leaving") == 0 &&
			owned(t, nc, "collector.collector.leaving.panko") == 0
	}, func() string { return up.ask("/metrics") })
	expectReady(t, up)

	// A changed mapping reaches the events that come after it.
	s.more["http-mapped"] = `, message: "'mapped anew'"`
	s.configure(most...)
	applied("a mapping to be changed", 3)
	eventually(t, time.Minute, "events of the new mapping", func() bool {
		found := 0
		for _, e := range dump(t, nc, event.StreamNormalized, event.NormalizedSubject("http-mapped")) {
			var body struct {
				Message string `json:"message"`
			}
			if json.Unmarshal(e.body, &body) == nil && body.Message == "mapped anew" {
				found++
			}
		}
		return found > 20
	})

	// Broken: everything goes on as it was, and it is told. A restart would make it worse.
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file, append(text, "  broken: {panko: {evry: 1s}}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the broken file to be refused", func() bool {
		ready := up.ask("/readyz")
		return strings.HasPrefix(ready, "503 ") && strings.Contains(ready, "configuration: degraded: refused, the one read at") &&
			strings.Contains(ready, s.file+":") && up.ask("/healthz") == "200 ok\n"
	}, func() string { return up.ask("/readyz") })
	eventually(t, time.Minute, "the refusal to be counted", func() bool {
		return strings.Contains(up.ask("/metrics"), `stackstream_config_reloads_total{result="refused"} 1`)
	})

	// Repaired, with the provider that was removed: it goes on where it ended. SIGHUP takes it at once.
	most = append(most, "leaving")
	s.configure(most...)
	if err := up.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	applied("the repaired file to be used", 4)
	expectReady(t, up)

	// A password that was rotated: here it is the same, written anew.
	s.writeSecret("")
	applied("the rotated password to be used", 5)

	enough()
	for name, sky := range s.clouds {
		want := sky.ids()
		subject := event.NormalizedSubject(event.Provider(name))
		eventually(t, 2*time.Minute, fmt.Sprintf("%d events of %s", len(want), name), func() bool {
			return len(dump(t, nc, event.StreamNormalized, subject)) >= len(want)
		}, func() string { return up.ask("/readyz") })
		raw := dump(t, nc, event.StreamRaw, event.RawSubjects(event.Provider(name)))
		normalized := dump(t, nc, event.StreamNormalized, subject, event.DeadSubject(event.Provider(name)))
		expect(t, "RAW of "+name, checkOnce(want, raw))
		expect(t, "RAW of "+name, checkContiguous(raw))
		expect(t, "NORMALIZED of "+name, checkOnce(want, normalized))
		expect(t, "NORMALIZED of "+name, checkContiguous(normalized))
		expect(t, "NORMALIZED after RAW of "+name, checkSameOrder(raw, normalized))
		t.Logf("%s: %d events, each once and in order", name, len(want))
	}
	for name, before := range undisturbed {
		if lines := up.logged(name, ""); len(lines) > before {
			t.Errorf("the log has more of %s, which nothing was to happen to:\n%s", name, strings.Join(lines[before:], ""))
		}
	}
	for lease, before := range leases {
		if now := owned(t, nc, lease); now != before || before == 0 {
			t.Errorf("the lease %s had revision %d and has %d", lease, before, now)
		}
	}
	if code := up.stop(t); code != 0 {
		t.Errorf("up exits with %d on SIGTERM", code)
	}
}
