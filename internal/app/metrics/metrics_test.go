package metrics

import (
	"slices"
	"strings"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/app/admin"
)

// value returns a metric by its name and label values, in the order of the labels' names.
func value(t *testing.T, m *Metrics, name string, labels ...string) float64 {
	t.Helper()
	v, ok := find(t, m, name, labels...)
	if !ok {
		t.Fatalf("no metric %s%v", name, labels)
	}
	return v
}

func find(t *testing.T, m *Metrics, name string, labels ...string) (float64, bool) {
	t.Helper()
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, metric := range f.GetMetric() {
			var have []string
			for _, l := range metric.GetLabel() {
				have = append(have, l.GetValue())
			}
			if strings.Join(have, ",") != strings.Join(labels, ",") {
				continue
			}
			if metric.GetHistogram() != nil {
				return float64(metric.GetHistogram().GetSampleCount()), true
			}
			return metric.GetGauge().GetValue() + metric.GetCounter().GetValue(), true
		}
	}
	return 0, false
}

func TestHooksAreCounted(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	watermark := time.Unix(1_800_000_000, 0)
	c := m.Collectors()
	c.Committed("prod", "panko", collectors.Commit{Events: 3, Progress: event.Progress{Watermark: watermark}})
	c.Duplicates("prod", "panko", 2)
	c.Failed("prod", "panko", &event.Error{Kind: event.Unavailable, Op: "poll"})
	n := m.Normalizer()
	n.Normalized("prod", 3, 1, time.Second)
	n.DeadLetter("prod", event.ReasonMalformed)
	n.SequenceGap("prod", "panko", 5, 7)
	w := m.Writer(event.RoleCollector, "prod")
	w.Result(0, 3, 100, time.Millisecond)
	w.Result(event.Unknown, 3, 100, time.Millisecond)
	w.Reread()
	w.Waiting(nil)
	m.NATS().Reconnected()
	m.NATS().Connected(nil)
	m.HTTP("prod", "panko").Odd("no-id", 4)
	m.Watermarks([]event.Watermark{{
		Provider: "prod", Source: "panko", Collected: 9, Normalized: 7, LagEvents: 2, Lag: time.Second, NormalizedTime: watermark,
	}}, "panko")

	for _, tc := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"collected_events_total", []string{"prod", "panko"}, 3},
		{"collected_time_seconds", []string{"prod", "panko"}, 1_800_000_000},
		{"duplicate_events_total", []string{"prod", "panko"}, 2},
		{"source_errors_total", []string{"unavailable", "prod", "panko"}, 1},
		{"normalized_events_total", []string{"prod"}, 3},
		{"dead_letters_total", []string{"prod", "malformed"}, 1},
		{"sequence_gaps_total", []string{"prod", "panko"}, 1},
		{"batches_total", []string{"prod", "ok", "collector"}, 1},
		{"batches_total", []string{"prod", "unknown", "collector"}, 1},
		{"batch_commit_seconds", []string{"collector"}, 1},
		{"cursor_rereads_total", []string{"prod", "collector"}, 1},
		{"write_waiting", []string{"prod", "collector"}, 1},
		{"nats_reconnects_total", nil, 1},
		{"nats_connected", nil, 1},
		{"source_odd_events_total", []string{"prod", "panko", "no-id"}, 4},
		{"normalizer_lag_events", []string{"prod", "panko"}, 2},
		{"normalizer_lag_seconds", []string{"prod", "panko"}, 1},
		{"watermark_time_seconds", []string{"prod", "panko"}, 1_800_000_000},
		{"build_info", []string{"v1"}, 1},
	} {
		if got := value(t, m, "stackstream_"+tc.name, tc.labels...); got != tc.want {
			t.Errorf("%s%v is %v, want %v", tc.name, tc.labels, got, tc.want)
		}
	}
}

