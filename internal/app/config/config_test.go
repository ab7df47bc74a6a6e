package config_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/collectors/amqp"
	"stackstream/collectors/amqp1"
	"stackstream/collectors/httppoll"
	"stackstream/collectors/panko"
	"stackstream/collectors/telemetry"
	"stackstream/collectors/webhook"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/check"
	"stackstream/jetstream"
	"stackstream/normalizer/rules"
)

var update = flag.Bool("update", false, "write the files with what is expected anew")

// secret is the value of every environment variable there is; nothing that is printed may contain it.
const secret = "hunter2"

func reader() config.Reader {
	return config.Reader{
		Env:   func(name string) (string, bool) { return secret, name == "SECRET" || name == "NATS_PASSWORD" },
		Kinds: app.Kinds(),
	}
}

func fixtures(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures %s: %v", pattern, err)
	}
	return files
}

func TestGood(t *testing.T) {
	for _, file := range fixtures(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, err := reader().File(file); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// A file that is no configuration is refused before anything takes it apart.
func TestHugeFile(t *testing.T) {
	for name, content := range map[string][]byte{
		"mappings": bytes.Repeat([]byte("a: b\n"), 1<<20), "brackets": bytes.Repeat([]byte("["), 1<<20+1),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "huge.yaml")
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := reader().File(file)
			if want := file + ": can't be read: it has more than 1048576 bytes, which no configuration needs"; err == nil ||
				err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
		})
	}
}

// Some editors put a mark at the beginning of a file.
func TestByteOrderMark(t *testing.T) {
	if _, err := reader().Bytes("marked.yaml", []byte("\xef\xbb\xbfproviders: {lab: {events: none}}\n")); err != nil {
		t.Errorf("refused: %v", err)
	}
}

