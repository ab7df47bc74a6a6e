package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// rule is an alert of deploy/alerts.yml.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(read(t, "alerts.yml")), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no alerts")
	}
	return all
}

// runbooks are the headings of docs/operating.md, as links name them.
func runbooks(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(deploy, "..", "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(string(page), -1) {
		found = append(found, strings.ReplaceAll(strings.ToLower(m[1]), " ", "-"))
	}
	return found
}

func TestAlerts(t *testing.T) {
	known, seen := exposed(), map[string]bool{}
	headings := runbooks(t)
	for _, r := range alerts(t) {
		if !strings.HasPrefix(r.Alert, "Stackstream") || seen[r.Alert] {
			t.Errorf("alert %q has no name that is ours, or one that is taken", r.Alert)
		}
		seen[r.Alert] = true
		var shown []string
		for _, text := range r.Annotations {
			for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
				shown = append(shown, m[1])
			}
		}
		checkExpression(t, known, r.Alert, r.Expr, shown...)
		if r.For != "" {
			if _, err := time.ParseDuration(r.For); err != nil {
				t.Errorf("%s: for: %v", r.Alert, err)
			}
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity is %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s does not say what is wrong, or what to do", r.Alert)
		}
		heading, ok := strings.CutPrefix(r.Annotations["runbook"], "docs/operating.md#")
		if !ok || !slices.Contains(headings, heading) {
			t.Errorf("%s leads to %q", r.Alert, r.Annotations["runbook"])
		}
	}
}

// promtool plays the cases of deploy/alerts_test.yml: when an alert fires and what it says then, and when it does not fire.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	promtool(t, "test", "rules", filepath.Join(deploy, "alerts_test.yml"))
}

// Every alert has a case in which it fires and one in which it does not.
func TestEveryAlertIsTried(t *testing.T) {
	var file struct {
		Tests []struct {
			Trials []struct {
				Alertname string           `yaml:"alertname"`
				Expected  []map[string]any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "alerts_test.yml")), &file); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, trial := range test.Trials {
			if len(trial.Expected) > 0 {
				fires[trial.Alertname] = true
			} else {
				silent[trial.Alertname] = true
			}
		}
	}
	for _, r := range alerts(t) {
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s is tried in a case where it fires: %t, and in one where it does not: %t",
				r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}
