package monitoring

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stackstream/internal/app/admin"
	"stackstream/internal/app/metrics"
)

// deploy is the folder that is tested, seen from here.
const deploy = "../../../deploy"

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// promtool runs Prometheus' tool on files. Without it nothing here is known to hold.
func promtool(t *testing.T, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v: install it with make promtool", err)
	}
	out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// exposed are the metrics that there are, each with its labels: the program's, and what Prometheus adds to them and has itself.
func exposed() map[string][]string {
	scraped := []string{"instance", "job"}
	found := map[string][]string{
		"up":     scraped,
		"ALERTS": {"alertname", "alertstate", "severity"},
	}
	for _, name := range []string{
		"process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "go_goroutines",
	} {
		found[name] = scraped
	}
	for _, d := range metrics.New(admin.NewBoard(), "test").List() {
		labels := slices.Concat(d.Labels, scraped)
		if d.Type != "histogram" {
			found[d.Name] = labels
			continue
		}
		found[d.Name+"_sum"], found[d.Name+"_count"] = labels, labels
		found[d.Name+"_bucket"] = append(slices.Clone(labels), "le")
	}
	return found
}

var (
	metricName = regexp.MustCompile(`\b(stackstream_\w+|process_\w+|go_\w+|up|ALERTS)\b(?:\{([^}]*)\})?`)
	matcher    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"`)
	grouping   = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
)

// used are the metrics of an expression, and the labels it has for each, or for all of them: the key "".
func used(expr string) map[string][]string {
	found := map[string][]string{}
	for _, m := range metricName.FindAllStringSubmatch(expr, -1) {
		labels := found[m[1]]
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, l[1])
		}
		found[m[1]] = labels
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			if label = strings.TrimSpace(label); label != "" {
				found[""] = append(found[""], label)
			}
		}
	}
	return found
}

// checkExpression finds fault with what an expression is about: a metric that there is not, or a label that it does not have.
// known is what is exposed, more are labels that are used of its result.
func checkExpression(t *testing.T, known map[string][]string, where, expr string, more ...string) {
	t.Helper()
	names := used(expr)
	labels := slices.Concat(names[""], more)
	delete(names, "")
	if len(names) == 0 {
		t.Errorf("%s: %s is about no metric", where, expr)
	}
	all := map[string]bool{}
	for name, matched := range names {
		has, ok := known[name]
		if !ok {
			t.Errorf("%s: there is no metric %s", where, name)
			continue
		}
		for _, label := range matched {
			if !slices.Contains(has, label) {
				t.Errorf("%s: %s has no label %s, it has %v", where, name, label, has)
			}
		}
		for _, label := range has {
			all[label] = true
		}
	}
	for _, label := range labels {
		if !all[label] {
			t.Errorf("%s: no metric of %s has the label %s; there are %v", where, expr, label, slices.Sorted(maps.Keys(all)))
		}
	}
}

// What finds fault must find it.
func TestUsed(t *testing.T) {
	got := used(`sum by (provider, le) (rate(stackstream_a_bucket{role="x",state=~"a,b|c"}[5m])) / on (instance) up > 1`)
	for name, want := range map[string][]string{
		"stackstream_a_bucket": {"role", "state"}, "up": nil, "": {"provider", "le", "instance"},
	} {
		labels, ok := got[name]
		if !ok || !slices.Equal(labels, want) {
			t.Errorf("%q has %v (%t), want %v", name, labels, ok, want)
		}
	}
	if len(got) != 3 {
		t.Errorf("found %v", got)
	}
}
