// Package check has the one type in which everything that checks something says what it found: the configuration
// reader, the availability of sources and streams, and whatever is added later. A Finding names the thing, says where
// it stands and what is wrong, and what to do about it. It never holds a secret.
package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what a finding means for the caller.
type Severity int

// The severities, from good to bad.
const (
	OK      Severity = iota // checked, nothing is wrong
	Warning                 // works, but probably not as meant
	Failed                  // the thing checked does not serve now; the configuration may be right
	Mistake                 // the configuration is wrong; waiting does not mend it
)

// String is one word, as tables show it.
func (s Severity) String() string {
	switch s {
	case OK:
		return "ok"
	case Warning:
		return "warning"
	case Failed:
		return "failed"
	case Mistake:
		return "mistake"
	default:
		return fmt.Sprintf("severity-%d", int(s))
	}
}

// MarshalText writes String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Position is a place in a file. Line and column count from 1; a zero Line means the file as a whole.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String is file:line:column, as editors and compilers write it.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Finding is one thing that was checked, or one thing that is wrong.
type Finding struct {
	Severity Severity `json:"severity"`
	// Subject is what was checked ("nats", "provider prod, source panko"), or the path of a setting
	// ("providers.prod.panko.auth.url").
	Subject string `json:"subject,omitempty"`
	// Position is where a setting stands in its file, or would have to stand; the zero Position for anything else.
	Position Position `json:"position,omitzero"`
	Message  string   `json:"message"`
	// Hint says what to do, where that is not obvious.
	Hint string `json:"hint,omitempty"`
	// Excerpt is a part of what was checked with a caret below the place that is meant, on two lines.
	Excerpt string `json:"excerpt,omitempty"`
}

// String is one line: position, subject, message, and the hint in parentheses. It is without the excerpt.
func (f Finding) String() string {
	var b strings.Builder
	for _, part := range []string{f.Position.String(), f.Subject} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(f.Message)
	if f.Hint != "" {
		b.WriteString(" (" + f.Hint + ")")
	}
	return b.String()
}

// Findings is a list of them. As an error it is one line each.
type Findings []Finding

// Error joins the lines of all findings.
func (fs Findings) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Worst is the highest severity in the list, OK for an empty one.
func (fs Findings) Worst() Severity {
	worst := OK
	for _, f := range fs {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Err is nil unless there is a Failed or a Mistake among the findings.
func (fs Findings) Err() error {
	if fs.Worst() < Failed {
		return nil
	}
	return fs
}

// Sort orders findings by their place in the file, those of one place by message.
func (fs Findings) Sort() {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File), cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column), cmp.Compare(a.Message, b.Message),
		)
	})
}
