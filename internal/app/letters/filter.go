package letters

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackstream/event"
	"stackstream/internal/setting"
)

// Filter says which dead letters are meant. What is not set lets all pass.
type Filter struct {
	Reasons    []string
	Converters []string // globs
	Formats    []string
	Sources    []string
	// Since and Until bound when the letter was written; Until is not in it.
	Since, Until time.Time
	Numbers      Numbers
	// Match is what the detail has to have in it.
	Match string
	// State is one of States; "" is all.
	State string
	// Limit is how many are taken, the oldest first; 0 is all.
	Limit uint64
}

// Validate returns what is wrong with the filter.
func (f *Filter) Validate() error {
	for _, glob := range f.Converters {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("--converter %q is no glob: a [ must be closed, and a \\ followed by something", glob)
		}
	}
	for _, reason := range f.Reasons {
		if known := event.Reasons(); !slices.Contains(known, event.Reason(reason)) {
			names := make([]string, len(known))
			for i, r := range known {
				names[i] = string(r)
			}
			text := fmt.Sprintf("--reason is %q; one of %s is meant", reason, strings.Join(names, ", "))
			if near := setting.Nearest(reason, names); near != "" {
				text += " (did you mean " + near + "?)"
			}
			return errors.New(text)
		}
	}
	if f.State != "" && !slices.Contains(States(), f.State) {
		return fmt.Errorf("--state is %q; one of %s or all is meant", f.State, strings.Join(States(), ", "))
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return fmt.Errorf("--since is not before --until, so that nothing lies between")
	}
	return nil
}

// Picks tells whether the filter lets only some letters pass, whatever their state.
func (f *Filter) Picks() bool {
	return len(f.Reasons)+len(f.Converters)+len(f.Formats)+len(f.Sources)+len(f.Numbers) > 0 || f.Match != "" ||
		!f.Since.IsZero() || !f.Until.IsZero()
}

// Wants tells whether a letter is meant, whatever its state.
func (f *Filter) Wants(l *event.Letter) bool {
	oneOf := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	return oneOf(f.Reasons, string(l.Reason)) && oneOf(f.Formats, l.Format) && oneOf(f.Sources, string(l.Origin.Source)) &&
		(len(f.Converters) == 0 || slices.ContainsFunc(f.Converters, func(glob string) bool { return like(glob, l.Converter) })) &&
		(f.Since.IsZero() || !l.StoredAt.Before(f.Since)) && (f.Until.IsZero() || l.StoredAt.Before(f.Until)) &&
		(len(f.Numbers) == 0 || f.Numbers.Has(l.Number)) && strings.Contains(l.Detail, f.Match)
}

// like matches a glob, in which a / is nothing special: the name of a converter has one in it.
func like(glob, text string) bool {
	flat := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(flat.Replace(glob), flat.Replace(text))
	return ok && err == nil
}

// names tells whether the filter asks for a reason by its name, or for single letters.
func (f *Filter) names(r event.Reason) bool {
	return slices.Contains(f.Reasons, string(r)) || len(f.Numbers) > 0
}

// Numbers are numbers of dead letters.
type Numbers []Range

// Range has the numbers from From to To, both included.
type Range struct{ From, To event.Seq }

// ParseNumbers reads "3,7-12".
func ParseNumbers(text string) (Numbers, error) {
	var found Numbers
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from, err := number(first)
		to := from
		if err == nil && isRange {
			to, err = number(last)
		}
		if err != nil || from > to {
			return nil, fmt.Errorf("%q is no number and no range such as 7-12", part)
		}
		found = append(found, Range{from, to})
	}
	return found, nil
}

func number(text string) (event.Seq, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return event.Seq(n), err
}

// Has tells whether a number is among them.
func (n Numbers) Has(seq event.Seq) bool {
	return slices.ContainsFunc(n, func(r Range) bool { return r.From <= seq && seq <= r.To })
}
