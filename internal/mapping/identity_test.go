package mapping_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/mapping"
	"stackstream/internal/rawjson"
)

// identity is what a record is known by, and whether a hash.
func identity(t rapid.TB, m *mapping.Mapping, body string) (id event.ID, hashed bool) {
	var doc rawjson.Doc
	if _, err := doc.Parse([]byte(body), rawjson.All); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	id, exact := m.ID(mapping.Vars(expr.NewOpenRecord(doc), nil), rawjson.Value(body), nil)
	if id == "" || !exact {
		return event.HashID([]byte(body)), true
	}
	return id, false
}

func mapped(t testing.TB, id string) *mapping.Mapping {
	m, problems := mapping.Compile(mapping.Config{ID: id, Type: `"x"`})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return m
}

// Whatever numbers records have, and however they become identities, two are one identity only if they are the same.
func TestIdentitiesOfNumbers(t *testing.T) {
	number := rapid.OneOf(
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,3})?`),
		rapid.SampledFrom([]string{"1e400", "2e400", "-1e400", "1e-400", "0.0", "0", "9007199254740992", "9007199254740993", "18446744073709551616"}),
	)
	for _, text := range []string{
		`rec.n`, `rec.?n`, `"a " + string(rec.n)`, `rec.list[0]`, `rec.host + string(rec.list[1][0])`, `string(rec.of.n) + rec.host`, `json([rec.n, 1])`,
		`string(double(rec.n))`, `string(-double(rec.n))`, `hash(rec.n)`, `hash(rec.of)`, `json({"n": rec.?of.?n})`, `rec.list.map(x, json(x)).join(",")`,
		`"a " + string(parseJSON(rec.json).n)`, `json(parseJSON(rec.json))`, `string(double(rec.text))`, `"%s/%s".format([rec.host, rec.n])`,
		`rec.n == 0.0 ? "none" : string(rec.n)`,
	} {
		m := mapped(t, text)
		t.Run(text, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				one, other := number.Draw(t, "one"), number.Draw(t, "other")
				if rapid.Bool().Draw(t, "alike") { // in what is behind the digits that doubles have
					digits, rest, _ := strings.Cut(one, "e")
					if other = digits[:len(digits)-1] + rapid.StringMatching(`[1-9]`).Draw(t, "last"); strings.Contains(digits, ".") {
						other = digits + rapid.StringMatching(`[0-9]{0,20}`).Draw(t, "more")
					}
					if one != digits {
						other += "e" + rest
					}
				}
				known := func(n string) event.ID {
					body := `{"host":"h","n":` + n + `,"of":{"n":` + n + `},"list":[` + n + `,[` + n + `]],"json":"{\"n\":` + n + `}","text":"` + n + `"}`
					id, _ := identity(t, m, body)
					return id
				}
				a, _ := new(big.Rat).SetString(one)
				b, _ := new(big.Rat).SetString(other)
				if is := known(one); is == known(other) && a.Cmp(b) != 0 {
					t.Fatalf("%s and %s are both %q", one, other, is)
				}
			})
		})
	}
}

// A number that a double is changes nothing, nor does one that the id has nothing of.
func TestIdentitiesThatStay(t *testing.T) {
	const body = `{"a":1.50,"ts":1763790165.123456,"n":9007199254740993,"x":1763790165.123456789,"near":2.99999999999999999999,"of":{"x":1763790165.123456789},"l":[1e400,"k"]}`
	for text, want := range map[string]event.ID{
		`rec.a`: "1.50", `rec.?a`: "1.5", `"a " + string(rec.a)`: "a 1.5", `"a " + string(rec.ts)`: "a 1.763790165123456e+09",
		`"a " + string(rec.n)`: "a 9007199254740993", `rec.x`: "1763790165.123456789", `rec.x > 5.0 ? "a" : "b"`: "a", `string(int(rec.x))`: "1763790165",
		`rec.l[1] + "!"`: "k!", `json(rec.of)`: `{"x":1763790165.123456789}`, `"%.3f".format([rec.x])`: "1763790165.123", `rec.of.size() == 1 ? "one" : "more"`: "one",
		`"a " + string(rec.x)`: "", `rec.?x`: "", `string(double(rec.n))`: "", `string(int(rec.near))`: "", `string(rec.l[0])`: "", `string(rec.x - 1763790165.0)`: "",
	} {
		id, hashed := identity(t, mapped(t, text), body)
		if hashed != (want == "") || want != "" && id != want {
			t.Errorf("%s is %q, a hash: %v", text, id, hashed)
		}
	}
}

// Numbers that are rounded together hide nothing of each other: not in a difference, nor in one of differences.
func TestIdentitiesOfSeveralNumbers(t *testing.T) {
	list := func(first string) string {
		all := []string{first, "1763790100.1234567891"}
		for i := range 18 {
			all = append(all, fmt.Sprintf("1763790100.123456789%02d", i+10))
		}
		return strings.Join(all, ",")
	}
	body := func(last string) string {
		x := "1763790165.12345678" + last
		return `{"x":` + x + `,"a":1763790100.123456789,"b":1763790200.123456789,"c":1763790300.123456789,"list":[` + list(x) + `],"json":"[` + x + `,5.5]"}`
	}
	for text, hashed := range map[string]bool{
		`"a " + string(rec.x - rec.a)`: true, `"a " + string(rec.a - rec.x)`: true, `"a " + string(rec.x - rec.a - rec.b + rec.c)`: true,
		`"a " + string(rec.x + rec.a - rec.b - rec.c)`: true, `"a " + string(rec.x - rec.a + rec.b - rec.c)`: true,
		`string(rec.a > 5.0) + string(rec.b > 5.0) + string(rec.x - rec.c)`: true, `"a " + string(rec.list[0] - rec.list[1])`: true,
		`"a " + string(parseJSON(rec.json)[0] - rec.list[0] + rec.a - rec.b)`: true, `"a " + string(rec.x - double("1763790100.123456789"))`: true,
		`"a " + string(rec.x - rec.x)`: false, `rec.x > rec.a ? "later" : "sooner"`: false, `"a " + string(int(rec.x) - int(rec.a))`: false,
		`string(rec.list.size()) + " in " + string(rec.a < rec.b)`: false, `rec.x - rec.a > rec.b - rec.a ? "a" : "b"`: false,
		`string(parseJSON(rec.json)[1]) + string(rec.x > rec.a)`: false,
	} {
		m := mapped(t, text)
		one, is := identity(t, m, body("9"))
		other, also := identity(t, m, body("91"))
		if is != hashed || also != hashed || (one == other) == hashed {
			t.Errorf("%s is %q and %q, hashes: %v and %v", text, one, other, is, also)
		}
	}
}

// A clock that counts in 100 ns writes two of its times as one double: as the shortest number that becomes it, and with 17 digits. So
// what has 17 digits is not the double that is written with less.
func TestIdentitiesOfSeventeenDigits(t *testing.T) {
	m := mapped(t, `"a " + string(rec.n)`)
	for written, short := range map[string]string{"1763790165.1234519": "1763790165.1234520", "0.10000000000000001": "0.1"} {
		one, hashed := identity(t, m, `{"n":`+written+`}`)
		if other, also := identity(t, m, `{"n":`+short+`}`); !hashed || also || one == other {
			t.Errorf("%s is %q, a hash: %v, and %s is %q, a hash: %v", written, one, hashed, short, other, also)
		}
	}
	// Where it is taken as it stands nothing is rounded.
	for text, want := range map[string]event.ID{`rec.of.n`: "0.10000000000000001", `"a " + json(rec.of)`: `a {"n":0.10000000000000001}`} {
		if id, hashed := identity(t, mapped(t, text), `{"of":{"n":0.10000000000000001}}`); hashed || id != want {
			t.Errorf("%s is %q, a hash: %v", text, id, hashed)
		}
	}
}

// Working an id out again takes the memory of one more time, however often it has to be.
func TestMemoryOfNumbers(t *testing.T) {
	m := mapped(t, `"a " + string(rec.list.size())`)
	asked := func(digits string) (all int64) {
		body := `{"list":[` + strings.Repeat("1763790165.123456000,", 100) + digits + `7,` + digits + `8]}`
		var doc rawjson.Doc
		if _, err := doc.Parse([]byte(body), rawjson.All); err != nil {
			t.Fatal(err)
		}
		take := func(n int64) bool { all += n; return true }
		if id, exact := m.ID(mapping.Vars(expr.NewMeteredRecord(doc, take), nil), rawjson.Value(body), take); id != "a 102" || !exact {
			t.Fatalf("%s is %q, exact: %v", body, id, exact)
		}
		return all
	}
	if once, all := asked("0.00000000000000000"), asked("1.11111111111111111"); once == 0 || all != 2*once {
		t.Errorf("%d bytes are asked for where nothing is rounded, and %d where numbers are", once, all)
	}
}
