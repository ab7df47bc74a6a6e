package webhook

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/internal/rawjson/rawjsontest"
)

// Whatever ids are posted, in whatever format, two are one identity only if they are the same.
func TestIdentitiesOfWhatIsPosted(t *testing.T) {
	concat := func(c *Config) { c.Event.ID = `rec.kind + "/" + rec.id` }
	optional := func(c *Config) { c.Event.ID = `"h/" + rec.of.?id.orValue("none")` }
	for name, test := range map[string]struct {
		format string
		change func(*Config)
		kind   string
		body   func(id string) string
	}{
		"an event of the agent": {formatCeilometer, nil, "", func(id string) string {
			return `{"event_type":"x","message_id":` + id + `,"raw":{"name":"\udcff` + "\xff" + `"}}`
		}},
		"a list": {formatCeilometer, nil, "", func(id string) string {
			return `[{"event_type":"x","message_id":` + id + `,"n":NaN},{"event_type":"x","message_id":"` + "\xfe" + `"}]`
		}},
		"a CloudEvent": {formatCloudEvents, nil, oneJSON, func(id string) string {
			return `{"specversion":"1.0","type":"t","source":"/s","data":"\udcff","id":` + id + `}`
		}},
		"a batch of CloudEvents": {formatCloudEvents, nil, batchJSON, func(id string) string {
			return `[{"specversion":"1.0","type":"t","source":"/s","id":` + id + `}]`
		}},
		"a record":               {formatJSON, nil, "", func(id string) string { return `{"type":"a","id":` + id + `,"x":"\udcff"}` }},
		"a list of records":      {formatJSON, nil, "", func(id string) string { return `[{"type":"a","id":` + id + `,"x":"\udcff"}]` }},
		"a part of an id":        {formatJSON, concat, "", func(id string) string { return `[{"type":"a","kind":"é","id":` + id + `,"x":"\udcff"}]` }},
		"an id that may be none": {formatJSON, optional, "", func(id string) string { return `{"type":"a","of":{"id":` + id + `}}` }},
	} {
		t.Run(name, func(t *testing.T) {
			f := formatOf(t, test.format, test.change)
			rawjsontest.Distinct(t, func(t *rapid.T, quoted string) event.Raw {
				body := test.body(quoted)
				all, refused := decode(f, test.kind, body)
				if refused != nil {
					t.Fatalf("%q: %v", body, refused)
				}
				return all[0].Raw
			})
		})
	}
}

// An id that an expression makes of others in a way that does not show what of them was mended is none, either.
func TestIdentitiesThatHideWhatTheyAreMadeOf(t *testing.T) {
	for _, expression := range []string{`hash(rec.id)`, `encodeURL(rec.id)`, `string(size(rec.id)) + rec.id.replace("\uFFFD", "?")`} {
		f := formatOf(t, formatJSON, func(c *Config) { c.Event.ID = expression })
		seen := map[event.ID]string{}
		for _, id := range []string{`"\ud800"`, `"\udbff"`, `"\ufffd"`, `"a"`} {
			all, refused := decode(f, "", `{"type":"a","id":`+id+`}`)
			if refused != nil {
				t.Fatal(refused)
			}
			if other, again := seen[all[0].ID]; again {
				t.Errorf("%s: %s and %s are both %q", expression, other, id, all[0].ID)
			}
			seen[all[0].ID] = id
		}
		// What is mended elsewhere in the record does not change an identity.
		with, _ := decode(f, "", `{"type":"a","id":"a","x":"\ud800"}`)
		if seen[with[0].ID] != `"a"` || with[0].Hashed {
			t.Errorf("%s: with something else beside it it is %q", expression, with[0].ID)
		}
	}
}

// Nor are two numbers one identity that an expression would round to one.
func TestIdentitiesOfRoundedNumbers(t *testing.T) {
	f := formatOf(t, formatJSON, func(c *Config) { c.Event.ID = `rec.host + string(rec.ts)` })
	seen := map[event.ID]string{}
	for n, exact := range map[string]bool{
		"1763790165.123456789": false, "1763790165.123456790": false, "1763790165.123456791": false, "1e400": false, "2e400": false,
		"1763790165.123456": true, "9007199254740992": true, "9007199254740993": true,
	} {
		all, refused := decode(f, "", `{"type":"a","host":"h","ts":`+n+`}`)
		if refused != nil {
			t.Fatal(refused)
		}
		if other, again := seen[all[0].ID]; again || all[0].Hashed == exact {
			t.Errorf("%s is %q, a hash: %v, and so is %q", n, all[0].ID, all[0].Hashed, other)
		}
		seen[all[0].ID] = n
	}
}

// A CloudEvent's source is a part of its identity.
func TestIdentitiesOfSources(t *testing.T) {
	f := formatOf(t, formatCloudEvents, nil)
	seen := map[event.ID]string{}
	for source, exact := range map[string]bool{
		"/a": true, "/\uFFFD": true, `/\ud800`: false, `/\udbff`: false, "/\xff": false, "/\xfe": false,
	} {
		all, refused := decode(f, oneJSON, `{"specversion":"1.0","type":"t","source":"`+source+`","id":"1"}`)
		if refused != nil {
			t.Errorf("%q: %v", source, refused)
			continue
		}
		if other, is := seen[all[0].ID]; is || all[0].Hashed == exact {
			t.Errorf("%q is %q, a hash: %v, and so is %q", source, all[0].ID, all[0].Hashed, other)
		}
		seen[all[0].ID] = source
	}
}