func TestStatusShowsStateAndLease(t *testing.T) {
	board := admin.NewBoard()
	m := New(board, "v1")
	set := func(state event.State) {
		m.Status(event.Status{Provider: "prod", Source: "panko", Role: event.RoleCollector, State: state})
	}
	labels := []string{"prod", "collector", "panko"}
	set(event.StateBackoff)
	if got := value(t, m, "stackstream_not_ready_since_seconds", labels...); got == 0 {
		t.Error("a collector that backs off counts as ready")
	}
	set(event.StateLive)
	if got := value(t, m, "stackstream_not_ready_since_seconds", labels...); got != 0 {
		t.Errorf("a live collector is not ready since %v", got)
	}
	if got := value(t, m, "stackstream_state", append(labels, "live")...); got != 1 {
		t.Errorf("state live is %v, want 1", got)
	}
	if got := value(t, m, "stackstream_state", append(labels, "backoff")...); got != 0 {
		t.Errorf("state backoff is %v, want 0", got)
	}
	set(event.StateDegraded)
	if got := value(t, m, "stackstream_not_ready_since_seconds", labels...); got == 0 {
		t.Error("a degraded collector counts as ready")
	}
	if got := value(t, m, "stackstream_state", append(labels, "degraded")...); got != 1 {
		t.Errorf("state degraded is %v, want 1", got)
	}
	if got := value(t, m, "stackstream_lease_held", labels...); got != 1 {
		t.Error("a degraded collector does not hold its lease")
	}
	set(event.StateStandby)
	if got := value(t, m, "stackstream_lease_held", labels...); got != 0 {
		t.Errorf("lease is held by a standby")
	}
	if got := value(t, m, "stackstream_lease_transitions_total", labels...); got != 2 {
		t.Errorf("lease moved %v times, want 2", got)
	}
	if parts := board.Parts(); len(parts) != 1 || parts[0].State != event.StateStandby {
		t.Errorf("board shows %v", parts)
	}
}

// What alerts look at with increase is there from the start, at 0.
func TestCountersOfAlertsBeginAtZero(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	m.Expect("prod")
	m.Watermarks([]event.Watermark{{Provider: "prod", Source: "panko"}}, "panko")
	if got := value(t, m, "stackstream_sequence_gaps_total", "prod", "panko"); got != 0 {
		t.Errorf("%v gaps are counted", got)
	}
	for _, reason := range []event.Reason{event.ReasonMalformed, event.ReasonTooMany, event.ReasonUnwritable} {
		if got := value(t, m, "stackstream_dead_letters_total", "prod", string(reason)); got != 0 {
			t.Errorf("%v dead letters are counted as %s", got, reason)
		}
	}
}

// The age of a cursor that nobody is to write any more must not hold up an alert.
func TestCursorsThatAreLeftHaveNoAge(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	at := time.Unix(1_800_000_000, 0)
	mark := func(s event.Source, retired bool) event.Watermark {
		return event.Watermark{
			Provider: "prod", Source: s, Collected: 7, Normalized: 6, LagEvents: 1, NormalizedTime: at, WrittenAt: at, Retired: retired,
		}
	}
	want := func(kind string, marks []event.Watermark, aged ...event.Source) {
		t.Helper()
		for _, w := range marks { // this process collected from all of them
			m.Collectors().Committed("prod", w.Source, collectors.Commit{Progress: event.Progress{Watermark: at}})
		}
		m.Watermarks(marks, kind)
		for _, w := range marks {
			for _, name := range []string{
				"stackstream_cursor_written_time_seconds", "stackstream_watermark_time_seconds", "stackstream_collected_time_seconds",
			} {
				if _, got := find(t, m, name, "prod", string(w.Source)); got != slices.Contains(aged, w.Source) {
					t.Errorf("chosen is %q: %s of %s is shown: %t", kind, name, w.Source, got)
				}
			}
			if got := value(t, m, "stackstream_normalizer_lag_events", "prod", string(w.Source)); got != 1 {
				t.Errorf("the lag of %s is %v, want 1", w.Source, got)
			}
		}
	}
	want("panko", []event.Watermark{mark("amqp", false), mark("panko", false)}, "panko")
	want("amqp", []event.Watermark{mark("amqp", false), mark("amqp-nova", false), mark("panko", false)}, "amqp", "amqp-nova")
	want("amqp", []event.Watermark{mark("amqp", false), mark("amqp-nova", true), mark("amqpx", false)}, "amqp")
	want("", []event.Watermark{mark("amqp", false), mark("amqp-nova", true), mark("panko", false)}, "amqp", "panko")
	want("", []event.Watermark{mark("amqp", false), mark(event.SourceRedrive, false)}, "amqp")
}

