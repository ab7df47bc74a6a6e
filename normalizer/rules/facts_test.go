package rules

import (
	"testing"

	"pgregory.net/rapid"

	"stackstream/internal/rawjson"
)

// A name that is there is never taken for one that is not.
func TestNamesThatAreThere(t *testing.T) {
	name := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "id", "instance_id", "binding:host_id", "größe"}))
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.SliceOf(rapid.Custom(func(t *rapid.T) rawjson.Member {
			return rawjson.Member{Name: []byte(name.Draw(t, "name")), Value: rawjson.Value("1")}
		})).Draw(t, "members")
		var n names
		n.add(members)
		for _, m := range members {
			if !n.mayHave(place(string(m.Name))) {
				t.Fatalf("%q is there", m.Name)
			}
		}
	})
}