// TestBad compares every mistake that is told about a file with the file's .want.
func TestBad(t *testing.T) {
	for _, file := range fixtures(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := reader().File(file)
			var findings check.Findings
			if !errors.As(err, &findings) || findings.Worst() != check.Mistake {
				t.Fatalf("error is %v, want findings with a mistake", err)
			}
			got := filepath.ToSlash(err.Error()) + "\n"
			if strings.Contains(got, secret) {
				t.Errorf("a secret is shown:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClusterIsReadAsWritten(t *testing.T) {
	cfg, err := reader().File("testdata/good/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	settings := panko.Default()
	settings.Auth.URL = "https://keystone.example.org:5000"
	settings.Auth.ApplicationCredential.ID = "abc"
	settings.Auth.ApplicationCredential.Secret = secret
	settings.Every = time.Minute
	want := config.Default()
	want.NATS.Config = jetstream.Config{
		URLs: []string{"nats://nats-1:4222", "tls://nats-2:4222"}, User: "stackstream", Password: secret,
		TLS: jetstream.TLSConfig{CAFile: "/etc/ca.pem"},
	}
	want.Streams.Replicas, want.Streams.Budget = 3, 100<<30
	want.Streams.Raw = jetstream.StreamLimits{MaxBytes: 10 << 30, MaxAge: 14 * 24 * time.Hour}
	want.Streams.LeaseTTL = 5 * time.Second
	want.Admin.Listen, want.Log = "off", config.Log{Level: "debug", Format: "json"}
	want.Providers = config.Providers{
		"prod": {Events: "panko", Sources: map[string]any{"panko": &settings}},
		"lab":  {Events: "none"},
	}
	if diff := cmp.Diff(want, cfg, cmp.AllowUnexported(telemetry.Start{})); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

const (
	examples = "../../../examples/"
	example  = examples + "stackstream.yaml"
)

func TestExamplesAreAccepted(t *testing.T) {
	for _, file := range append(fixtures(t, examples+"*.yaml"), fixtures(t, examples+"http/*.yaml")...) {
		if _, err := reader().File(file); err != nil {
			t.Errorf("%s is refused:\n%v", filepath.Base(file), err)
		}
	}
}

// What the examples are doubted for is what their services do.
func TestDoubtsAboutExamples(t *testing.T) {
	want := map[string]string{
		"gitea.yaml":            "providers.gitea.http.pagination.type",
		"usgs-earthquakes.yaml": "providers.usgs.http.pagination.type",
	}
	for _, file := range fixtures(t, examples+"http/*.yaml") {
		cfg, err := reader().File(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, doubt := range cfg.Doubts {
			got = append(got, doubt.Subject)
			if doubt.Position.Line == 0 || doubt.Severity != check.Warning {
				t.Errorf("%s: %+v", filepath.Base(file), doubt)
			}
		}
		if strings.Join(got, " ") != want[filepath.Base(file)] {
			t.Errorf("%s is doubted for %v, want %q", filepath.Base(file), got, want[filepath.Base(file)])
		}
	}
}

// What docs/http.md shows is the example of that name.
func TestDocumentationShowsAnExample(t *testing.T) {
	page, err := os.ReadFile("../../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	block, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/http.md shows no configuration")
	}
	shown, err := reader().Bytes("docs/http.md", []byte(block))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := reader().File(examples + "http/time-from.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kept.Providers["my-service"].Sources, shown.Providers["my-service"].Sources, cmp.AllowUnexported(httppoll.Start{})); diff != "" {
		t.Errorf("docs/http.md (-example +shown):\n%s", diff)
	}
}

// TestAMQPExampleShowsTheDefaults: as TestExampleShowsTheDefaults.
func TestAMQPExampleShowsTheDefaults(t *testing.T) {
	got, err := reader().File(examples + "amqp.yaml")
	if err != nil {
		t.Fatalf("the example is refused:\n%v", err)
	}
	want := amqp.Default()
	want.Hosts = []string{"rabbit-1", "rabbit-2:5672"}
	want.User, want.PasswordFile = "stackstream", "/etc/stackstream/rabbitmq.password"
	want.EventTypes.Include, want.EventTypes.Exclude = []string{"*"}, []string{"*.exists"}
	if diff := cmp.Diff(map[string]any{"amqp": &want}, got.Providers["my-cloud"].Sources); diff != "" {
		t.Errorf("example (-default +example):\n%s", diff)
	}
}

// TestAMQP1ExampleShowsTheDefaults: as TestExampleShowsTheDefaults.
func TestAMQP1ExampleShowsTheDefaults(t *testing.T) {
	got, err := reader().File(examples + "amqp1.yaml")
	if err != nil {
		t.Fatalf("the example is refused:\n%v", err)
	}
	want := amqp1.Default()
	want.Hosts, want.Addresses = []string{"router-1", "router-2:5672"}, []string{"anycast/ceilometer/event.sample"}
	want.User, want.PasswordFile = "stackstream", "/etc/stackstream/stf.password"
	want.EventTypes.Include, want.EventTypes.Exclude = []string{"*"}, []string{"*.exists"}
	if diff := cmp.Diff(map[string]any{"amqp1": &want}, got.Providers["my-cloud"].Sources); diff != "" {
		t.Errorf("example (-default +example):\n%s", diff)
	}
}

// TestWebhookExampleShowsTheDefaults: as TestExampleShowsTheDefaults.
func TestWebhookExampleShowsTheDefaults(t *testing.T) {
	got, err := reader().File(examples + "webhook.yaml")
	if err != nil {
		t.Fatalf("the example is refused:\n%v", err)
	}
	want := webhook.Default()
	want.Format, want.Refuse = "ceilometer", "disconnect"
	want.Auth.Basic = &webhook.Basic{User: "agent", PasswordFile: "/etc/stackstream/agent.password"}
	want.TLS.ClientNames = []string{}
	want.EventTypes.Include, want.EventTypes.Exclude = []string{"*"}, []string{"*.exists"}
	if diff := cmp.Diff(map[string]any{"webhook": &want}, got.Providers["my-cloud"].Sources); diff != "" {
		t.Errorf("example (-default +example):\n%s", diff)
	}
}

// TestBusyExampleHasShards: each exchange belongs to one source, a single one may stand for a list.
func TestBusyExampleHasShards(t *testing.T) {
	got, err := reader().File(examples + "amqp-busy.yaml")
	if err != nil {
		t.Fatalf("the example is refused:\n%v", err)
	}
	settings := got.Providers["large"].Sources["amqp"].(*amqp.Config)
	if diff := cmp.Diff(map[string][]string{"compute": {"nova"}, "net": {"neutron"}}, settings.Shards); diff != "" {
		t.Errorf("shards (-want +got):\n%s", diff)
	}
	if settings.Queue.MaxBytes != 8<<30 || settings.Queue.TTL != 7*24*time.Hour {
		t.Errorf("the queue is limited to %d bytes and %s", settings.Queue.MaxBytes, settings.Queue.TTL)
	}
}

// TestExampleShowsTheDefaults: what the example sets is the default, but for what the comments beside it say.
func TestExampleShowsTheDefaults(t *testing.T) {
	got, err := reader().File(example)
	if err != nil {
		t.Fatalf("the example is refused:\n%v", err)
	}
	settings := panko.Default()
	settings.Auth.URL = "https://keystone.example.org:5000/v3"
	settings.Auth.User, settings.Auth.Domain = "stackstream", "Default"
	settings.Auth.PasswordFile = "/etc/stackstream/my-cloud.password"
	settings.Auth.Project, settings.Auth.ProjectDomain = "admin", "Default"
	settings.EventTypes.Include, settings.EventTypes.Exclude = []string{"*"}, []string{"*.exists"}

	want := config.Default()
	want.Streams.Replicas, want.Streams.Budget = 1, 32<<30
	want.Streams.Bodies.MaxAge = 97 * 24 * time.Hour
	want.NATS.Embedded.Listen = "127.0.0.1:4222"
	want.NATS.Embedded.MaxMemory = 64 << 20
	want.Normalizer.EventGroups = rules.Table{
		Groups: []rules.GroupEntry{{Group: "power", Types: []string{"baremetal.node.power_set.*"}}},
		Levels: []rules.LevelEntry{{Level: "critical", Types: []string{"*.error"}}},
	}
	broker := amqp.Default()
	broker.Hosts, broker.User = []string{"rabbit-1", "rabbit-2"}, "stackstream"
	broker.PasswordFile = "/etc/stackstream/rabbitmq.password"
	want.Providers = config.Providers{
		"my-cloud": {Events: "auto", Sources: map[string]any{"amqp": &broker, "panko": &settings}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(telemetry.Start{})); diff != "" {
		t.Errorf("example (-default +example):\n%s", diff)
	}
}

// TestExamplesHaveEverySetting looks for the name of every setting there is, commented out or not.
func TestExamplesHaveEverySetting(t *testing.T) {
	everything := readFile(t, example)
	shows(t, everything, "", reflect.TypeFor[config.Config]())
	for _, kind := range app.Kinds() {
		if !strings.Contains(everything, kind.Name+":") {
			t.Errorf("the example does not show the source %s", kind.Name)
		}
		text := everything
		if slices.Contains([]string{amqp.Kind, amqp1.Kind, webhook.Kind}, kind.Name) {
			text = readFile(t, examples+kind.Name+".yaml")
		}
		if kind.Name == httppoll.Kind || kind.Name == webhook.Kind {
			text += readFile(t, examples+"http/every-setting.yaml") // with the login to Keystone as panko has it
		}
		shows(t, text, "providers.my-cloud."+kind.Name, reflect.TypeOf(kind.Settings()))
	}
}

// shows fails the test for each setting of a type whose name is not in the text.
func shows(t *testing.T, text, path string, of reflect.Type) {
	t.Helper()
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return
	}
	for i := range of.NumField() {
		field := of.Field(i)
		tag, ok := field.Tag.Lookup("yaml")
		if !ok || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if options == "inline" || options == "kinds" {
			shows(t, text, path, field.Type)
			continue
		}
		// A line of its own, commented out or not, within braces, or named in a comment as an alternative.
		found := false
		for _, form := range []string{name + ":", "or " + name, name + ",", ", " + name + " as"} {
			found = found || strings.Contains(text, form)
		}
		if !found {
			t.Errorf("the example does not show %s.%s", path, name)
		}
		shows(t, text, path+"."+name, field.Type)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func FuzzReader(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", examples + "*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte("nats: &a {url: *a}"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Add([]byte("a: !!binary |\n  aGk="))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := reader().Bytes("f.yaml", data)
		var findings check.Findings
		switch {
		case err == nil:
			for _, name := range cfg.Providers.Names() {
				if _, err := event.ParseProvider(string(name)); err != nil {
					t.Errorf("accepted the provider %q", name)
				}
			}
		case !errors.As(err, &findings):
			t.Errorf("error is %T, want findings", err)
		case strings.Contains(err.Error(), secret) && !bytes.Contains(data, []byte(secret)):
			t.Errorf("a secret is shown: %v", err)
		}
	})
}

// The YAML parser needs gigabytes for a file of a few kilobytes that is nothing but brackets.
func TestNestingIsBounded(t *testing.T) {
	_, err := config.Reader{}.Bytes("deep.yaml", []byte("nats:\n  url: "+strings.Repeat("[", 100_000)))
	want := "deep.yaml:2:1: has brackets more than 50 deep in one another, which no configuration needs"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
