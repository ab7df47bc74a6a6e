package collectors

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		name       string
		config     FilterConfig
		keep, drop []string
	}{
		{"nothing said keeps everything", FilterConfig{}, []string{"", "compute.instance.create.end"}, nil},
		{
			"a glob covers the whole type, dots too", FilterConfig{Include: []string{"compute.*.end"}},
			[]string{"compute.instance.create.end", "compute..end"},
			[]string{"compute.instance.create.start", "xcompute.a.end", "compute.a.end.", "computeXa.end"},
		},
		{
			"one character", FilterConfig{Include: []string{"v?"}},
			[]string{"v1", "v\n", "vä"}, []string{"v", "v12"},
		},
		{
			"an expression matches anywhere", FilterConfig{Include: []string{`/\.(start|end)$/`}},
			[]string{"a.end", "b.start"}, []string{"a.end.x"},
		},
		{
			"exclude wins", FilterConfig{Include: []string{"compute.*"}, Exclude: []string{"*.exists", "/^compute.metrics/"}},
			[]string{"compute.instance.delete.end"}, []string{"compute.instance.exists", "compute.metrics.update", "image.create"},
		},
		{
			"exclude alone", FilterConfig{Exclude: []string{"identity.authenticate"}},
			[]string{"x"}, []string{"identity.authenticate"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := NewFilter(c.config)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.keep {
				if !f.Keep(s) {
					t.Errorf("%q is dropped", s)
				}
			}
			for _, s := range c.drop {
				if f.Keep(s) {
					t.Errorf("%q is kept", s)
				}
			}
		})
	}
}

func TestFilterNamesEveryMistake(t *testing.T) {
	err := FilterConfig{
		Include: []string{"ok.*", "", " a", "a.{b,c}", "/open"},
		Exclude: []string{"/a(/", "//", "ok"},
	}.Validate()
	want := `include[1] "": the pattern is empty
include[2] " a": the pattern begins or ends with a space
include[3] "a.{b,c}": a glob knows only * and ?; write a /regular expression/ for more
include[4] "/open": a regular expression ends with a slash
exclude[0] "/a(/": error parsing regexp: missing closing ): ` + "`a(`" + `
exclude[1] "//": the regular expression is empty`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func FuzzFilter(f *testing.F) {
	for _, pattern := range []string{"compute.*", "/^a.*b$/", "?", "/(/", "", "a[b]"} {
		f.Add(pattern, "compute.instance.create.end")
	}
	f.Fuzz(func(t *testing.T, pattern, eventType string) {
		filter, err := NewFilter(FilterConfig{Include: []string{pattern}})
		if err != nil {
			return
		}
		inverse, err := NewFilter(FilterConfig{Exclude: []string{pattern}})
		if err != nil {
			t.Fatalf("%q may be included and not excluded: %v", pattern, err)
		}
		if filter.Keep(eventType) == inverse.Keep(eventType) {
			t.Errorf("including and excluding %q does the same to %q", pattern, eventType)
		}
	})
}
