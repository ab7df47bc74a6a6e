package collectors

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// FilterConfig chooses events by their type. A pattern is a glob that covers the whole type, in which * stands for any
// characters (also dots) and ? for one; or, between slashes, a regular expression (RE2) that has to match somewhere.
type FilterConfig struct {
	// Include: only types that match one of these. Empty: all types.
	Include []string `yaml:"include,omitempty"`
	// Exclude: and none that matches one of these.
	Exclude []string `yaml:"exclude,omitempty"`
}

// Validate returns every mistake there is, each with the pattern it is in.
func (c FilterConfig) Validate() error {
	_, err := NewFilter(c)
	return err
}

// Problems calls each for every mistake there is, with the path of the pattern that it is in.
func (c FilterConfig) Problems(each func(field, message string)) {
	for _, list := range []struct {
		name     string
		patterns []string
	}{{"include", c.Include}, {"exclude", c.Exclude}} {
		for i, pattern := range list.patterns {
			if _, err := compile(pattern); err != nil {
				each(fmt.Sprintf("%s[%d]", list.name, i), fmt.Sprintf("%q: %v", pattern, err))
			}
		}
	}
}

// Filter tells which events to publish. The zero Filter keeps all. A source calls it before it hands events over, and
// says in Batch.Filtered how many it left out. It may be used concurrently.
type Filter struct {
	include, exclude []*regexp.Regexp
}

// NewFilter compiles the patterns; its error is that of Validate.
func NewFilter(c FilterConfig) (*Filter, error) {
	var f Filter
	var includeErr, excludeErr error
	f.include, includeErr = compileAll("include", c.Include)
	f.exclude, excludeErr = compileAll("exclude", c.Exclude)
	if err := errors.Join(includeErr, excludeErr); err != nil {
		return nil, err
	}
	return &f, nil
}

// Keep tells whether events of this type are wanted.
func (f *Filter) Keep(eventType string) bool {
	return (len(f.include) == 0 || matchAny(f.include, eventType)) && !matchAny(f.exclude, eventType)
}

func matchAny(patterns []*regexp.Regexp, s string) bool {
	for _, p := range patterns {
		if p.MatchString(s) {
			return true
		}
	}
	return false
}

func compileAll(list string, patterns []string) ([]*regexp.Regexp, error) {
	var compiled []*regexp.Regexp
	var errs []error
	for i, pattern := range patterns {
		re, err := compile(pattern)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d] %q: %w", list, i, pattern, err))
			continue
		}
		compiled = append(compiled, re)
	}
	return compiled, errors.Join(errs...)
}

func compile(pattern string) (*regexp.Regexp, error) {
	if rest, ok := strings.CutPrefix(pattern, "/"); ok {
		expr, closed := strings.CutSuffix(rest, "/")
		switch {
		case !closed:
			return nil, errors.New("a regular expression ends with a slash")
		case expr == "":
			return nil, errors.New("the regular expression is empty")
		}
		return regexp.Compile(expr)
	}
	switch {
	case pattern == "":
		return nil, errors.New("the pattern is empty")
	case strings.TrimSpace(pattern) != pattern:
		return nil, errors.New("the pattern begins or ends with a space")
	case strings.ContainsAny(pattern, `[]{}\`):
		return nil, errors.New("a glob knows only * and ?; write a /regular expression/ for more")
	}
	expr := regexp.QuoteMeta(pattern)
	expr = strings.ReplaceAll(expr, `\*`, `.*`)
	expr = strings.ReplaceAll(expr, `\?`, `.`)
	return regexp.Compile(`(?s)\A` + expr + `\z`)
}
