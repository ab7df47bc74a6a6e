package config_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fenced is a block of YAML in a page of the documentation.
var fenced = regexp.MustCompile("(?ms)^( *)```yaml([^\n]*)\n(.*?)^ *```")

// block is one of them.
type block struct {
	page string
	line int
	text string
}

// configurations are the blocks of all pages that are whole configurations: those with providers.
func configurations(t *testing.T) []block {
	t.Helper()
	var found []block
	for _, page := range append(fixtures(t, "../../../docs/*.md"), "../../../README.md") {
		text := readFile(t, page)
		for _, m := range fenced.FindAllStringSubmatchIndex(text, -1) {
			indent, info := text[m[2]:m[3]], strings.TrimSpace(text[m[4]:m[5]])
			b := block{filepath.Base(page), strings.Count(text[:m[0]], "\n") + 1, text[m[6]:m[7]]}
			b.text = strings.ReplaceAll("\n"+b.text, "\n"+indent, "\n")[1:]
			switch whole := regexp.MustCompile(`(?m)^providers:`).MatchString(b.text); {
			case whole && info == "":
				found = append(found, b)
			case whole, info == "" && strings.Contains(b.text, ":\n"):
				t.Errorf("%s:%d: neither a whole configuration nor called a fragment", b.page, b.line)
			}
		}
	}
	return found
}

// What the documentation shows is accepted, and may lose events only where the text says so.
func TestDocumentationIsAccepted(t *testing.T) {
	s := configSchema(t)
	warned := map[string]int{}
	blocks := configurations(t)
	if len(blocks) < 20 {
		t.Errorf("only %d configurations were found", len(blocks))
	}
	for _, b := range blocks {
		cfg, err := reader().Bytes(b.page, []byte(b.text))
		if err != nil {
			t.Errorf("%s:%d, the configuration there: %v", b.page, b.line, err)
			continue
		}
		if err := validate(s, []byte(b.text)); err != nil {
			t.Errorf("%s:%d: the schema says: %v", b.page, b.line, err)
		}
		for _, doubt := range cfg.Doubts {
			warned[b.page+" "+strings.TrimPrefix(doubt.Subject, "providers.")]++
		}
	}
	want := map[string]int{
		// The first steps of the tutorial.
		"add-an-event-service.md turnstile.http.event.id": 1, "add-an-event-service.md turnstile.http.pagination": 1,
		// Recipes that say so.
		"add-an-event-service.md svc.http.pagination.type": 1, "add-an-event-service.md svc.http.event.time": 2,
	}
	if diff := cmp.Diff(want, warned); diff != "" {
		t.Errorf("warnings about the documentation (-said +found):\n%s", diff)
	}
}

// The tutorial ends where its example is.
func TestTutorialEndsAtItsExample(t *testing.T) {
	var last string
	for _, b := range configurations(t) {
		if b.page == "add-an-event-service.md" && strings.Contains(b.text, "turnstile:") {
			last = b.text
		}
	}
	_, shown, _ := strings.Cut(last, "providers:")
	_, kept, _ := strings.Cut(readFile(t, examples+"tutorial/turnstile.yaml"), "providers:")
	if diff := cmp.Diff(kept, shown); diff != "" {
		t.Errorf("the tutorial (-example +shown):\n%s", diff)
	}
}
