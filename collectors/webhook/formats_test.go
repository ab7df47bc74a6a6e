package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/internal/records"
)

func formatOf(tb testing.TB, name string, change func(*Config)) format {
	tb.Helper()
	f, err := newFormat(config(name, change), options(nil))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func decode(f format, kind, body string, headers ...string) ([]made, *refusal) {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	if kind != "" {
		h.Set("Content-Type", kind)
	}
	kind, charset := media(kind)
	return f.decode(posted{header: h, kind: kind, charset: charset, body: []byte(body)})
}

func idsOf(all []made) string {
	var ids []string
	for _, m := range all {
		ids = append(ids, string(m.ID)+"="+m.eventType)
	}
	return strings.Join(ids, ", ")
}

// What the agent posted is taken apart without a change: together the events are the list.
func TestRecordedPosts(t *testing.T) {
	paths, err := filepath.Glob("testdata/ceilometer/*.json")
	if err != nil || len(paths) < 8 {
		t.Fatalf("found %d recorded posts (%v)", len(paths), err)
	}
	f := formatOf(t, formatCeilometer, nil)
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all, refused := decode(f, "application/json", string(body))
		if refused != nil {
			t.Errorf("%s: %v", path, refused)
			continue
		}
		whole := []byte{'['}
		for i, m := range all {
			if i > 0 {
				whole = append(whole, ", "...)
			}
			whole = append(whole, m.Body...)
			if m.ID == "" || m.Hashed || m.eventType == "" || m.Format != "ceilometer" {
				t.Errorf("%s: event %d is %+v", path, i, m)
			}
		}
		if whole = append(whole, ']'); !bytes.Equal(whole, body) {
			t.Errorf("%s: together the events are\n%s", path, whole)
		}
	}
}

const batchJSON, oneJSON = "application/cloudevents-batch+json", "application/cloudevents+json"

func cloudEvent(id string) string {
	return `{"specversion":"1.0","type":"org.example.thing","source":"/things","id":"` + id + `","data":{"n":1.50,"big":12345678901234567890}}`
}

func TestWhatIsTaken(t *testing.T) {
	list := func(c *Config) {
		c.Records.Path, c.Records.Filter = "data.items", `rec.type != "noise"`
	}
	expand := func(c *Config) {
		c.Records.Expand, c.Records.Parent = []string{"logs"}, "of"
		c.Event.ID, c.Event.Type = `string(rec.of.block) + "-" + string(rec.n)`, "rec.of.kind"
	}
	for name, test := range map[string]struct {
		format  string
		change  func(*Config)
		kind    string
		body    string
		headers []string
		want    string
	}{
		"one of the agent":          {formatCeilometer, nil, "", `{"message_id":"a","event_type":"x"}`, nil, "a=x"},
		"none":                      {formatCeilometer, nil, "", `[]`, nil, ""},
		"without id":                {formatCeilometer, nil, "", `[{"event_type":"x"}]`, nil, string(event.HashID([]byte(`{"event_type":"x"}`))) + "=x"},
		"a CloudEvent":              {formatCloudEvents, nil, oneJSON, cloudEvent("a"), nil, "/things a=org.example.thing"},
		"a batch":                   {formatCloudEvents, nil, batchJSON, "[" + cloudEvent("a") + "," + cloudEvent("b") + "]", nil, "/things a=org.example.thing, /things b=org.example.thing"},
		"data of a +json type":      {formatCloudEvents, nil, oneJSON, strings.Replace(cloudEvent("a"), `{`, `{"datacontenttype":"application/x+json",`, 1), nil, "/things a=org.example.thing"},
		"an empty batch":            {formatCloudEvents, nil, batchJSON, "[]", nil, ""},
		"binary":                    {formatCloudEvents, nil, "application/json", `{"n":1.50}`, []string{"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1", "ce-ext", "x%20y"}, "/s 1=t"},
		"binary without data":       {formatCloudEvents, nil, "", "", []string{"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1"}, "/s 1=t"},
		"in latin1":                 {formatCeilometer, nil, "application/json; charset=latin1", `{"message_id":"` + "\xe9" + `","event_type":"x"}`, nil, "é=x"},
		"a wrong parameter":         {formatCloudEvents, nil, oneJSON + ";x", cloudEvent("a"), nil, "/things a=org.example.thing"},
		"no data beside bytes":      {formatCloudEvents, nil, oneJSON, `{"specversion":"1.0","type":"t","source":"/s","id":"1","data":null,"data_base64":"AA=="}`, nil, "/s 1=t"},
		"spaces that are meant":     {formatCloudEvents, nil, "", "", []string{"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", " %20b11%20 "}, "/s  b11 =t"},
		"one record":                {formatJSON, nil, "", `{"id":1,"type":"a"}`, nil, "1=a"},
		"a list of records":         {formatJSON, nil, "", `[{"id":1,"type":"a"},{"id":"two","type":"b"}]`, nil, "1=a, two=b"},
		"a path and a filter":       {formatJSON, list, "", `{"data":{"items":[{"id":1,"type":"noise"},{"id":2,"type":"b"}]}}`, nil, "2=b"},
		"null is no records":        {formatJSON, list, "", `{"data":{"items":null}}`, nil, ""},
		"records that are expanded": {formatJSON, expand, "", `{"block":7,"kind":"eth","logs":[{"n":0},{"n":1}]}`, nil, "7-0=eth, 7-1=eth"},
		"values":                    {formatJSON, func(c *Config) { c.Records.Shape, c.Records.Key = records.Values, "id" }, "", `{"a":{"type":"x"},"b":{"type":"y"}}`, nil, "a=x, b=y"},
	} {
		all, refused := decode(formatOf(t, test.format, test.change), test.kind, test.body, test.headers...)
		if refused != nil {
			t.Errorf("%s: %v", name, refused)
			continue
		}
		if got := idsOf(all); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		for _, m := range all {
			if !json.Valid(m.Body) {
				t.Errorf("%s: the body is %s", name, m.Body)
			}
		}
	}
}