// However a source is written, and whatever an id begins with, two that differ are two.
func TestIdentitiesAreAsTheyAreWritten(t *testing.T) {
	f := formatOf(t, formatCloudEvents, nil)
	seen := map[event.ID][2]string{}
	for _, source := range []string{
		"http://x/a", "http://x/a#", "HTTP://x/a", "http://X/a", "http://x/%61", "http://x/a?", "/a b", "/a%20b", "/a", `"/a`, `"/a b"`, "urn:a b",
	} {
		for _, id := range []string{"1", "b 1", " 1", `b" 1`, `" 1`} {
			quoted := func(text string) string { return string(rawjson.AppendQuoted(nil, text)) }
			all, refused := decode(f, oneJSON, `{"specversion":"1.0","type":"t","source":`+quoted(source)+`,"id":`+quoted(id)+`}`)
			if refused != nil {
				t.Errorf("%q %q: %v", source, id, refused)
				continue
			}
			if other, is := seen[all[0].ID]; is {
				t.Errorf("%q of %q is %q, and so is %q", id, source, all[0].ID, other)
			}
			seen[all[0].ID] = [2]string{source, id}
		}
	}
	if seen["http://x/a 1"] != [2]string{"http://x/a", "1"} || seen[`"/a b" 1`] != [2]string{"/a b", "1"} {
		t.Errorf("the identities are %q", seen)
	}
}

// In binary mode an id is a header, and no body could have it as it came that is not in UTF-8: it is refused.
func TestIdentitiesInBinaryMode(t *testing.T) {
	f := formatOf(t, formatCloudEvents, nil)
	for id, want := range map[string]event.ID{
		"a": "/s a", "%C3%A9": "/s é", "%EF%BF%BD": "/s \uFFFD", "%FF": "", "%FE": "", "%C3": "", "\xfd": "", "%ED%A0%80": "",
	} {
		all, refused := decode(f, "", "", "ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", id)
		switch {
		case want == "" && (refused == nil || refused.status != 400 || refused.field != "id"):
			t.Errorf("%q: %+v, %v", id, all, refused)
		case want != "" && (refused != nil || all[0].ID != want || all[0].Hashed):
			t.Errorf("%q: %+v, %v", id, all, refused)
		}
	}
}

// A message_id that is a number is its digits, as over AMQP.
func TestNumbersAsMessageIDs(t *testing.T) {
	f := formatOf(t, formatCeilometer, nil)
	for id, want := range map[string]event.ID{"7": "7", "-1.50e3": "-1.50e3", `"7"`: "7", "9007199254740993": "9007199254740993"} {
		all, refused := decode(f, "", `{"event_type":"x","message_id":`+id+`}`)
		if refused != nil || all[0].ID != want || all[0].Hashed {
			t.Errorf("%s: %+v (%v)", id, all, refused)
		}
	}
	for _, id := range []string{"true", "[1]", `{"a":1}`} {
		if _, refused := decode(f, "", `{"event_type":"x","message_id":`+id+`}`); refused == nil || refused.field != "[0].message_id" {
			t.Errorf("%s: %v", id, refused)
		}
	}
}

// Bytes that are none of the characters that a sender says the body is in could be anything in an id: that is for the sender to mend.
func TestCharactersThatAreNone(t *testing.T) {
	f := formatOf(t, formatJSON, nil)
	units := func(text string, more ...uint16) (body []byte) {
		for _, r := range text {
			body = append(body, byte(r), byte(r>>8))
		}
		for _, u := range more {
			body = append(body, byte(u), byte(u>>8))
		}
		return body
	}
	for unit, taken := range map[uint16]bool{'a': true, 0xfffd: true, 0xd800: false, 0xdbff: false} {
		body := append(units(`{"type":"a","id":"`, unit), units(`"}`)...)
		all, refused := f.decode(posted{charset: "utf-16le", body: body})
		if taken != (refused == nil) || taken && string(all[0].ID) != string(rune(unit)) {
			t.Errorf("%s: %v, %v", strconv.FormatUint(uint64(unit), 16), all, refused)
		}
	}
}

// What is answered with success is in the streams: each of those that text can't tell apart, once.
func TestWhatTextCanNotTellApartIsStored(t *testing.T) {
	r := newRig(t, formatCeilometer, nil)
	var want []string
	for _, id := range []string{"u\xff1", "u\xfe1", `\ud800`, `\udbff`, "u\uFFFD1"} {
		body := `{"message_id":"` + id + `","event_type":"x"}`
		want = append(want, body)
		for range 2 { // the second time it is known
			if got := r.post(t, []byte(body)); got.status != 200 || got.N != 1 {
				t.Errorf("%q: %+v", id, got)
			}
		}
	}
	var stored []string
	for _, e := range r.log.Events(cloud) {
		stored = append(stored, string(e.Body))
	}
	if !slices.Equal(stored, want) {
		t.Errorf("stored was %q", stored)
	}
}
