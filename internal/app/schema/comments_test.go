package schema

import (
	"reflect"
	"strings"
	"testing"

	"stackstream/internal/app/config"
)

type sample struct {
	MaxBytes int64  `yaml:"max_bytes,size"`
	Prefix   string `yaml:"prefix"`
	Listen   string `yaml:"listen"`
	Name     string `yaml:"name"`
	Below    struct {
		KeyFile string `yaml:"key_file"`
	} `yaml:"below"`
}

func TestCommentsForPeople(t *testing.T) {
	for text, want := range map[string]string{
		"MaxBytes is the most that it takes, as TLS and URL say; see Below.KeyFile.": "The most that it takes, as TLS and URL say; see below.key_file.",
		"Prefix allows\nsomething.":          "Allows something.",
		"Listen: host:port, for people.":     "host:port, for people.",
		"Name of the header":                 "Name of the header.",
		"Prefixes are others. So is a Name.": "Prefixes are others. So is a name.",
		"Listen says that somebody listens":  "Somebody listens.",
		"":                                   "",
	} {
		name := strings.Trim(strings.SplitN(text+" ", " ", 2)[0], ":")
		if name == "Prefixes" {
			name = "Prefix"
		}
		if got := people(text, name, reflect.TypeFor[sample]()); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// A description is the comment of the field, else of its type; what has neither is told.
func TestDescribe(t *testing.T) {
	c := newComments("../../..")
	for field, want := range map[string]string{"Log": "The log, on standard error.", "Absent": ""} {
		got := c.describe(&config.Setting{Name: strings.ToLower(field), Owner: reflect.TypeFor[config.Config](), Field: field})
		if got != want {
			t.Errorf("%s is described as %q, want %q", field, got, want)
		}
	}
	if len(c.lacking) != 1 || !strings.Contains(c.lacking[0].Error(), "config.Config has no field Absent") {
		t.Errorf("lacking: %v", c.lacking)
	}
}
