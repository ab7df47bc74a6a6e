package expr

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stackstream/internal/rawjson"
)

// What is evaluated without CEL is what CEL makes of it.
func TestWithoutCEL(t *testing.T) {
	env, err := NewEnv(map[string]Type{"rec": Any})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"a", "b", `c"d`, "é"}
	scalars := []string{
		`"x"`, `"y"`, `""`, `"\u0078"`, `"x\ud800"`, "null", "true", "false", "0", "-0", "1.50", "1e3", "12345678901234567890123", `"12345678901234567890123"`,
	}
	var value func(depth int) *rapid.Generator[string]
	value = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			kind := rapid.IntRange(0, 3).Draw(t, "kind")
			if depth == 0 || kind < 1 {
				return rapid.SampledFrom(scalars).Draw(t, "scalar")
			}
			var parts []string
			for range rapid.IntRange(0, 3).Draw(t, "n") {
				part := value(depth-1).Draw(t, "part")
				if kind > 1 {
					part = string(rawjson.AppendQuoted(nil, rapid.SampledFrom(names).Draw(t, "name"))) + ": " + part
				}
				parts = append(parts, part)
			}
			if kind > 1 {
				return "{" + strings.Join(parts, " , ") + "}"
			}
			return "[" + strings.Join(parts, ",") + "]"
		})
	}
	path := rapid.Custom(func(t *rapid.T) string {
		text := "rec"
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			switch name := rapid.SampledFrom(names).Draw(t, "step"); rapid.IntRange(0, 5).Draw(t, "form") {
			case 0:
				text += fmt.Sprintf("[%d]", rapid.IntRange(0, 3).Draw(t, "index"))
			case 1:
				text += fmt.Sprintf("[?%q]", name)
			case 2, 3:
				text += fmt.Sprintf("[%q]", name)
			case 4:
				text += "." + rapid.SampledFrom(names[:2]).Draw(t, "select")
			default:
				text += ".?" + rapid.SampledFrom(names[:2]).Draw(t, "select")
			}
		}
		return text
	})
	var truth func(depth int) *rapid.Generator[string]
	truth = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			switch kind := rapid.IntRange(0, 5).Draw(t, "what"); {
			case depth > 0 && kind == 0:
				return "!(" + truth(depth-1).Draw(t, "not") + ")"
			case depth > 0 && kind < 3:
				operator := rapid.SampledFrom([]string{" && ", " || "}).Draw(t, "operator")
				return "(" + truth(depth-1).Draw(t, "left") + operator + truth(depth-1).Draw(t, "right") + ")"
			}
			sides := []string{path.Draw(t, "of"), rapid.SampledFrom([]string{`"x"`, `""`, `"12345678901234567890123"`, `"true"`}).Draw(t, "text")}
			first := rapid.IntRange(0, 1).Draw(t, "first")
			return sides[first] + rapid.SampledFrom([]string{" == ", " != "}).Draw(t, "equal") + sides[1-first]
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		text := path.Draw(t, "selects")
		if rapid.Bool().Draw(t, "compares") {
			text = truth(2).Draw(t, "compares")
		}
		p, err := env.Compile(text, Any)
		if err != nil {
			return
		}
		body := value(4).Draw(t, "record")
		for _, levels := range []int{1, 2, 3, rawjson.All} {
			var doc rawjson.Doc
			if _, err := doc.Parse([]byte(body), levels); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			got, gotErr := p.Eval(Vars{"rec": NewOpenRecord(doc)})
			want, wantErr := p.byCEL(Vars{"rec": NewOpenRecord(doc)})
			if p.root != "" && p.plain && gotErr != nil && wantErr != nil {
				continue // what a name is missing in is all the same then
			}
			if (gotErr == nil) != (wantErr == nil) || errors.Is(gotErr, ErrMissing) != errors.Is(wantErr, ErrMissing) {
				t.Fatalf("%s of %s: %v, and by CEL %v", text, body, gotErr, wantErr)
			}
			if gotErr != nil {
				continue
			}
			if p.plain && p.root != "" && want.json == nil && !want.IsNothing() {
				continue // a number keeps its digits where it is only selected
			}
			if appearance(got) != appearance(want) {
				t.Fatalf("%s of %s is %s, and by CEL %s", text, body, appearance(got), appearance(want))
			}
		}
	})
}

func appearance(v Val) string {
	text, textErr := v.Text()
	is, isErr := v.Bool()
	at, isTime := v.Time()
	json, jsonErr := v.JSON()
	return fmt.Sprintf("%q %v %v %v %v %v %s %v %v", text, textErr, is, isErr, at, isTime, json, jsonErr, v.IsNothing())
}
