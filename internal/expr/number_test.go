package expr

import (
	"math/big"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"stackstream/internal/rawjson"
)

// Only one number is what a double is written as, however it is written itself.
func TestMeans(t *testing.T) {
	for text, want := range map[string]bool{
		"1.50": true, "0.1": true, "-0.0": true, "0e99999999999999999999": true, "1763790165.123456": true, "1763790165.1234567": true,
		"1763790165.1234567000000": true, "1763790165.12345671": false, "1763790165.123456789": false, "1e400": false, "-1e400": false,
		"1e-400": false, "1.0e3": true, "1E+3": true, "100000000000000000000e-20": true, "9007199254740993.0": false, "9007199254740993": false,
		"9007199254740992": true, "9223372036854775808": false, "9223372036854776000": true, "5e-324": true, "4.9e-324": false,
		"0.3000000000000000000": true, "0.30000000000000004": true, "0.30000000000000002": false, "1e99999999999999999999": false,
		"0.000000000000000000000000000000001": true, "Infinity_and_more": false, "0x1.8000000000000p4": false, "9007199254740993e0": false,
	} {
		f, _ := strconv.ParseFloat(text, 64)
		if got := means(text, f); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?`).Draw(t, "number")
		f, err := strconv.ParseFloat(text, 64)
		number, _ := new(big.Rat).SetString(text)
		written, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'e', -1, 64))
		if got := means(text, f); got != (err == nil && ok && number.Cmp(written) == 0) {
			t.Fatalf("%s: %v", text, got)
		}
	})
}

// A record learns of every number that an expression made another one of, wherever it stood, and of nothing else.
func TestRounded(t *testing.T) {
	env, err := NewEnv(map[string]Type{"rec": Any})
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"x": 1763790165.123456789, "n": 9007199254740993, "big": 12345678901234567890123, "f": 1.50, "i": 7,
	 "of": {"list": [[1e400], "1763790165.123456789"], "json": "{\"x\":[1763790165.123456789]}"}}`
	for text, want := range map[string]bool{
		`rec.x`: false, `rec.?x`: true, `rec["x"]`: false, `string(rec.x)`: true, `rec.of.list[0][0]`: true, `rec.of.list`: false, `rec.of`: false,
		`string(rec.n)`: false, `rec.big + "!"`: false, `string(rec.f)`: false, `string(double(rec.i))`: false, `string(double(rec.n))`: true,
		`double(rec.big)`: true, `double(rec.of.list[1])`: true, `hash(rec)`: false, `json(rec.of)`: false, `hash(rec.x)`: true,
		`parseJSON(rec.of.json).x[0]`: true, `json(parseJSON(rec.of.json).x)`: true, `[rec].map(r, [r.of.json].map(j, parseJSON(j)))`: false,
		`[rec].exists(r, parseJSON(r.of.json).x[0] > 5.0)`: true, `rec == {}`: true, `rec.f > 1.0 ? "a" : string(rec.x)`: false,
		`double("1763790165.123456789")`: false,
	} {
		p, err := env.Compile(text, Any)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		rec := NewRecord(rawjson.Value(body))
		got, err := p.Eval(Vars{"rec": rec})
		if err != nil || rec.Rounded() != want {
			t.Errorf("%s: %v (%v)", text, rec.Rounded(), err)
		}
		for other := range rec.Nudged() {
			nudged, err := p.Eval(Vars{"rec": other})
			if err != nil || !want && appearance(nudged) != appearance(got) {
				t.Errorf("%s becomes %s (%v)", text, appearance(nudged), err)
			}
		}
	}
}
