package setting_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stackstream/internal/setting"
)

type inner struct {
	Order string `yaml:"order" words:"ascending,descending"`
	Stop  string `yaml:"stop" words:",empty,short"`
}

type settings struct {
	Below  inner             `yaml:"below"`
	Beside inner             `yaml:",inline"`
	Maybe  *inner            `yaml:"maybe"`
	List   []string          `yaml:"list" words:"a,b"`
	On     map[string]string `yaml:"on" words:"retry,fail"`
	Free   string            `yaml:"free"`
	Hidden string            `yaml:"-" words:"x"`
}

func TestCheck(t *testing.T) {
	good := inner{Order: "ascending"}
	if found := setting.Check(&settings{Below: good, Beside: good, List: []string{"b"}, On: map[string]string{"404": "fail"}}); found != nil {
		t.Errorf("found %v", found)
	}
	got := setting.Check(settings{
		Below: inner{"asc", "empt"}, Beside: good, Maybe: &inner{"", "short"}, List: []string{"a", "c"}, On: map[string]string{"5xx": "Fail", "404": "skip"},
	})
	want := []setting.Problem{
		{"below.order", `is "asc"; one of ascending, descending is meant (did you mean ascending?)`},
		{"below.stop", `is "empt"; one of empty, short is meant (did you mean empty?)`},
		{"maybe.order", `is missing: one of ascending, descending`},
		{"list[1]", `is "c"; one of a, b is meant`},
		{"on.404", `is "skip"; one of retry, fail is meant`},
		{"on.5xx", `is "Fail"; one of retry, fail is meant (did you mean fail?)`},
	}
	if !slices.Equal(got, want) {
		t.Errorf("found:\n%v\nwant:\n%v", got, want)
	}
	if words := setting.WordsOf[inner]("Stop"); !slices.Equal(words, []string{"empty", "short"}) {
		t.Errorf("the words are %v", words)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"next_url", "page", "link_header", "offset", "url", "password_file", "password"}
	for word, want := range map[string]string{
		"next-url": "next_url", "nexturl": "next_url", "Page": "page", "pages": "page", "header_link": "", "ofset": "offset", "ulr": "url", "x": "",
		"pasword": "password", "link": "link_header", "": "", "passwordfile": "password_file",
	} {
		if got := setting.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) is %q, want %q", word, got, want)
		}
	}
}

// One letter too few, too many or changed places is understood in every word that is long enough.
func TestNearestUnderstandsOneSlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-z]{5,12}`).Draw(t, "word")
		at := rapid.IntRange(0, len(word)-2).Draw(t, "at")
		slip := rapid.SampledFrom([]string{
			word[:at] + word[at+1:], word[:at] + "x" + word[at:], word[:at] + word[at+1:at+2] + word[at:at+1] + word[at+2:],
		}).Draw(t, "slip")
		if got := setting.Nearest(slip, []string{"aa", word}); got != word {
			t.Fatalf("%s is not understood as %s but as %q", slip, word, got)
		}
	})
}
