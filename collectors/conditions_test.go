package collectors

import (
	"fmt"
	"slices"
	"testing"
)

func TestConditions(t *testing.T) {
	var got []string
	c := NewConditions(func(trouble bool, what string) { got = append(got, fmt.Sprintf("%t %s", trouble, what)) }, 3, 2)
	c.Set(2, "")
	c.Set(2, "note")
	c.Set(2, "note")
	c.Set(1, "second")
	c.Set(0, "first")
	c.Set(1, "")
	c.Set(0, "")
	c.Set(2, "")
	want := []string{"false note", "true second; note", "true first; second; note", "true first; note", "false note", "false "}
	if !slices.Equal(got, want) {
		t.Errorf("reported was\n%q, want\n%q", got, want)
	}
}
