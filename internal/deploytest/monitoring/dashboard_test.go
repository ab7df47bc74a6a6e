package monitoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is what Grafana is given, as far as it is used. Whatever else is in the file is a mistake.
type dashboard struct {
	UID, Title, Description, Refresh, Timezone, WeekStart string
	Tags                                                  []string
	SchemaVersion, Version, GraphTooltip                  int
	FiscalYearStartMonth                                  int
	Editable, LiveNow                                     bool
	Time                                                  struct{ From, To string }
	Timepicker                                            struct{}
	Links                                                 []struct{}
	Annotations                                           struct{ List []annotation }
	Templating                                            struct{ List []variable }
	Panels                                                []panel
}

type source struct{ Type, UID string }

type annotation struct {
	BuiltIn                       int
	Datasource                    source
	Enable, Hide                  bool
	IconColor, Name, Type         string
	Expr, TitleFormat, TextFormat string
}

type variable struct {
	Type, Name, Label, Regex, Definition, AllValue string
	Query                                          json.RawMessage
	Datasource                                     source
	Current                                        json.RawMessage
	Hide, Refresh, Sort                            int
	IncludeAll, Multi, SkipURLSync                 bool
	Options                                        []struct{}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               source
	Collapsed                bool
	GridPos                  struct{ X, Y, W, H int }
	Panels                   []struct{}
	Targets                  []target
	FieldConfig              struct {
		Defaults struct {
			Unit       string
			Min, Max   *float64
			Decimals   *int
			Color      struct{ Mode string }
			Mappings   []struct{}
			Custom     json.RawMessage
			Thresholds struct {
				Mode  string
				Steps []struct {
					Color string
					Value *float64
				}
			}
		}
		Overrides []struct{}
	}
	Options, Transformations json.RawMessage
}

type target struct {
	Datasource                                    source
	RefID, Expr, LegendFormat, EditorMode, Format string
	Range, Instant                                bool
}

func loadDashboard(t *testing.T) dashboard {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewBufferString(read(t, filepath.Join("dashboards", "stackstream.json"))))
	decoder.DisallowUnknownFields()
	var d dashboard
	if err := decoder.Decode(&d); err != nil {
		t.Fatalf("the dashboard: %v", err)
	}
	if decoder.More() {
		t.Fatal("there is something behind the dashboard")
	}
	return d
}

func TestDashboard(t *testing.T) {
	d := loadDashboard(t)
	if d.UID == "" || d.SchemaVersion < 36 || d.SchemaVersion > 41 {
		t.Errorf("uid %q, schema %d: Grafana 10 and 11 read 36 to 41", d.UID, d.SchemaVersion)
	}
	variables := map[string]bool{}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}
	for _, name := range []string{"datasource", "provider"} {
		if !variables[name] {
			t.Errorf("there is no variable %s", name)
		}
	}
	var rows []string
	ids := map[int]bool{}
	filled := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q has the id %d, which is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := filled[at]; other != "" || at[0] >= 24 {
					t.Fatalf("panel %q is on %q, or leaves the page", p.Title, other)
				}
				filled[at] = p.Title
			}
		}
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if len(rows) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q is in no row, or reads %q", p.Title, p.Datasource.UID)
		}
		// It has to say what to do, which does not fit a few words.
		if len(p.Description) < 80 || !strings.HasSuffix(p.Description, ".") {
			t.Errorf("panel %q does not say what to do: %q", p.Title, p.Description)
		}
		for _, m := range regexp.MustCompile(`docs/operating\.md#([a-z0-9-]*)`).FindAllStringSubmatch(p.Description, -1) {
			if !slices.Contains(runbooks(t), m[1]) {
				t.Errorf("panel %q leads to %s", p.Title, m[0])
			}
		}
		if p.Type == "stat" && len(p.FieldConfig.Defaults.Thresholds.Steps) < 2 {
			t.Errorf("panel %q is never red", p.Title)
		}
	}
	want := []string{"Is everything well", "Collection", "Normalisation", "Delivery lag", "NATS & disk", "Processes"}
	if !slices.Equal(rows, want) {
		t.Errorf("the rows are %q, want %q", rows, want)
	}
}

// expressions are those of the dashboard, with the variables replaced by what they may be, and where each stands.
type expression struct{ where, expr, legend string }

func (d *dashboard) expressions() []expression {
	replaced := strings.NewReplacer("$__rate_interval", "5m", "$provider", ".*", "$job", ".*").Replace
	var all []expression
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, expression{p.Title, replaced(target.Expr), target.LegendFormat})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			all = append(all, expression{"annotation " + a.Name, replaced(a.Expr), ""})
		}
	}
	return all
}

func TestDashboardIsAboutMetricsThatExist(t *testing.T) {
	d, known := loadDashboard(t), exposed()
	for _, e := range d.expressions() {
		if strings.Contains(e.expr, "$") {
			t.Errorf("%s: %s has a variable that there is not", e.where, e.expr)
		}
		var shown []string
		for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(e.legend, -1) {
			shown = append(shown, m[1])
		}
		checkExpression(t, known, e.where, e.expr, shown...)
	}
	for _, v := range d.Templating.List {
		if m := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`).FindStringSubmatch(v.Definition); m != nil {
			checkExpression(t, known, v.Name, m[1], m[2])
		} else if v.Type != "datasource" {
			t.Errorf("the values of %s come from %q", v.Name, v.Definition)
		}
	}
}

// promtool parses every expression, as that of a recording rule.
func TestDashboardIsPromQL(t *testing.T) {
	d := loadDashboard(t)
	var b strings.Builder
	b.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	all := d.expressions()
	for i, e := range all {
		fmt.Fprintf(&b, "      - {record: 'dashboard:expression:%d', expr: %q}\n", i, e.expr)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := promtool(t, "check", "rules", file); !strings.Contains(out, fmt.Sprintf("%d rules found", len(all))) {
		t.Errorf("%d expressions, and promtool says:\n%s", len(all), out)
	}
}
