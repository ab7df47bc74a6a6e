package event_test

import (
	"strings"
	"testing"

	"stackstream/event"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTrace(t *testing.T) {
	for _, good := range []string{parent, "00-00000000000000000000000000000001-0000000000000001-00"} {
		if got := event.NewTrace(good, ""); got != (event.Trace{Parent: good}) {
			t.Errorf("%s makes %+v", good, got)
		}
	}
	for _, bad := range []string{
		"", "00", "00-1-2-01", strings.ToUpper(parent), parent + "-x", parent + " ", " " + parent, "01" + parent[2:], "ff" + parent[2:],
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		strings.Replace(parent, "4", "g", 1), strings.Replace(parent, "-", "_", 1), parent[:54], parent + "0", strings.Repeat("-", 55),
	} {
		if got := event.NewTrace(bad, "a=b"); got != (event.Trace{}) {
			t.Errorf("%q makes %+v, want none", bad, got)
		}
	}
	for _, good := range []string{"a=b", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "tenant@vendor=x", "a=b, c=d", "a=b,,c=d", `a=x"y%z!`} {
		if got := event.NewTrace(parent, good); got.State != good || got.Parent != parent {
			t.Errorf("the state %q makes %+v", good, got)
		}
	}
	for _, bad := range []string{
		"a", "=b", "a=", "A=b", "a=b=c", "a=b\n", "a=ö", "a b=c", strings.Repeat("a=b,", 32) + "c=d", "a=" + strings.Repeat("x", 511),
	} {
		if got := event.NewTrace(parent, bad); got != (event.Trace{Parent: parent}) {
			t.Errorf("the state %q makes %+v, want the parent alone", bad, got)
		}
	}
}

// What is a trace stays one, and can be a header's value.
func FuzzTrace(f *testing.F) {
	f.Add(parent, "a=b")
	f.Add("00--", "=,")
	f.Fuzz(func(t *testing.T, p, s string) {
		got := event.NewTrace(p, s)
		if again := event.NewTrace(got.Parent, got.State); again != got {
			t.Fatalf("%+v becomes %+v", got, again)
		}
		if strings.ContainsAny(got.Parent+got.State, "\r\n\x00") {
			t.Fatalf("%+v can't be in a header", got)
		}
	})
}