// What is posted in binary mode has all of its parts and no more, and its data the bytes that came.
func TestBinaryMode(t *testing.T) {
	f := formatOf(t, formatCloudEvents, nil)
	attributes := []string{
		"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1", "ce-time", "2026-11-22T05:42:45.672012Z",
		"ce-subject", "a%20b", "ce-partitionkey", "k",
	}
	for kind, test := range map[string]struct{ data, name, want string }{
		"application/json":           {`{"n":1.50,"big":12345678901234567890}`, "data", `{"n":1.50,"big":12345678901234567890}`},
		"application/vnd.x+json":     {`[1]`, "data", `[1]`},
		"text/plain":                 {"hello \"you\"", "data", `"hello \"you\""`},
		"application/octet-stream":   {"\x00\xff", "data_base64", `"AP8="`},
		"application/xml; version=1": {"<a/>&", "data", `"<a/>&"`},
		"text/plain; charset=latin1": {"\xc3\xa9", "data_base64", `"w6k="`}, // bytes that are UTF-8 by chance
		"text/plain; charset=UTF-8":  {"\xc3\xa9", "data", `"é"`},
	} {
		all, refused := decode(f, kind, test.data, attributes...)
		if refused != nil || len(all) != 1 {
			t.Errorf("%s: %v", kind, refused)
			continue
		}
		want := map[string]string{
			"specversion": `"1.0"`, "type": `"t"`, "source": `"/s"`, "id": `"1"`, "time": `"2026-11-22T05:42:45.672012Z"`,
			"subject": `"a b"`, "partitionkey": `"k"`, "datacontenttype": `"` + kind + `"`, test.name: test.want,
		}
		members, ok := rawjson.Value(all[0].Body).Members()
		if !ok || len(members) != len(want) {
			t.Errorf("%s: %s", kind, all[0].Body)
		}
		for name, value := range want {
			if got := string(members.Get(name)); got != value {
				t.Errorf("%s: %s is %s, want %s", kind, name, got, value)
			}
		}
		if all[0].ContentType != oneJSON || all[0].ID != "/s 1" || all[0].eventType != "t" {
			t.Errorf("%s: %+v", kind, all[0])
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	ids := func(c *Config) { c.Records.Path = "items" }
	event := func(without string) string {
		return strings.Replace(cloudEvent("a"), without, `"x":`, 1)
	}
	for name, test := range map[string]struct {
		format  string
		change  func(*Config)
		kind    string
		body    string
		headers []string
		want    string
	}{
		"nothing":                {formatCeilometer, nil, "", "", nil, "it is empty"},
		"no JSON":                {formatCeilometer, nil, "", "<html>", nil, "the body is no JSON but begins with"},
		"cut off":                {formatCeilometer, nil, "", `[{"event_type":"x"`, nil, "cut off in the middle"},
		"a number":               {formatCeilometer, nil, "", `[7]`, nil, "record 0 is no object"},
		"no event":               {formatCeilometer, nil, "", `[{"message_id":"a","event_type":"x"},{"instance_id":"i"}]`, nil, "[1].event_type: is missing"},
		"an id that is a list":   {formatCeilometer, nil, "", `[{"message_id":[1],"event_type":"x"}]`, nil, "[0].message_id: is neither text nor a number"},
		"no CloudEvent":          {formatCloudEvents, nil, "application/json", `{}`, nil, "ce-specversion: is missing"},
		"another form":           {formatCloudEvents, nil, "application/cloudevents+avro", "x", nil, "Content-Type: of CloudEvents"},
		"no id":                  {formatCloudEvents, nil, oneJSON, event(`"id":`), nil, "id: "},
		"no type":                {formatCloudEvents, nil, oneJSON, event(`"type":`), nil, "type: "},
		"no source":              {formatCloudEvents, nil, oneJSON, event(`"source":`), nil, "source: "},
		"another version":        {formatCloudEvents, nil, oneJSON, strings.Replace(cloudEvent("a"), "1.0", "0.3", 1), nil, "specversion: is not 1.0"},
		"a digit as data":        {formatCloudEvents, nil, oneJSON, `{"data_base64":1,"specversion":"1.0","id":"1","source":"/","type":"t"}`, nil, "data_base64: is no base64"},
		"a header without name":  {formatCloudEvents, nil, "", "x", []string{"ce-", "1", "ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1"}, "data: is no JSON"},
		"data twice":             {formatCloudEvents, nil, oneJSON, strings.Replace(cloudEvent("a"), `{`, `{"data_base64":"AA==",`, 1), nil, "data_base64: can't be"},
		"data in it twice":       {formatCloudEvents, nil, oneJSON, strings.Replace(cloudEvent("a"), `{`, `{"data":null,`, 1), nil, "data: is there twice"},
		"data_base64 twice":      {formatCloudEvents, nil, batchJSON, `[{"data_base64":"","data_base64":"AA=="}]`, nil, "[0].data_base64: is there twice"},
		"in latin1":              {formatCloudEvents, nil, oneJSON + "; charset=iso-8859-1", cloudEvent("\xe9"), nil, "Content-Type: has another charset"},
		"a batch in UTF-16":      {formatCloudEvents, nil, batchJSON + "; charset=utf-16", "[]", nil, "Content-Type: has another charset"},
		"data in latin1":         {formatCloudEvents, nil, "application/json; charset=latin1", `"\xe9"`, []string{"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1"}, "Content-Type: has another charset"},
		"the agent's in none":    {formatCeilometer, nil, "application/json; charset=klingon", `[]`, nil, "Content-Type: \"klingon\" is no charset"},
		"a byte of no charset":   {formatCeilometer, nil, "application/json; charset=shift_jis", "[\"\xff\"]", nil, "Content-Type: the body has what is no character"},
		"a bad one in a batch":   {formatCloudEvents, nil, batchJSON, "[" + cloudEvent("a") + "," + event(`"id":`) + "]", nil, "[1].id: "},
		"a bad time":             {formatCloudEvents, nil, "", "", []string{"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1", "ce-time", "now"}, ""},
		"data that is no JSON":   {formatCloudEvents, nil, "application/json", "{", []string{"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1"}, "data: is no JSON"},
		"no records":             {formatJSON, ids, "", `{}`, nil, "the body has no items"},
		"a record without id":    {formatJSON, nil, "", `[{"id":1,"type":"a"},{"type":"a"}]`, nil, "record 1: event.id: rec.id is nothing"},
		"a record without type":  {formatJSON, nil, "", `{"id":1}`, nil, "record 0: event.type: "},
		"a record that is no id": {formatJSON, nil, "", `[{"id":{},"type":"a"}]`, nil, "record 0: event.id"},
	} {
		all, refused := decode(formatOf(t, test.format, test.change), test.kind, test.body, test.headers...)
		if refused == nil {
			t.Errorf("%s: taken as %s", name, idsOf(all))
			continue
		}
		if got := refused.Error(); !strings.Contains(got, test.want) || refused.status/100 != 4 {
			t.Errorf("%s: %d %q, want %q", name, refused.status, got, test.want)
		}
	}
}

// Whatever is posted is taken or refused: what is taken can be stored, and is taken alike again.
func FuzzDecode(f *testing.F) {
	paths, _ := filepath.Glob("testdata/ceilometer/*.json")
	for _, path := range paths {
		if body, err := os.ReadFile(path); err == nil && len(body) < 1500 {
			f.Add(body, "application/json", "1.0", "id")
		}
	}
	for _, seed := range []string{cloudEvent("a"), `{"id":1,"type":"a"}`, `[{"id":{"a":NaN}}]`, "[", `{"data":`, "\xff"} {
		f.Add([]byte(seed), oneJSON, "", "")
		f.Add([]byte("["+seed+"]"), batchJSON, "1.0", "x y")
	}
	formats := []format{
		formatOf(f, formatCeilometer, nil), formatOf(f, formatCloudEvents, nil), formatOf(f, formatJSON, nil),
		formatOf(f, formatJSON, func(c *Config) {
			c.Records.Path, c.Records.Expand, c.Records.Parent, c.Records.Filter = "a", []string{"b"}, "p", `rec.x != "y"`
		}),
	}
	f.Fuzz(func(t *testing.T, body []byte, kind, version, id string) {
		headers := []string{"ce-specversion", version, "ce-id", id, "ce-source", "/s", "ce-type", "t"}
		for _, f := range formats {
			kept := bytes.Clone(body)
			all, refused := decode(f, kind, string(body), headers...)
			if !bytes.Equal(kept, body) {
				t.Fatal("what was posted is changed")
			}
			if refused != nil {
				continue
			}
			again, _ := decode(f, kind, string(body), headers...)
			for i, m := range all {
				if m.ID == "" || m.ID != again[i].ID || len(m.Body) == 0 || !bytes.Equal(m.Body, again[i].Body) {
					t.Fatalf("event %d is %q %s, and then %q %s", i, m.ID, m.Body, again[i].ID, again[i].Body)
				}
			}
		}
	})
}
