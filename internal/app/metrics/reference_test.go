package metrics

import (
	"bytes"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"stackstream/collectors"
	"stackstream/collectors/amqp"
	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/jetstream"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// The committed page is what the code makes.
func TestGenerated(t *testing.T) {
	const file = "../../../docs/metrics.md"
	got, err := New(admin.NewBoard(), "v1").Reference()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/metrics.md is not what the code says (%v): run make generate", err)
	}
}

// everything makes each metric have a series for the provider, and hands to the hooks whatever a source could choose.
func everything(m *Metrics, p event.Provider, chosen ...string) {
	m.Expect(p)
	now := time.Now()
	m.Status(event.Status{Role: admin.RoleNATS, State: event.StateLive})
	m.ConfigInUse(now, false)
	m.NATS().Connected(nil)
	m.Store().Free(1, 2)
	m.Stream(jetstream.StreamState{Name: event.StreamRaw, Messages: 1, Bytes: 1, MaxBytes: 2, MaxAge: time.Hour, Oldest: now, Replicas: 1, Current: 1})
	m.Subscribers([]jetstream.Subscriber{{Durable: "inventory", Pending: 1, AcknowledgedAt: now}})
	n := m.Normalizer()
	n.Status(event.Status{Role: event.RoleNormalizer, Provider: p, State: event.StateLive})
	n.Normalized(p, 1, 1, time.Second)
	n.Lag(p, time.Second)
	n.Redacted(p, 1)
	n.Skipped(p, 1)
	n.Fenced(p)
	posted := m.Webhook(p)
	posted.Answered("", time.Second)
	posted.Pending(1, 1)
	posted.Connections(1)
	posted.Remembered(1)
	posted.Again()
	for _, text := range chosen {
		posted.Answered(text, time.Second)
	}
	for _, s := range []event.Source{"amqp", "backfill-1", "backfill-2"} {
		c := m.Collectors()
		c.Status(event.Status{Role: event.RoleCollector, Provider: p, Source: s, State: event.StateLive})
		c.Committed(p, s, collectors.Commit{Events: 1, Progress: event.Progress{Watermark: now, Newest: now}})
		c.Duplicates(p, s, 1)
		c.Filtered(p, s, 1)
		c.Hashed(p, s, 1)
		for k := event.Kind(0); k <= event.Expired; k++ {
			c.Failed(p, s, k)
		}
		n.SequenceGap(p, s, 1, 2)
		m.Watermarks([]event.Watermark{{
			Provider: p, Source: s, Collected: 2, Normalized: 1, LagEvents: 1, Lag: time.Second, NormalizedTime: now, WrittenAt: now,
		}}, "")
		for _, role := range []event.Role{event.RoleCollector, event.RoleNormalizer} {
			w := m.Writer(role, p)
			for k := event.Kind(0); k <= event.Expired; k++ {
				w.Result(k, 1, 1, time.Second)
			}
			w.Reread()
			w.Waiting(nil)
		}
		h, a := m.HTTP(p, s), m.AMQP(p, s)
		h.Page(1, 1, time.Second)
		a.Connected("rabbit")
		a.Queue(1, 1)
		a.Prefetch(1)
		a.Missing(1)
		a.Blocked(true)
		a.Skew(time.Second)
		a.Redelivered(1)
		a.Unknown(1)
		a.Probe(time.Second)
		l := m.AMQP1(p, s)
		l.Links(1, 1)
		l.Held(1, 1)
		l.Redelivered(1)
		l.Presettled(1)
		l.Lost()
		l.Probe(time.Second)
		for _, text := range chosen {
			l.Rejected(text, 1)
			h.Retry(text)
			h.Odd(text, 1)
			a.Dropped(text, 1)
			a.Gap(amqp.Gap{What: text})
			n.DeadLetter(p, event.Reason(text))
		}
	}
}

func gather(t *testing.T, m *Metrics) []*dto.MetricFamily {
	t.Helper()
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// What a process shows is what the page lists: names, types and labels.
func TestThePageListsWhatIsShown(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	everything(m, "prod", "x")
	shown := map[string]*dto.MetricFamily{}
	for _, f := range gather(t, m) {
		if strings.HasPrefix(f.GetName(), prefix) {
			shown[f.GetName()] = f
		}
	}
	for _, d := range m.List() {
		f := shown[d.Name]
		if f == nil {
			t.Errorf("%s is listed, and not shown by a process in which everything happens", d.Name)
			continue
		}
		delete(shown, d.Name)
		if kind := strings.ToLower(f.GetType().String()); kind != d.Type || f.GetHelp() != d.Help {
			t.Errorf("%s is a %s: %q; listed is a %s: %q", d.Name, kind, f.GetHelp(), d.Type, d.Help)
		}
		var have []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			have = append(have, l.GetName())
		}
		if !slices.Equal(have, d.Labels) {
			t.Errorf("%s has the labels %v, listed are %v", d.Name, have, d.Labels)
		}
	}
	for name := range shown {
		t.Errorf("%s is shown and not listed", name)
	}
}

