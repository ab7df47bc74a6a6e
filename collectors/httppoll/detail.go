package httppoll

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"stackstream/internal/openstack"
)

// Detail is one further request for each record, whose answer becomes a part of it.
type Detail struct {
	// URL is a text with rec and partition, or {{rec.url}}: an address that the record has, which must be on the host of
	// request.url. Without it there is no such request.
	URL     string              `yaml:"url"`
	Method  string              `yaml:"method"`
	Query   map[string][]string `yaml:"query"`
	Headers map[string]string   `yaml:"headers"`
	Body    string              `yaml:"body"`
	// Path leads to what is wanted of the answer, which is JSON; empty: all of it.
	Path string `yaml:"path"`
	// As is the member of the record that takes it. With Merge its members become the record's instead, in place of those of the
	// same names.
	As    string `yaml:"as"`
	Merge bool   `yaml:"merge"`
	// When is an expression of rec and partition: only records for which it is true are asked about.
	When string `yaml:"when"`
	// On maps a status to keep: the record goes without. Everything else that is no success fails the page.
	On map[string]string `yaml:"on"`
	// Concurrency is how many are asked for at once.
	Concurrency int `yaml:"concurrency"`
}

const maxConcurrency = 64

func (d Detail) validate(ps *problems) {
	if d.URL == "" {
		if len(d.Query) > 0 || len(d.Headers) > 0 || d.Body != "" || d.Path != "" || d.As != "" || d.Merge || d.When != "" || len(d.On) > 0 {
			ps.add("detail.url", "is missing: where there is more of a record")
		}
		return
	}
	if !strings.HasPrefix(d.URL, "{{") && !strings.HasPrefix(d.URL, "/") {
		ps.address("detail.url", d.URL)
	}
	ps.oneOf("detail.method", d.Method, http.MethodGet, http.MethodPost)
	if d.Body != "" && d.Method != http.MethodPost {
		ps.add("detail.body", "is for the method POST")
	}
	ps.path("detail.path", d.Path)
	switch {
	case d.As == "" && !d.Merge:
		ps.add("detail.as", "is missing: the member of the record that takes the answer (or set merge: true)")
	case d.As != "" && d.Merge:
		ps.add("detail.as", "can't be set together with merge")
	}
	for _, keys := range slices.Sorted(maps.Keys(d.On)) {
		ps.oneOf("detail.on."+keys, d.On[keys], "keep")
		ps.statuses("detail.on."+keys, keys)
	}
	if d.Concurrency < 1 || d.Concurrency > maxConcurrency {
		ps.add("detail.concurrency", "must be from 1 to %d", maxConcurrency)
	}
}

// address adds a problem unless text is a URL whose host no expression decides.
func (ps *problems) address(field, text string) {
	if msg := openstack.CheckURL(between.ReplaceAllString(text, "x")); msg != "" {
		ps.add(field, "%s", msg)
	} else if i := strings.Index(text, "{{"); i >= 0 && strings.Count(text[:i], "/") < 3 {
		ps.add(field, "must name the host: no expression decides who is asked")
	}
}

// statuses adds a problem for each of some keys that is no status.
func (ps *problems) statuses(field, keys string) {
	for key := range strings.SplitSeq(keys, ",") {
		if key = strings.TrimSpace(key); !statuses.MatchString(key) {
			ps.add(field, "%s is no status like 410, nor a class like 5xx", strconv.Quote(key))
		}
	}
}
