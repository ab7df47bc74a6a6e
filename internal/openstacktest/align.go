package openstacktest

import (
	"fmt"
	"slices"
	"strings"

	"stackstream/event"
)

// align explains got by want: in order, leaving out only what may be missing. Where several equal events are expected and
// one is missing, it finds out which one it can have been.
func align(want []Expected, got []event.Event) (missing []Expected, err error) {
	a := aligner{want: want, got: got, known: make([]verdict, (len(want)+1)*(len(got)+1))}
	i, j := 0, 0
	for i < len(want) {
		// Where nothing explains all of the rest, it is followed as far as possible, to say where it ends.
		fits, lost := a.fit(i, j), !a.explain(i, j)
		switch {
		case fits && (a.explain(i+1, j+1) || lost && !want[i].Often):
			i, j = i+1, j+1
		case fits && want[i].Often && (a.explain(i, j+1) || lost):
			j++
		case lost && want[i].Often && j > 0 && a.fit(i, j-1):
			i++
		case !want[i].Sure:
			missing = append(missing, want[i])
			i++
		case j < len(got):
			return missing, fmt.Errorf("event %d of %d is %s, want %s: %s%s",
				j+1, len(got), show(got[j]), want[i], differs(want[i], got[j]), a.around(i, j))
		default:
			return missing, fmt.Errorf("after %d events: %s is lost", len(got), want[i])
		}
	}
	if j < len(got) {
		return missing, fmt.Errorf("nothing explains event %d of %d, %s%s", j+1, len(got), show(got[j]), a.around(i, j))
	}
	return missing, nil
}

// aligner knows what was found out about want[i:] and got[j:].
type aligner struct {
	want  []Expected
	got   []event.Event
	known []verdict
}

type verdict byte

const (
	unknown verdict = iota
	yes
	no
)

// explain tells whether want[i:] explains got[j:].
func (a *aligner) explain(i, j int) bool {
	if i == len(a.want) {
		return j == len(a.got)
	}
	v := &a.known[i*(len(a.got)+1)+j]
	if *v == unknown {
		*v = no
		fits := a.fit(i, j)
		if fits && a.explain(i+1, j+1) || fits && a.want[i].Often && a.explain(i, j+1) || !a.want[i].Sure && a.explain(i+1, j) {
			*v = yes
		}
	}
	return *v == yes
}

// fit tells whether got[j] is what want[i] says.
func (a *aligner) fit(i, j int) bool {
	return j < len(a.got) && a.want[i].Type == a.got[j].EventType && differs(a.want[i], a.got[j]) == ""
}

// around shows what is expected and what came, side by side.
func (a *aligner) around(i, j int) string {
	var b strings.Builder
	for k := range 4 {
		if i+k < len(a.want) {
			fmt.Fprintf(&b, "\n  want %s", a.want[i+k])
		}
		if j+k < len(a.got) {
			fmt.Fprintf(&b, "\n  got  %s", show(a.got[j+k]))
		}
	}
	return b.String()
}

// differs says how the event is not the one that must follow, "" if it is.
func differs(want Expected, got event.Event) string {
	var context event.Context
	if got.Context != nil {
		context = *got.Context
	}
	switch {
	case got.EventType != want.Type:
		return "another type"
	case !slices.Equal(got.Targets, want.Targets):
		return "other targets"
	case context.UserID != want.User:
		return fmt.Sprintf("user %q, want %q", context.UserID, want.User)
	case context.ProjectID != want.Project:
		return fmt.Sprintf("project %q, want %q", context.ProjectID, want.Project)
	case want.Request != "" && context.RequestID != want.Request:
		return fmt.Sprintf("request %q, want %q", context.RequestID, want.Request)
	case got.Timestamp.Time().Before(want.From), want.Prompt && got.Timestamp.Time().After(want.To):
		return "of " + got.Timestamp.String()
	}
	return ""
}

func show(e event.Event) string {
	return fmt.Sprintf("%s %s (%s)", e.EventType, targets(e.Targets), e.MessageID)
}

func targets(all []event.Target) string {
	var parts []string
	for _, t := range all {
		parts = append(parts, t.Kind+"="+t.ID)
	}
	return "[" + strings.Join(parts, " ") + "]"
}
