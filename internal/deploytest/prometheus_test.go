package deploytest

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func decode(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.UnmarshalWithOptions([]byte(read(t, filepath.Join(root, "deploy", name))), into, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
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
