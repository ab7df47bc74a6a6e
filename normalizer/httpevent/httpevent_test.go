package httpevent_test

import (
	"bytes"
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/mapping"
	"stackstream/internal/timeform"
	"stackstream/normalizer/httpevent"
	"stackstream/normalizer/normalizertest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func converter(t testing.TB, c mapping.Config) *httpevent.Converter {
	t.Helper()
	m, mistakes := mapping.Compile(c)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	return httpevent.New(normalizertest.Rules(t), m)
}

func raw(body string) event.Raw {
	return event.Raw{
		ID: "raw-id", Format: "http/x", Body: []byte(body), Time: time.Date(2026, 11, 22, 6, 59, 0, 0, time.UTC),
		Received: time.Date(2026, 11, 22, 7, 0, 0, 123456789, time.UTC),
	}
}

// Each golden file is a record, a mapping and the event that they make.
func TestGolden(t *testing.T) {
	schema := normalizertest.NewSchema(t)
	for name, test := range map[string]struct {
		mapping   mapping.Config
		body      string
		partition string
	}{
		"least": {mapping.Config{Type: "rec.action"}, `{"action": "repo.create", "n": 1.50}`, ""},
		"full": {mapping.Config{
			Type: `rec.actor.type + "." + rec.eventType`, Time: "rec.published", TimeFormat: timeform.Forms{"unix_ms"},
			Payload: `{"what": rec.target, "region": partition.region}`, Publisher: "rec.client", Priority: `"info"`, Message: "rec.displayMessage",
			Context: mapping.Context{RequestID: "rec.transaction.id", UserID: "rec.actor.id", UserName: "rec.actor.?name", ProjectID: "rec.org"},
			Targets: map[string]string{"app": "rec.target[0].id", "absent": "rec.target[9].id"},
		}, `{"actor": {"type": "User", "id": 12345678901234567890123, "name": "ann"}, "eventType": "session.start", "published": 1767366245123,
			"client": "web", "displayMessage": "logged in", "transaction": {"id": "t-1"}, "org": "acme", "target": [{"id": "a1", "password": "hunter2"}]}`, "one"},
		"secrets":      {mapping.Config{Type: `"login"`, Message: "rec.token"}, `{"password": "hunter2", "token": "abc", "user": "ann"}`, ""},
		"not a number": {mapping.Config{Type: `"metric"`}, `{"value": NaN, "name": "x"}`, ""},
		"a text":       {mapping.Config{Type: `"line"`, Payload: `{"line": rec}`}, `"just text"`, ""},
		"time of CEL":  {mapping.Config{Type: `"x"`, Time: `timestamp(rec.at)`}, `{"at": 1700000000}`, ""},
		"no time":      {mapping.Config{Type: `"x"`, Time: `rec.?at`}, `{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := raw(test.body)
			if test.partition != "" {
				in.Header = map[string]string{mapping.HeaderPartition: test.partition, mapping.HeaderPartitionName: "region"}
			}
			kept := bytes.Clone(in.Body)
			converted, err := converter(t, test.mapping).Convert(in)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(in.Body, kept) {
				t.Error("the converter changed the raw body")
			}
			path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".want.json")
			if got := schema.Golden(t, path, *update, "http", converted.Events); strings.Contains(got, "hunter2") {
				t.Error("a secret is shown")
			}
		})
	}
}

// What can't be mapped is an error that says which expression, and shows nothing of the record.
func TestWhatBecomesADeadLetter(t *testing.T) {
	for name, test := range map[string]struct {
		mapping    mapping.Config
		body, want string
	}{
		"no JSON":          {mapping.Config{Type: `"x"`}, `{"a": `, "body: "},
		"no type":          {mapping.Config{Type: "rec.action"}, `{"secret-thing": 1}`, "type: rec.action: no such member: action"},
		"an empty type":    {mapping.Config{Type: "rec.action"}, `{"action": ""}`, "type: rec.action: is empty"},
		"an object":        {mapping.Config{Type: "rec.action"}, `{"action": {}}`, "type: rec.action: is an object or a list"},
		"no time":          {mapping.Config{Type: `"x"`, Time: "rec.at"}, `{"at": "yesterday"}`, "time: rec.at is no time in a known form"},
		"of another form":  {mapping.Config{Type: `"x"`, Time: "rec.at", TimeFormat: timeform.Forms{"unix"}}, `{"at": "x"}`, "time: rec.at: "},
		"no payload":       {mapping.Config{Type: `"x"`, Payload: "rec.data"}, `{}`, "payload: rec.data: no such member"},
		"a payload of CEL": {mapping.Config{Type: `"x"`, Payload: "rec.a + 1"}, `{"a": "b"}`, "payload: rec.a + 1: "},
	} {
		_, err := converter(t, test.mapping).Convert(raw(test.body))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret-thing") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// The name changes with the mapping, and with nothing else.
func TestName(t *testing.T) {
	a, b := mapping.Config{Type: "rec.a", Targets: map[string]string{"x": "rec.x", "y": "rec.y"}}, mapping.Config{Type: "rec.b"}
	one, again, another := converter(t, a).Name(), converter(t, a).Name(), converter(t, b).Name()
	if one != again || one == another {
		t.Errorf("the names are %s, %s, %s", one, again, another)
	}
}

func TestMistakesInAMapping(t *testing.T) {
	_, mistakes := mapping.Compile(mapping.Config{
		ID: "rex", TimeFormat: timeform.Forms{"unix", "sometimes"}, Payload: "rec +", Context: mapping.Context{UserID: "[1]"}, Targets: map[string]string{"vm": "1 +"},
	})
	var fields []string
	for _, m := range mistakes {
		fields = append(fields, m.Field)
	}
	want := "id payload type time_format[1] context.user_id targets.vm"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("mistakes in %s, want %s", got, want)
	}
}

func FuzzConvert(f *testing.F) {
	for _, seed := range []string{`{"action": "a", "at": 1}`, `[]`, `{"action": {"a": NaN}}`, `"x"`, `{`} {
		f.Add([]byte(seed))
	}
	c := converter(f, mapping.Config{
		Type: `rec.?action.orValue("none")`, Time: "rec.?at", TimeFormat: timeform.Forms{"unix", "rfc3339"}, Message: "rec.list[0].m",
		Payload: `{"rec": rec, "sum": hash(rec)}`, Targets: map[string]string{"x": "rec.x.y"},
	})
	schema := normalizertest.NewSchema(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		converted, err := c.Convert(event.Raw{ID: "id", Body: body, Received: time.Unix(0, 0)})
		if err != nil {
			return
		}
		schema.Encode(t, "http", converted.Events)
	})
}

func BenchmarkConvert(b *testing.B) {
	c := converter(b, mapping.Config{
		Type: "rec.action", Time: "rec.at", TimeFormat: timeform.Forms{"unix_ms"}, Message: "rec.?message",
		Context: mapping.Context{UserID: "rec.actor.id"}, Targets: map[string]string{"repo": "rec.repo"},
	})
	in := raw(`{"action": "repo.create", "at": 1767366245123, "actor": {"id": 7, "name": "ann"}, "repo": "acme/x", "message": "created", "data": "` +
		strings.Repeat("x", 700) + `"}`)
	b.SetBytes(int64(len(in.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Convert(in); err != nil {
			b.Fatal(err)
		}
	}
}
