package httppoll

import (
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/rawjson/rawjsontest"
	"stackstream/internal/records"
)

// Whatever ids a service hands out, and however they become identities, two are one identity only if they are the same.
func TestIdentitiesOfRecords(t *testing.T) {
	for name, test := range map[string]struct {
		id, part string
		form     records.Form
	}{
		"a member":      {"rec.id", "", records.JSON},
		"of a part":     {"rec.id", "p", records.JSON},
		"a line":        {"rec.id", "", records.NDJSON},
		"that may lack": {"rec.?id", "", records.JSON},
		"with another":  {`rec.kind + "/" + rec.id`, "", records.JSON},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configured("http://service", newService())
			cfg.Request.Decode, cfg.Records.Path, cfg.Event.ID = test.form, "", test.id
			odd := 0
			src := local(t, cfg, http.NotFoundHandler())
			src.opts.Hooks.Odd = func(what string, n int) {
				if what == "not-utf8" {
					odd += n
				}
			}
			rawjsontest.Distinct(t, func(t *rapid.T, quoted string) event.Raw {
				body := []byte(`{"kind": "é", "id": ` + quoted + `, "name": "\udcff"}`)
				if test.form == records.JSON {
					body = append(append([]byte{'['}, body...), ']')
				}
				page, err := src.decoder.Decode(body)
				if err != nil || len(page.Records) != 1 {
					t.Fatalf("%d records, %v", len(page.Records), err)
				}
				before := odd
				raw := src.record(&page, 0, test.part, time.Now()).raw
				if raw.Hashed != (odd > before) {
					t.Fatalf("%s is a hash: %v, and that is counted: %v", quoted, raw.Hashed, odd > before)
				}
				return raw
			})
		})
	}
}

// Nor are two numbers one identity, whatever an expression makes of them.
func TestIdentitiesOfRoundedNumbers(t *testing.T) {
	cfg := configured("http://service", newService())
	cfg.Records.Path, cfg.Event.ID = "", `rec.host + string(rec.ts)`
	src := local(t, cfg, http.NotFoundHandler())
	var odd []string
	src.opts.Hooks.Odd = func(what string, _ int) { odd = append(odd, what) }
	for n, want := range map[string]event.ID{
		"1763790165.123456789": "", "1763790165.123456790": "", "1763790165.123456791": "", "1e400": "", "2e400": "",
		"1763790165.123456": "h1.763790165123456e+09", "9007199254740993": "h9007199254740993",
	} {
		body := `{"host":"h","ts":` + n + `,"name":"é"}`
		page, err := src.decoder.Decode([]byte("[" + body + "]"))
		if err != nil {
			t.Fatal(err)
		}
		odd = nil
		raw := src.record(&page, 0, "", time.Now()).raw
		if rounded := slices.Contains(odd, "rounded"); want == "" && raw.ID != event.HashID([]byte(body)) || want != "" && raw.ID != want ||
			raw.Hashed != rounded || slices.Contains(odd, "not-utf8") {
			t.Errorf("%s is %q, a hash: %v, and %q", n, raw.ID, raw.Hashed, odd)
		}
	}
}

// What a dialect says is no identity is none.
func TestVagueIdentitiesOfADialect(t *testing.T) {
	src := local(t, configured("http://service", newService()), http.NotFoundHandler())
	src.dialect = &Dialect{Read: func(record []byte) Reading { return Reading{ID: "a\uFFFD", Vague: string(record) != "{}"} }}
	for body, want := range map[string]event.ID{"{}": "a\uFFFD", `{"n":1}`: event.HashID([]byte(`{"n":1}`))} {
		if got := src.record(&records.Page{Records: [][]byte{[]byte(body)}}, 0, "", time.Now()); got.raw.ID != want || got.marker != "a\uFFFD" {
			t.Errorf("%s: %+v", body, got.raw)
		}
	}
}

// Of what is not in UTF-8 more than bytes are mended, before anybody looks: an id with something of that is none. One that has U+FFFD
// itself is.
func TestIdentitiesInOtherCharsets(t *testing.T) {
	for name, test := range map[string]struct {
		kind, body string
		form       records.Form
		exact      bool
	}{
		"shift_jis":             {"application/json; charset=shift_jis", "[{\"id\":\"\x83\x41\"}]", records.JSON, true},
		"no shift_jis":          {"application/json; charset=shift_jis", "[{\"id\":\"a\xff\"}]", records.JSON, false},
		"no shift_jis, aside":   {"application/json; charset=shift_jis", "[{\"id\":\"a\",\"x\":\"\xff\"}]", records.JSON, true},
		"utf-16":                {"application/json; charset=utf-16be", "\x00[\x00{\x00\"\x00i\x00d\x00\"\x00:\x00\"\xff\xfd\x00\"\x00}\x00]", records.JSON, true},
		"half of a pair":        {"application/json; charset=utf-16be", "\x00[\x00{\x00\"\x00i\x00d\x00\"\x00:\x00\"\xd8\x00\x00\"\x00}\x00]", records.JSON, false},
		"csv in no gbk":         {"text/csv; charset=gbk", "id\na\xff\n", records.CSV, false},
		"xml in latin 1":        {"text/xml", "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><a><e><id>\xe4</id></e><e><id>b</id></e></a>", records.XML, true},
		"xml in no shift_jis":   {"text/xml", "<?xml version=\"1.0\" encoding=\"shift_jis\"?><a><e><id>a\xff</id></e><e><id>b</id></e></a>", records.XML, false},
		"xml with one that was": {"text/xml", "<a><e><id>&#xfffd;</id></e><e><id>b</id></e></a>", records.XML, true},
	} {
		bubble(t, name, func(t *testing.T) {
			cfg := Default()
			cfg.Request.URL, cfg.Request.Decode = "http://service/events", test.form
			if test.form == records.XML {
				cfg.Records.Path = "a.e"
			}
			cfg.Event.ID, cfg.Event.Type = "rec.id", `"x"`
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.kind)
				_, _ = io.WriteString(w, test.body)
			})), newSink(t)
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			if got := len(out.ids) > 0 && len(out.ids[0]) < 64; got != test.exact {
				t.Errorf("the identities are %q", out.ids)
			}
		})
	}
}
