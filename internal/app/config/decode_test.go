package config

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/internal/check"
)

// shape has one field of every sort that the decoder takes.
type shape struct {
	Name   string              `yaml:"name"`
	On     bool                `yaml:"on"`
	Count  int                 `yaml:"count"`
	Port   uint16              `yaml:"port"`
	Rate   float64             `yaml:"rate"`
	Wait   time.Duration       `yaml:"wait"`
	Room   int64               `yaml:"room,size"`
	Since  time.Time           `yaml:"since"`
	List   []string            `yaml:"list"`
	Labels map[string]string   `yaml:"labels"`
	Lists  map[string][]string `yaml:"lists"`
	Deep   *deep               `yaml:"deep"`
	Beside deep                `yaml:",inline"`
	Any    map[string]any      `yaml:",kinds"`
	Hidden string              `yaml:"-"`
}

type deep struct {
	Left  string `yaml:"left"`
	Right string `yaml:"right"`
}

func decode(text string, env map[string]string) (shape, check.Findings) {
	var out shape
	d := &decoder{
		file:      "f.yaml",
		env:       func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		kinds:     []Kind{{Name: "panko", Settings: func() any { return &deep{Left: "default"} }}},
		positions: map[string]check.Position{},
	}
	d.document([]byte(text), reflect.ValueOf(&out).Elem())
	d.findings.Sort()
	return out, d.findings
}

