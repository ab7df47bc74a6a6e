package expr_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stackstream/internal/expr"
	"stackstream/internal/rawjson"
)

const record = `{"id": 12345678901234567890123, "n": 9007199254740993, "u": 18446744073709551615, "f": 1.50, "type": "user.login",
 "actor": {"name": "ann \"x\"", "roles": ["admin", "ops"]}, "none": null, "ok": true, "at": 1700000000, "list": [1, 2, {"a": 3}],
 "odd name": 7, "x": {"b": 2, "a": 1}, "x2": {"a": 1, "b": 2}}`

func env(t testing.TB) *expr.Env {
	t.Helper()
	e, err := expr.NewEnv(map[string]expr.Type{"rec": expr.Any, "partition": expr.Map, "now": expr.Time, "text": expr.Text})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func vars(t testing.TB) expr.Vars {
	t.Helper()
	rec, err := rawjson.Parse([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	return expr.Vars{
		"rec": expr.NewRecord(rec), "partition": map[string]string{"region": "RegionOne"}, "now": time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		"text": "hello",
	}
}

// evaluate compiles and evaluates an expression, and fails the test where that can't be.
func evaluate(t *testing.T, text string, want expr.Type) (val expr.Val, ok bool) {
	t.Helper()
	p, err := env(t).Compile(text, want)
	if err == nil {
		val, err = p.Eval(vars(t))
	}
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return val, err == nil
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		`rec.type`:                            "user.login",
		`rec.actor.name`:                      `ann "x"`,
		`rec["odd name"]`:                     "7",
		`rec.id`:                              "12345678901234567890123",
		`string(rec.n)`:                       "9007199254740993",
		`string(rec.u)`:                       "18446744073709551615",
		`rec.id + "!"`:                        "12345678901234567890123!",
		`rec.f`:                               "1.50",
		`rec.ok`:                              "true",
		`rec.none`:                            "",
		`rec.?absent`:                         "",
		`rec.?absent.?deeper.orValue("x")`:    "x",
		`rec.?actor.?name`:                    `ann "x"`,
		`rec.type.split(".")[0] + "/" + text`: "user/hello",
		`partition.region + ":" + rec.actor.roles[1]`: "RegionOne:ops",
		`rec.actor.roles.join(",")`:                   "admin,ops",
		`timestamp(rec.at)`:                           "2023-11-14T22:13:20Z",
		`now - duration("1h")`:                        "2026-01-02T02:04:05.000006Z",
		`rec.list[2].a + 1`:                           "4",
		`has(rec.type) && !has(rec.absent) && rec.x == rec.x2 && size(rec.list) == 3 && "a" in rec.x`: "true",
		`format(now, "unix_ms")`: "1767323045000",
		`format(parse("02.01.2026 15:04", "02.01.2006 15:04"), "date")`:                     "2026-01-02",
		`format(timestamp(rec.at), "http")`:                                                 "Tue, 14 Nov 2023 22:13:20 GMT",
		`rec.n > 1.5 ? "more" : "less"`:                                                     "more",
		`encodeURL("a b&c=ü/")`:                                                             "a+b%26c%3D%C3%BC%2F",
		`parseJSON("{\"id\": 12345678901234567890123, \"l\": [1.50]}").id`:                  "12345678901234567890123",
		`parseJSON(json(rec)).actor.roles[1]`:                                               "ops",
		`format(parse("2026-07-02 15:04", "2006-01-02 15:04 in Europe/Berlin"), "rfc3339")`: "2026-07-02T13:04:00Z",
		`rec.list.filter(i, type(i) == int).map(i, i * 2).map(i, string(i)).join("-")`:      "2-4",
		`json(text + "\"") + json(rec.x) + json([now, 1])`:                                  `"hello\""{"b": 2, "a": 1}["2026-01-02T03:04:05.000006Z",1]`,
	} {
		val, ok := evaluate(t, text, expr.Text)
		if !ok {
			continue
		}
		if got, err := val.Text(); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", text, got, err, want)
		}
	}
}

func TestJSON(t *testing.T) {
	for text, want := range map[string]string{
		`rec.actor`: `{"name": "ann \"x\"", "roles": ["admin", "ops"]}`, // byte for byte
		`rec.list`:  `[1, 2, {"a": 3}]`,
		`rec.f`:     `1.50`,
		`{"who": rec.actor.name, "x": rec.x, "when": now, "l": [1, 2.5, null, true], "s": "<&>"}`: `` +
			`{"l":[1,2.5,null,true],"s":"<&>","when":"2026-01-02T03:04:05.000006Z","who":"ann \"x\"","x":{"b":2,"a":1}}`,
		`rec.?absent`:       `null`,
		`[rec.?absent, 1u]`: `[null,1]`,
	} {
		val, ok := evaluate(t, text, expr.Any)
		if !ok {
			continue
		}
		if got, err := val.JSON(); err != nil || string(got) != want && string(got) != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
	}
}

func TestHash(t *testing.T) {
	sum := func(text string) string {
		val, _ := evaluate(t, text, expr.Text)
		s, err := val.Text()
		if err != nil || len(s) != 64 {
			t.Fatalf("%s is %q, %v", text, s, err)
		}
		return s
	}
	if sum(`hash(rec.x)`) == sum(`hash(rec.x2)`) {
		t.Error("two records with other bytes have one hash")
	}
	if sum(`hash({"a": 1, "b": rec.x})`) != sum(`hash({"b": rec.x, "a": 1})`) {
		t.Error("one object has two hashes")
	}
}

func TestMistakes(t *testing.T) {
	e := env(t)
	for _, test := range []struct {
		text string
		want expr.Type
		msg  string
	}{
		{"", expr.Text, "is empty (column 1"},
		{"rec.type +", expr.Text, "the expression ends too early: something is missing, or a bracket or quote is not closed (column 11"},
		{"rex.type", expr.Text, "there is no rex here, only now, partition, rec, text (did you mean rec?) (column 1 of the expression)\nrex.type\n^"},
		{`rec.type == "a" && wrong(rec)`, expr.Bool, "there is no function wrong; besides CEL's own there are hash, format, parse, json, parseJSON and encodeURL (column 20 of the expression)\n" +
			`rec.type == "a" && wrong(rec)` + "\n                   ^"},
		{"text + 1", expr.Text, "+ does not take text and int; string(x) makes a text of anything (column 6"},
		{`"a"`, expr.Bool, "is text, and true or false is wanted"},
		{`[1]`, expr.Text, "is list(int), and text is wanted"},
		{strings.Repeat("x", 5000), expr.Text, "size"},
	} {
		_, err := e.Compile(test.text, test.want)
		var mistake *expr.Error
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), test.msg) {
			t.Errorf("%.40q: %v, want %q", test.text, err, test.msg)
		}
	}
}

func TestWhatCanNotBeEvaluated(t *testing.T) {
	e, v := env(t), vars(t)
	for text, missing := range map[string]bool{
		`rec.absent`: true, `rec.actor.absent.x`: true, `rec.type.x`: true, `rec.absent + "x"`: true, `rec.list[7]`: false,
		`rec.type + 1`: false, `int(rec.type)`: false, `parseJSON("{")`: false, `parseJSON(rec.x)`: false,
		`[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, ` +
			`[1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, [1,2,3,4,5,6,7,8,9,10].all(g, rec.n > a+b+c+d+e+f+g)))))))`: false,
	} {
		p, err := e.Compile(text, expr.Any)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		_, err = p.Eval(v)
		if err == nil || errors.Is(err, expr.ErrMissing) != missing {
			t.Errorf("%.60s: %v, want that something is missing: %v", text, err, missing)
		}
	}
}

func BenchmarkExpressions(b *testing.B) {
	e, v := env(b), vars(b)
	for _, text := range []string{`rec.actor.name`, `rec.?actor.?name`, `rec.type == "noise"`, `rec.type.split(".")[0] + ":" + string(rec.n)`} {
		p, err := e.Compile(text, expr.Any)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Eval(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
