package deploytest

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"stackstream/internal/app/admin"
	"stackstream/internal/app/metrics"
)

func decode(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.UnmarshalWithOptions([]byte(read(t, filepath.Join(root, "deploy", name))), into, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// metricNames are those that the programs have.
func metricNames(t *testing.T) []string {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		metrics.New(admin.NewBoard(), "test").Registry.Describe(descriptions)
	}()
	var names []string
	for d := range descriptions {
		m := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("a metric without a name: %s", d)
		}
		names = append(names, m[1])
	}
	return append(names, "up")
}

// rules are the alerts of deploy/alerts.yml.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func TestAlertsAreAboutMetricsThatExist(t *testing.T) {
	var file rules
	decode(t, "alerts.yml", &file)
	names := metricNames(t)
	seen := map[string]bool{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || seen[rule.Alert] {
				t.Errorf("alert %q has no name, or one that is taken", rule.Alert)
			}
			seen[rule.Alert] = true
			used := regexp.MustCompile(`\b(stackstream_\w+|up)\b`).FindAllString(stripLabels(rule.Expr), -1)
			if len(used) == 0 {
				t.Errorf("%s: %s is about no metric", rule.Alert, rule.Expr)
			}
			for _, metric := range used {
				// A histogram has three.
				whole := regexp.MustCompile(`_(sum|count|bucket)$`).ReplaceAllString(metric, "")
				if !slices.Contains(names, metric) && !slices.Contains(names, whole) {
					t.Errorf("%s: there is no metric %s", rule.Alert, metric)
				}
			}
			for _, pair := range []string{"()", "{}", "[]"} {
				if strings.Count(rule.Expr, pair[:1]) != strings.Count(rule.Expr, pair[1:]) {
					t.Errorf("%s: unbalanced %s in %s", rule.Alert, pair, rule.Expr)
				}
			}
			if rule.For != "" {
				if _, err := time.ParseDuration(rule.For); err != nil {
					t.Errorf("%s: for: %v", rule.Alert, err)
				}
			}
			if s := rule.Labels["severity"]; s != "page" && s != "ticket" {
				t.Errorf("%s: severity is %q", rule.Alert, s)
			}
			if rule.Annotations["summary"] == "" {
				t.Errorf("%s has no summary", rule.Alert)
			}
		}
	}
	if len(seen) == 0 {
		t.Error("there are no alerts")
	}
}

// TestAlertsOfTheBrokerAreTried: testdata/alerts.test.yml, which promtool runs, has for each of them a case in which it
// fires and one in which it does not.
func TestAlertsOfTheBrokerAreTried(t *testing.T) {
	type trial struct {
		Alertname string           `yaml:"alertname"`
		Expected  []map[string]any `yaml:"exp_alerts"`
	}
	var tests struct {
		Tests []struct {
			Trials []trial `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join("testdata", "alerts.test.yml"))), &tests); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, trial := range test.Trials {
			if len(trial.Expected) > 0 {
				fires[trial.Alertname] = true
			} else {
				silent[trial.Alertname] = true
			}
		}
	}
	var file rules
	decode(t, "alerts.yml", &file)
	tried := 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if group.Name != "stackstream-amqp" && rule.Alert != "StackstreamDegraded" {
				continue
			}
			tried++
			if !fires[rule.Alert] || !silent[rule.Alert] {
				t.Errorf("%s is tried in a case where it fires: %t, and in one where it does not: %t",
					rule.Alert, fires[rule.Alert], silent[rule.Alert])
			}
			if rule.Annotations["description"] == "" {
				t.Errorf("%s does not say what to do", rule.Alert)
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d alerts are looked at", tried)
	}
}

func stripLabels(expr string) string {
	return regexp.MustCompile(`\{[^}]*\}|by \([^)]*\)`).ReplaceAllString(expr, "")
}

// TestPrometheusScrapesEveryWorker on the port where it listens.
func TestPrometheusScrapesEveryWorker(t *testing.T) {
	var file struct {
		RuleFiles     []string `yaml:"rule_files"`
		Global        map[string]string
		ScrapeConfigs []struct {
			JobName       string `yaml:"job_name"`
			StaticConfigs []struct {
				Targets []string
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decode(t, "prometheus.yml", &file)
	var targets []string
	for _, job := range file.ScrapeConfigs {
		for _, static := range job.StaticConfigs {
			targets = append(targets, static.Targets...)
		}
	}
	var want []string
	project := load(t)
	for name := range project.Services {
		if strings.HasPrefix(name, "collector-") || strings.HasPrefix(name, "normalizer-") {
			want = append(want, name+":8321")
		}
	}
	slices.Sort(targets)
	slices.Sort(want)
	if !slices.Equal(targets, want) {
		t.Errorf("targets are %v, want %v", targets, want)
	}
	if !strings.Contains(read(t, filepath.Join(root, "deploy", "stackstream.yaml")), "listen: 0.0.0.0:8321") {
		t.Error("stackstream.yaml does not listen where Prometheus asks")
	}
	for _, rules := range file.RuleFiles {
		mounted := false
		for _, c := range project.Services["prometheus"].Configs {
			mounted = mounted || c.Target == rules
		}
		if !mounted {
			t.Errorf("rule file %s is not mounted", rules)
		}
	}
}
