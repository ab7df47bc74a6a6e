package records_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stackstream/internal/records"
)

// A short answer that would become a long list, or very long records, is an error before it does.
func TestBound(t *testing.T) {
	batch := []byte(`{"blob":"` + strings.Repeat("a", 100_000) + `","items":[` + strings.Repeat(`{},`, 4999) + `{}]}`)
	few, short := records.Bound{Records: 1000}, records.Bound{Bytes: 1 << 20}
	parent := func(form records.Form, b records.Bound, path ...string) records.Decoder {
		return records.Decoder{Form: form, Path: path, Shape: records.One, Expand: [][]string{{"items"}}, Parent: "batch", Bound: b}
	}
	list := []byte("[" + strings.Repeat("{},", 500_000) + "{}]")
	for name, test := range map[string]struct {
		d    records.Decoder
		body []byte
		want records.TooMuch
	}{
		"a list":         {records.Decoder{Bound: few}, list, records.TooMuch{Records: 1000}},
		"values":         {records.Decoder{Shape: records.Values, Bound: few}, []byte(`{` + strings.Repeat(`"":{},`, 500_000) + `"":{}}`), records.TooMuch{Records: 1000}},
		"names":          {records.Decoder{Shape: records.Values, Key: "k", Bound: short}, []byte(`{` + strings.Repeat(`"`+strings.Repeat("a", 60)+`":{},`, 20_000) + `"":{}}`), records.TooMuch{Bytes: 1 << 20}},
		"lines":          {records.Decoder{Form: records.NDJSON, Bound: few}, []byte(strings.Repeat("1\n", 500_000)), records.TooMuch{Records: 1000}},
		"rows":           {records.Decoder{Form: records.CSV, Bound: few}, []byte("a\n" + strings.Repeat("1\n", 500_000)), records.TooMuch{Records: 1000}},
		"expanded":       {records.Decoder{Shape: records.One, Expand: [][]string{{"items"}}, Bound: few}, batch, records.TooMuch{Records: 1000}},
		"of many":        {records.Decoder{Expand: [][]string{{"e"}}, Bound: few}, []byte("[" + strings.Repeat(`{"e":[1,2]},`, 501) + `{}]`), records.TooMuch{Records: 1000}},
		"parent":         {parent("json", short), batch, records.TooMuch{Bytes: 1 << 20}},
		"parent, of XML": {parent("xml", short, "r"), []byte("<r><b>" + strings.Repeat("a", 100_000) + "</b>" + strings.Repeat(`<items a="1"/>`, 5000) + "</r>"), records.TooMuch{Bytes: 1 << 20}},
		"names of rows":  {records.Decoder{Form: records.CSV, Bound: short}, []byte(strings.Repeat("a", 100_000) + "\n" + strings.Repeat("1\n", 5000)), records.TooMuch{Bytes: 1 << 20}},
		"escapes":        {records.Decoder{Form: records.CSV, Bound: short}, []byte("a\n" + strings.Repeat("\x01", 200_000) + "\n"), records.TooMuch{Bytes: 1 << 20}},
	} {
		var err error
		made := allocated(func() { _, err = test.d.Decode(test.body) })
		var much *records.TooMuch
		if !errors.As(err, &much) || *much != test.want || strings.Contains(err.Error(), ":") {
			t.Errorf("%s: %v, want %v", name, err, &test.want)
		}
		if made > 16*(1<<20) {
			t.Errorf("%s: %d bytes were allocated", name, made)
		}
	}
}

// allocated is how much memory was allocated while f ran.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// What was asked for is what is made of an answer. What fits into a bound is found as without one, and what does not is an error.
func TestBoundIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var body bytes.Buffer
		form := rapid.SampledFrom([]records.Form{records.JSON, records.CSV}).Draw(t, "form")
		outer := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 5).Draw(t, "elements")
		d := records.Decoder{Form: form, Expand: [][]string{{"e"}}, Parent: "of"}
		if form == records.CSV {
			d.Expand = nil
			fmt.Fprintf(&body, "%s\n", rapid.StringMatching(`[a-z]{1,9}(,[A-Z]{1,3})?`).Draw(t, "names"))
		}
		for i, n := range outer {
			if form == records.CSV {
				fmt.Fprintf(&body, "%d%s\n", n, strings.Repeat(",", bytes.Count(body.Bytes()[:bytes.IndexByte(body.Bytes(), '\n')], []byte(","))))
				continue
			}
			e := slices.Repeat([]string{`{"a": 1}`}, n)
			fmt.Fprintf(&body, `%c{"blob": %q, "e": [%s]}`, "[,"[min(i, 1)], strings.Repeat("x", n), strings.Join(e, ", "))
		}
		if form == records.JSON {
			body.WriteString("]")
		}
		want, err := d.Decode(body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		asked, whole := int64(0), int64(0)
		d.Bound.Take = func(n int64) error { asked += n; return nil }
		_, _ = d.Decode(body.Bytes())
		for _, r := range want.Records {
			whole += int64(len(r))
		}
		if form == records.JSON { // for the lists of them, which are asked for in portions
			asked -= 4096 * int64(1+min(len(want.Records), 1))
		}
		if asked < whole || asked > whole+int64(body.Len()+len(want.Records)) {
			t.Fatalf("%d bytes were asked for, and %d made", asked, whole)
		}
		bound := records.Bound{Records: rapid.IntRange(1, 30).Draw(t, "records"), Bytes: rapid.Int64Range(1, 2000).Draw(t, "bytes")}
		fits := len(outer) <= bound.Records && len(want.Records) <= bound.Records && asked <= bound.Bytes
		full := errors.New("full")
		for grants, take := range map[string]func(int64) error{
			"nobody": nil, "all": func(int64) error { return nil }, "none": func(int64) error { return full },
		} {
			d.Bound = bound
			d.Bound.Take = take
			fits := fits && (grants != "none" || form == records.CSV && len(want.Records) == 0)
			got, err := d.Decode(body.Bytes())
			var much *records.TooMuch
			switch {
			case fits && (err != nil || !slices.EqualFunc(got.Records, want.Records, bytes.Equal)):
				t.Fatalf("it fits: %q (%v), want %q", got.Records, err, want.Records)
			case !fits && !errors.As(err, &much) && !errors.Is(err, full):
				t.Fatalf("it does not fit: %v", err)
			}
		}
	})
}