func TestNamesAreByConvention(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	everything(m, "prod", "x")
	problems, err := promlint.NewWithMetricFamilies(gather(t, m)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// seriesOf counts the series of a provider, each bucket of a histogram as one.
func seriesOf(t *testing.T, m *Metrics, p event.Provider) (series, families int) {
	t.Helper()
	for _, f := range gather(t, m) {
		before := series
		for _, metric := range f.GetMetric() {
			if !slices.ContainsFunc(metric.GetLabel(), func(l *dto.LabelPair) bool {
				return l.GetName() == provider && l.GetValue() == string(p)
			}) {
				continue
			}
			if h := metric.GetHistogram(); h != nil {
				series += len(h.GetBucket()) + 3 // +Inf, sum and count
			} else {
				series++
			}
		}
		if series > before {
			families++
		}
	}
	return series, families
}

// The series of a provider are bounded: what its sources send, and how many jobs it had, makes none.
func TestSeriesOfAProviderAreBounded(t *testing.T) {
	// All there can be for a source that consumes from RabbitMQ, one that receives over AMQP 1.0, one that is asked over HTTP and one that
	// is posted to at once, and for the backfills.
	const most = 286
	m := New(admin.NewBoard(), "v1")
	chosen := []string{"maxlen", "error", "no-id", "malformed", "exchange nova"}
	everything(m, "prod", chosen...)
	for i := range 200 {
		chosen = append(chosen, strings.Repeat("x", i), "exchange "+strings.Repeat("y", i))
	}
	everything(m, "prod", chosen...)
	before, _ := seriesOf(t, m, "prod")
	for i := range 50 {
		s := event.Source("backfill-job-" + strings.Repeat("z", i))
		m.Watermarks([]event.Watermark{{Provider: "prod", Source: s, LagEvents: 1}}, "panko")
		m.Collectors().Committed("prod", s, collectors.Commit{Events: 1})
	}
	everything(m, "prod", chosen...)
	series, families := seriesOf(t, m, "prod")
	if series != before || series > most {
		t.Errorf("a provider has %d series, then %d; want the same and at most %d", before, series, most)
	}
	if families < 30 {
		t.Errorf("only %d metrics have series of the provider: something is not looked at", families)
	}
	t.Logf("%d series of %d metrics", series, families)
}

// Anybody who may read can make durables: they are shown up to a number, and those that are gone are not shown.
func TestSubscribersAreBounded(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	var list []jetstream.Subscriber
	for i := range 250 {
		list = append(list, jetstream.Subscriber{
			Durable: "d" + string(rune('a'+i/26)) + string(rune('a'+i%26)), Pending: 2, Unacknowledged: 1, AcknowledgedAt: time.Unix(1_800_000_000, 0),
		})
	}
	m.Subscribers(list)
	for name, want := range map[string]float64{"daa": 3, other: 3 * 150} {
		if got := value(t, m, "stackstream_subscriber_lag_events", name); got != want {
			t.Errorf("the lag of %s is %v, want %v", name, got, want)
		}
	}
	if got := value(t, m, "stackstream_subscriber_acknowledged_time_seconds", "daa"); got != 1_800_000_000 {
		t.Errorf("it acknowledged at %v", got)
	}
	if _, found := find(t, m, "stackstream_subscriber_acknowledged_time_seconds", other); found {
		t.Error("many durables have one time")
	}
	m.Subscribers(list[:1])
	if got := value(t, m, "stackstream_subscribers"); got != 1 {
		t.Errorf("%v subscribers, want 1", got)
	}
	if _, found := find(t, m, "stackstream_subscriber_lag_events", other); found {
		t.Error("durables that are gone are shown")
	}
}

func TestStreams(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	at := time.Unix(1_800_000_000, 0)
	m.Stream(jetstream.StreamState{
		Name: "EVENTS_RAW", Messages: 7, Bytes: 700, MaxBytes: 1000, MaxAge: time.Hour, Oldest: at, Replicas: 3, Current: 2,
	})
	for name, want := range map[string]float64{
		"messages": 7, "bytes": 700, "max_bytes": 1000, "max_age_seconds": 3600, "oldest_time_seconds": 1_800_000_000,
		"replicas": 3, "replicas_current": 2,
	} {
		if got := value(t, m, "stackstream_stream_"+name, "EVENTS_RAW"); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	m.Stream(jetstream.StreamState{Name: "EVENTS_RAW", MaxBytes: 1000})
	for _, name := range []string{"max_age_seconds", "oldest_time_seconds"} {
		if got, found := find(t, m, "stackstream_stream_"+name, "EVENTS_RAW"); found {
			t.Errorf("an empty stream that keeps what it has shows %s %v", name, got)
		}
	}
}

// Readiness and loops that are stuck are there as numbers, too.
func TestReadyIsShown(t *testing.T) {
	board := admin.NewBoard()
	m := New(board, "v1")
	board.Set(event.Status{Role: event.RoleCollector, Provider: "prod", State: event.StateBackoff})
	if got := value(t, m, "stackstream_ready"); got != 0 {
		t.Errorf("ready is %v while a collector backs off", got)
	}
	board.Set(event.Status{Role: event.RoleCollector, Provider: "prod", State: event.StateLive})
	if got := value(t, m, "stackstream_ready"); got != 1 {
		t.Errorf("ready is %v, want 1", got)
	}
	if got := value(t, m, "stackstream_stuck_loops"); got != 0 {
		t.Errorf("%v loops are stuck", got)
	}
}