func TestDecodeTakes(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		env        map[string]string
		want       shape
	}{
		{name: "nothing", text: ""},
		{name: "only comments", text: "# nothing\n"},
		{name: "only a document mark", text: "---\n"},
		{name: "text", text: "name: two words", want: shape{Name: "two words"}},
		{name: "quoted number", text: `name: "007"`, want: shape{Name: "007"}},
		{name: "block text", text: "name: |\n  a\n  b\n", want: shape{Name: "a\nb\n"}},
		{name: "truth and numbers", text: "on: true\ncount: -3\nport: 8321\nrate: 0.5",
			want: shape{On: true, Count: -3, Port: 8321, Rate: 0.5}},
		{name: "units", text: "wait: 1d2h\nroom: 8MiB", want: shape{Wait: 26 * time.Hour, Room: 8 << 20}},
		{name: "zero without unit", text: "wait: 0\nroom: 0"},
		{name: "time", text: "since: 2026-01-02T03:04:05Z",
			want: shape{Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
		{name: "list", text: "list: [a, b]", want: shape{List: []string{"a", "b"}}},
		{name: "list of one", text: "list: a", want: shape{List: []string{"a"}}},
		{name: "map", text: "labels:\n  a: x\n  b: y", want: shape{Labels: map[string]string{"a": "x", "b": "y"}}},
		{name: "map of lists", text: "lists: {a: [x, y], b: z, c: []}\n",
			want: shape{Lists: map[string][]string{"a": {"x", "y"}, "b": {"z"}, "c": {}}}},
		{name: "struct behind a pointer", text: "deep: {left: l}", want: shape{Deep: &deep{Left: "l"}}},
		{name: "empty struct", text: "deep:\n", want: shape{Deep: &deep{}}},
		{name: "inlined struct", text: "right: r", want: shape{Beside: deep{Right: "r"}}},
		{name: "kind over its defaults", text: "panko: {right: r}",
			want: shape{Any: map[string]any{"panko": &deep{Left: "default", Right: "r"}}}},
		{name: "environment", text: "name: a-${X}-$$-$Y\ncount: ${N}\nwait: ${W}\non: ${B}",
			env:  map[string]string{"X": "b: [c", "N": "7", "W": "5s", "B": "true"},
			want: shape{Name: "a-b: [c-$-$Y", Count: 7, Wait: 5 * time.Second, On: true}},
		{name: "environment value is not expanded again", text: "name: ${X}",
			env: map[string]string{"X": "${Y}"}, want: shape{Name: "${Y}"}},
		{name: "no expansion in comments", text: "name: a # ${NOT_SET}", want: shape{Name: "a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, findings := decode(tc.text, tc.env)
			if len(findings) > 0 {
				t.Fatalf("refused: %v", findings)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key", "nam: x", `f.yaml:1:1: nam: unknown setting (did you mean name?)`},
		{"unknown key, nothing like it", "deep:\n  zzzzzz: 1",
			`f.yaml:2:3: deep.zzzzzz: unknown setting (known here: left, right)`},
		{"a hidden field is no setting", "deep: {Hidden: x}",
			`f.yaml:1:8: deep.Hidden: unknown setting (known here: left, right)`},
		{"twice", "name: a\non: true\nname: b", `f.yaml:3:1: name: is set twice, first in line 1`},
		{"every mistake at once", "nam: x\ncount: many\nwait: 5\nport: 70000\n", "" +
			"f.yaml:1:1: nam: unknown setting (did you mean name?)\n" +
			"f.yaml:2:8: count: wants a whole number, not \"many\"\n" +
			"f.yaml:3:7: wait: wants a duration such as 30s, 1h30m or 7d, not \"5\"\n" +
			"f.yaml:4:7: port: wants a whole number, not negative, not \"70000\""},
		{"number for text", "name: 5", `f.yaml:1:7: name: wants text, has a number (put it in quotes)`},
		{"truth for a number", "count: true", `f.yaml:1:8: count: wants a whole number, has true or false`},
		{"text for truth", "on: yes", `f.yaml:1:5: on: wants true or false, has text`},
		{"size without unit", "room: 5", `f.yaml:1:7: room: wants a size such as 512KiB, 8MiB or 10GiB, not "5"`},
		{"negative duration", "wait: -5s", `f.yaml:1:7: wait: wants a duration such as 30s, 1h30m or 7d, not "-5s"`},
		{"list for text", "name: [a]", `f.yaml:1:7: name: wants one value, has a list`},
		{"text with a colon in braces", "{list: [a://b:1]}",
			`f.yaml:1:9: list[0]: wants one value, has settings below it (text with a colon in braces needs quotes)`},
		{"text for settings", "deep: x", `f.yaml:1:7: deep: wants settings below it, has text`},
		{"settings for a list", "list:\n  a: b", `f.yaml:2:3: list: wants a list, has settings below it`},
		{"wrong element", "list: [a, [b]]", `f.yaml:1:11: list[1]: wants one value, has a list`},
		{"list for a map", "lists: [a]", `f.yaml:1:8: lists: wants settings below it, has a list`},
		{"settings for a list in a map", "lists:\n  a:\n    b: [x]", `f.yaml:3:5: lists.a: wants a list, has settings below it`},
		{"wrong element of a list in a map", "lists:\n  a: [x, 5]\n  a: y", "" +
			"f.yaml:2:10: lists.a[1]: wants text, has a number (put it in quotes)\n" +
			"f.yaml:3:3: lists.a: is set twice, first in line 2"},
		{"no value", "name:\n", `f.yaml:1:7: name: has no value (give it one or remove the line)`},
		{"missing variable", "name: ${NOT_SET}", `f.yaml:1:7: name: environment variable NOT_SET is not set`},
		{"open reference", "name: ${X", `f.yaml:1:7: name: ${ must begin the name of an environment variable, ` +
			`${NAME}; write $$ for a dollar`},
		{"secret in the wrong place is not shown", "wait: ${SECRET}",
			`f.yaml:1:7: wait: wants a duration such as 30s or 1h30m (its value comes from the environment)`},
		{"alias", "name: &a x\nlist: *a", "" +
			"f.yaml:1:7: name: anchors, aliases and tags are not taken: write the value here\n" +
			"f.yaml:2:7: list: anchors, aliases and tags are not taken: write the value here"},
		{"merge key", "<<: {name: x}", `f.yaml:1:1: <<: merge keys are not taken: write the values here`},
		{"second document", "name: a\n---\nname: b",
			`f.yaml:3:1: a second document begins here; the configuration is one document`},
		{"not YAML", "name: [a", `f.yaml:1:7: is not YAML: sequence end token ']' not found (a bracket or brace is not closed, or text in them needs quotes)`},
		{"a key that is no text", "1: x", `f.yaml:1:1: 1: a key must be text (put it in quotes)`},
		{"not a mapping at all", "- a", `f.yaml:1:1: wants settings below it, has a list`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, findings := decode(tc.text, map[string]string{"SECRET": "hunter2"})
			if got := findings.Error(); got != tc.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tc.want)
			}
		})
	}
}

func TestMistakesAreFindings(t *testing.T) {
	_, err := Reader{Env: func(string) (string, bool) { return "", false }}.File("testdata/absent.yaml")
	var findings check.Findings
	if !errors.As(err, &findings) || findings.Worst() != check.Mistake {
		t.Fatalf("an absent file gives %v, want findings", err)
	}
	if want := "testdata/absent.yaml: can't be read: no such file or directory"; err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}
}
