package httppoll

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/mapping"
	"stackstream/normalizer/httpevent"
	"stackstream/normalizer/normalizertest"
)

// pageOf is an answer with records of about 1.5 kB, as audit logs have them.
func pageOf(n int) string {
	var b strings.Builder
	b.WriteString(`{"events": [`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		_, _ = fmt.Fprintf(&b, `{"id": "3f0c2c1e-%08d", "at": "2026-01-02T03:04:05.%06dZ", "type": "user.session.start", "severity": "INFO",
 "actor": {"id": "00u%d", "type": "User", "name": "Ann Example", "login": "ann@example.org", "roles": ["admin", "ops", "audit"]},
 "client": {"agent": {"raw": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "os": "Linux"}, "ip": "192.0.2.%d",
  "where": {"city": "Bern", "country": "CH", "at": {"lat": 46.948, "lon": 7.4474}}},
 "outcome": {"result": "SUCCESS", "reason": null}, "target": [{"id": "0oa%d", "type": "App", "name": "console"}, {"id": "0ob", "type": "Rule"}],
 "transaction": {"id": "t-%d", "type": "WEB", "detail": {}}, "debug": {"uri": "/api/v1/authn", "risk": "{level=LOW}", "hash": %q, "text": %q}}`,
			i, i, i, i%256, i, i, strings.Repeat("0123456789abcdef", 4), strings.Repeat("A line of text that says what was done. ", 15))
	}
	b.WriteString(`]}`)
	return b.String()
}

func benched(b *testing.B) (*walk, *answer, string) {
	b.Helper()
	cfg := configured("http://service", newService())
	cfg.Records.Filter = `rec.type != "noise" && rec.outcome.result == "SUCCESS"`
	cfg.Event = mapping.Config{
		ID: "rec.id", Type: "rec.type", Time: "rec.at", Publisher: "rec.client.agent.os", Priority: "rec.severity", Message: "rec.?message",
		Context: mapping.Context{RequestID: "rec.transaction.id", UserID: "rec.actor.id", UserName: "rec.actor.name"},
		Targets: map[string]string{"app": "rec.target[0].id"},
	}
	src, err := newSource(cfg, Options{Format: "http/test"}, http.DefaultClient)
	if err != nil {
		b.Fatal(err)
	}
	w := src.newWalk("", &position{}, time.Now().Add(time.Hour))
	w.hand = func(context.Context, []event.Raw, int) error { return nil }
	return w, &answer{header: http.Header{}}, pageOf(1000)
}

// cpu is the time that the processors have worked for this process, for the collection of garbage, too. A busy machine makes a page
// take longer, but not much more of that.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func reportCPU(b *testing.B, began time.Duration) {
	b.Helper()
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// BenchmarkPage is a page of 1,000 records that is mapped: the answer taken apart, each record found to be JSON, filtered, identified
// and given its type and its place in the cursor's order, and copied out of the page for the batch that is handed over.
func BenchmarkPage(b *testing.B) {
	w, a, body := benched(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	began := cpu(b)
	defer func() { reportCPU(b, began) }()
	for b.Loop() {
		var err error
		if a.page, err = w.decoder.Decode([]byte(body)); err != nil {
			b.Fatal(err)
		}
		w.restart()
		w.items(a)
		if ids, err := w.take(b.Context(), a); err != nil || len(ids) != 1000 {
			b.Fatal(len(ids), err)
		}
	}
}

// BenchmarkPageToEvents is BenchmarkPage and what the normalizer does with it later, in a process of its own: each record is parsed
// again, what is secret in it is replaced, and it becomes a canonical event with all that the mapping and the rules tell of it.
func BenchmarkPageToEvents(b *testing.B) {
	w, a, body := benched(b)
	converter := httpevent.New(normalizertest.Rules(b), w.programs.mapping)
	converted := 0
	w.hand = func(_ context.Context, events []event.Raw, _ int) error {
		for i := range events {
			if _, err := converter.Convert(events[i]); err != nil {
				return err
			}
			converted++
		}
		return nil
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	began := cpu(b)
	defer func() { reportCPU(b, began) }()
	for b.Loop() {
		var err error
		if a.page, err = w.decoder.Decode([]byte(body)); err != nil {
			b.Fatal(err)
		}
		w.restart()
		w.items(a)
		if _, err := w.take(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
	if converted == 0 || converted%1000 != 0 {
		b.Fatal(converted)
	}
}