// What is done about dead letters is done when somebody wants it, about events of any age: no alert is to look at its times.
func TestRedrivingHasNoAge(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	for _, kind := range []string{"", "panko", "redrive"} {
		m.Watermarks([]event.Watermark{{
			Provider: "prod", Source: event.SourceRedrive, Collected: 7, Normalized: 5, LagEvents: 2, Lag: time.Hour,
			WrittenAt: time.Unix(1, 0), NormalizedTime: time.Unix(1, 0),
		}}, kind)
		for _, name := range []string{
			"stackstream_cursor_written_time_seconds", "stackstream_watermark_time_seconds", "stackstream_normalizer_lag_seconds",
		} {
			if _, shown := find(t, m, name, "prod", "redrive"); shown {
				t.Errorf("chosen is %q: %s is shown", kind, name)
			}
		}
		if got := value(t, m, "stackstream_normalizer_lag_events", "prod", "redrive"); got != 2 {
			t.Errorf("%v are left to be done, want 2", got)
		}
	}
}

func TestEveryMetricHasNameAndHelp(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "stackstream_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("metric %s has no known prefix", name)
		}
		if f.GetHelp() == "" {
			t.Errorf("metric %s has no help", name)
		}
	}
}

// What is told of a provider is gone with it, and nothing of others is; a loop that has ended is not taken for stuck.
func TestForgottenProvidersLeaveNothing(t *testing.T) {
	board := admin.NewBoard()
	m := New(board, "v1")
	for _, p := range []event.Provider{"prod", "lab"} {
		m.Expect(p)
		m.Status(event.Status{Provider: p, Source: "amqp", Role: event.RoleCollector, State: event.StateLive})
		m.Status(event.Status{Provider: p, Role: event.RoleNormalizer, State: event.StateLive})
		m.Collectors().Committed(p, "amqp", collectors.Commit{Events: 1})
		m.Normalizer().Normalized(p, 1, 0, time.Second)
		m.Normalizer().Beat(p)
		m.Writer(event.RoleNormalizer, p).Result(0, 1, 1, time.Millisecond)
		m.HTTP(p, "http").Page(1, 1, time.Second)
		m.AMQP(p, "amqp").Probe(time.Second)
		m.Watermarks([]event.Watermark{{Provider: p, Source: "amqp", Collected: 1}}, "amqp")
	}
	count := func(p string) (n int) {
		families, err := m.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, metric := range f.GetMetric() {
				for _, l := range metric.GetLabel() {
					if l.GetName() == provider && l.GetValue() == p {
						n++
					}
				}
			}
		}
		return n
	}
	before := count("lab")
	m.ForgetPart(event.RoleNormalizer, "prod")
	if _, shown := find(t, m, "stackstream_state", "prod", "normalizer", "", "live"); shown {
		t.Error("the normalizer's state is still told")
	}
	if got := value(t, m, "stackstream_normalized_events_total", "prod"); got != 1 {
		t.Errorf("what it did is forgotten, though it begins again: %v", got)
	}
	m.Forget("prod")
	if n := count("prod"); n > 0 {
		t.Errorf("%d series are left", n)
	}
	if n := count("lab"); n != before || n == 0 {
		t.Errorf("of another provider there are %d series, there were %d", n, before)
	}
	if parts := board.Parts(); len(parts) != 2 {
		t.Errorf("the board has %v", parts)
	}
	m.Status(event.Status{Provider: "prod", Role: event.RoleNormalizer, State: event.StateLive})
	if got := value(t, m, "stackstream_lease_held", "prod", "normalizer", ""); got != 1 {
		t.Errorf("added again the lease is %v", got)
	}
}

func TestConfigurationIsCounted(t *testing.T) {
	m := New(admin.NewBoard(), "v1")
	m.ConfigInUse(time.Unix(1_800_000_000, 0), true)
	m.ConfigRead(ConfigRefused)
	for name, want := range map[string]float64{"config_applied_time_seconds": 1_800_000_000, "config_restart_needed": 1} {
		if got := value(t, m, "stackstream_"+name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for result, want := range map[string]float64{ConfigApplied: 0, ConfigUnchanged: 0, ConfigRefused: 1} {
		if got := value(t, m, "stackstream_config_reloads_total", result); got != want {
			t.Errorf("%s is counted %v times, want %v", result, got, want)
		}
	}
}
