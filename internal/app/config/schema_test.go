package config_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"stackstream/docs"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/check"
)

// configSchema is the schema that is committed; package schema's test says that it is the one of the code.
func configSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(docs.ConfigSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("stackstream.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("stackstream.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate tells what an editor would say of a file.
func validate(s *jsonschema.Schema, data []byte) error {
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		return err
	}
	return s.Validate(value)
}

// goodFiles are all configurations that are committed, but for those with mistakes in them.
func goodFiles(t *testing.T) []string {
	t.Helper()
	files := append(fixtures(t, "testdata/good/*.yaml"), "../../../deploy/stackstream.yaml")
	return append(append(files, fixtures(t, examples+"*.yaml")...), fixtures(t, examples+"http/*.yaml")...)
}

func TestSchemaTakesWhatIsGood(t *testing.T) {
	s := configSchema(t)
	for _, file := range goodFiles(t) {
		if err := validate(s, []byte(readFile(t, file))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// bySchema are the decoder's messages about what a schema can know.
var bySchema = regexp.MustCompile(`unknown setting|wants |has no value|one of .* (is meant|\()`)

func TestSchemaRefusesWhatIsBad(t *testing.T) {
	s := configSchema(t)
	for _, file := range fixtures(t, "testdata/bad/*.yaml") {
		_, err := reader().File(file)
		var findings check.Findings
		if !errors.As(err, &findings) {
			t.Fatal(err)
		}
		known := false
		for _, f := range findings {
			known = known || bySchema.MatchString(f.Message) && f.Hint != "its value comes from the environment" && !strings.Contains(f.Message, "${")
		}
		var value any
		if yaml.Unmarshal([]byte(readFile(t, file)), &value) != nil {
			continue // keys that are there twice, and what is no YAML at all
		}
		if err := s.Validate(value); known != (err != nil) {
			t.Errorf("%s is refused: %v, want that: %v\n%v", file, err, known, findings)
		}
	}
}

// An example opens in an editor with what it needs to know.
func TestExamplesNameTheirSchema(t *testing.T) {
	for _, file := range append(fixtures(t, examples+"*.yaml"), append(fixtures(t, examples+"http/*.yaml"), "../../../deploy/stackstream.yaml")...) {
		first, _, _ := strings.Cut(readFile(t, file), "\n")
		name, ok := strings.CutPrefix(first, "# yaml-language-server: $schema=")
		if !ok {
			t.Errorf("%s does not name its schema in its first line", file)
			continue
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), name)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// For whatever is written, decoder and schema say the same of its structure.
func TestSchemaAndDecoderAgree(t *testing.T) {
	s, settings := configSchema(t), config.Describe(app.Kinds())
	r := config.Reader{Env: func(string) (string, bool) { return "0", true }, Kinds: app.Kinds()}
	rapid.Check(t, func(t *rapid.T) {
		value := draw(t, settings, "", rapid.IntRange(0, 3).Draw(t, "slips"))
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		found := r.Structure(text)
		if err := s.Validate(value); (len(found) > 0) != (err != nil) {
			t.Fatalf("%s\ndecoder: %v\nschema: %v", text, found, err)
		}
	})
}

// draw makes what a setting may be, with about as many slips in it as are asked for.
func draw(t *rapid.T, s *config.Setting, path string, slips int) any {
	label := path + "." + s.Name
	if slips > 0 && rapid.IntRange(0, 9).Draw(t, label+" slip") == 0 {
		if s.Form == config.Own { // what texts it takes is its own business
			return rapid.SampledFrom([]any{true, nil, []any{"now"}, map[string]any{}}).Draw(t, label+" is")
		}
		slips := []any{
			"some text", "5", "0", "true", float64(5), float64(0), float64(-3), 2.5, true, nil, []any{}, []any{"some text"}, []any{nil},
			[]any{map[string]any{}}, map[string]any{}, map[string]any{"zzz": "x"}, "5m", "5MiB", "ascending",
		}
		if s.Words == nil && (s.Elem == nil || s.Elem.Words == nil) { // a schema does not know the environment, where these words are not
			slips = append(slips, "${NUMBER}")
		}
		return rapid.SampledFrom(slips).Draw(t, label+" is")
	}
	switch s.Form {
	case config.Mapping:
		m := map[string]any{}
		for _, field := range s.Fields {
			if rapid.IntRange(0, 2).Draw(t, label+"."+field.Name+" there") == 0 {
				m[field.Name] = draw(t, field, label, slips)
			}
		}
		if slips > 0 && rapid.IntRange(0, 9).Draw(t, label+" unknown") == 0 {
			m["unknown"] = "x"
		}
		return m
	case config.Map:
		m := map[string]any{}
		for range rapid.IntRange(0, 2).Draw(t, label+" size") {
			m[rapid.StringMatching(`[a-z]{1,5}`).Draw(t, label+" name")] = draw(t, s.Elem, label, slips)
		}
		return m
	case config.List:
		if scalar := s.Elem.Form != config.Mapping && s.Elem.Form != config.Map; scalar && rapid.Bool().Draw(t, label+" one") {
			return draw(t, s.Elem, label, slips)
		}
		list := []any{}
		for range rapid.IntRange(0, 2).Draw(t, label+" size") {
			list = append(list, draw(t, s.Elem, label, slips))
		}
		return list
	case config.Truth:
		return rapid.SampledFrom([]any{true, false, "${TRUTH}"}).Draw(t, label)
	case config.Duration:
		return rapid.SampledFrom([]any{float64(0), "0", "7d", "1d12h", "250ms", "1.5h", "1h30m", "${TIME}"}).Draw(t, label)
	case config.Size:
		return rapid.SampledFrom([]any{float64(0), "0", "1B", "2kB", "3 MiB", "10gib", "${SIZE}"}).Draw(t, label)
	case config.Whole:
		return rapid.SampledFrom([]any{float64(0), float64(7), "12", "1_000", "${NUMBER}"}).Draw(t, label)
	case config.Number:
		return rapid.SampledFrom([]any{0.5, float64(3), "1.25", "1e3", "${NUMBER}"}).Draw(t, label)
	case config.Own:
		return rapid.SampledFrom(owned(s)).Draw(t, label)
	case config.Secret:
		return rapid.SampledFrom([]any{"hunter2", "${SECRET}"}).Draw(t, label)
	}
	if s.Words != nil {
		return rapid.SampledFrom(s.Words).Draw(t, label)
	}
	return rapid.SampledFrom([]any{"", "text", "${TEXT}/x", "a$$b"}).Draw(t, label)
}

// owned are texts that the type of a setting takes.
func owned(s *config.Setting) []string {
	return slices.DeleteFunc([]string{"now", "2026-01-02T15:04:05Z", "5/s", "100", "10%"}, func(text string) bool {
		return reflect.New(s.Type).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)) != nil
	})
}

// What the schema calls a default is what the decoder makes of the file that says nothing.
func TestDefaultsAreTrue(t *testing.T) {
	bare := "providers: {p: {amqp: {hosts: h, user: u, password: p}}}"
	want, err := reader().Bytes("bare.yaml", []byte(bare))
	if err != nil {
		t.Fatal(err)
	}
	settings := config.Describe(app.Kinds())
	value := defaults(settings).(map[string]any)
	for _, name := range []string{"nats", "streams"} { // they depend on one another
		delete(value, name)
	}
	amqp := map[string]any{}
	for _, field := range settings.Fields {
		if field.Name != "providers" {
			continue
		}
		for _, kind := range field.Elem.Fields {
			if kind.Name == "amqp" {
				amqp = defaults(kind).(map[string]any)
			}
		}
	}
	amqp["hosts"], amqp["user"], amqp["password"] = "h", "u", "p"
	value["providers"] = map[string]any{"p": map[string]any{"events": "auto", "amqp": amqp}}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	got, err := reader().Bytes("defaults.yaml", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-nothing said +as the schema says):\n%s", diff)
	}
}

func defaults(s *config.Setting) any {
	if s.Form != config.Mapping {
		return s.Default
	}
	m := map[string]any{}
	for _, field := range s.Fields {
		if value := defaults(field); value != nil {
			m[field.Name] = value
		}
	}
	return m
}
