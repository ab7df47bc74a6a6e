package expr

import (
	"runtime"
	"strings"
	"testing"

	"stackstream/internal/rawjson"
)

// What expressions make of a record is asked for before: it is no more than that, and where it is refused it is not made.
func TestMeteredRecord(t *testing.T) {
	many := func(of string) string { return strings.TrimSuffix(strings.Repeat(of+",", 10_000), ",") }
	env, err := NewEnv(map[string]Type{"rec": Any})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"objects": `{"a":[` + many("{}") + `]}`, "lists": `{"a":[` + many("[]") + `]}`, "numbers": `{"a":[` + many("0") + `]}`,
		"texts": `{"a":[` + many(`"x"`) + `]}`, "deep": `{"a":[` + many(`{"b":[{},[1]]}`) + `]}`, "a list": `[` + many("{}") + `]`,
		"members": `{"a":{` + many(`"":0`) + `}}`, "an object in a list": `{"a":[{"a":[` + many("{}") + `]}]}`,
	} {
		for _, text := range []string{
			"string(size(rec.a))", "string(rec.a[0]) + string(rec.a[1])", "string(size(rec))", `rec.a.all(x, string(x) == "") ? "a" : "b"`,
			"string(rec == rec)", "string(rec.a[0].a.size())",
		} {
			p, err := env.Compile(text, Text)
			if err != nil {
				t.Fatal(err)
			}
			asked := int64(0)
			evaluate := func(grant bool) int64 {
				var doc rawjson.Doc
				if _, err := doc.Parse([]byte(body), rawjson.All); err != nil {
					t.Fatal(err)
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				rec := NewMeteredRecord(doc, func(n int64) bool { asked += n; return grant })
				_, _ = p.Eval(Vars{"rec": rec})
				runtime.ReadMemStats(&after)
				return int64(after.TotalAlloc - before.TotalAlloc)
			}
			// Comparing makes garbage, and a comprehension does in each of its steps.
			if made := evaluate(true); made > 2*asked+64<<10 && !strings.Contains(text, "all(") {
				t.Errorf("%s, %s: %d bytes were asked for, and %d taken", name, text, asked, made)
			}
			if made := evaluate(false); made > 64<<10 {
				t.Errorf("%s, %s: %d bytes were taken, and none granted", name, text, made)
			}
		}
	}
}
