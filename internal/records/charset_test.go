package records_test

import (
	"strings"
	"testing"

	"stackstream/internal/records"
)

func TestCharsets(t *testing.T) {
	for _, test := range []struct{ contentType, body, want string }{
		{"text/csv", "a\xe4", "a\xe4"}, // nobody says what it is
		{"text/csv; charset=UTF-8", "\xef\xbb\xbfa\xc3\xa4", "\xef\xbb\xbfa\u00e4"},
		{"text/csv; charset=ISO-8859-1", "a\xe4", "a\u00e4"},
		{`application/json; charset="windows-1252"`, "\x80", "\u20ac"},
		{"text/csv; charset=utf-16", "\xff\xfea\x00\xe4\x00", "a\u00e4"},
		{"text/csv; charset=utf-16", "\xfe\xff\x00a\x00\xe4", "a\u00e4"},
		{"text/csv; charset=utf-16le", "a\x00\xe4\x00", "a\u00e4"},
		{"", "x", "x"},
	} {
		got, err := records.CharsetOf(test.contentType).UTF8([]byte(test.body))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q was read as %q (%v), want %q", test.contentType, test.body, got, err, test.want)
		}
	}
	if _, err := records.CharsetOf("text/csv; charset=klingon").UTF8(nil); err == nil || !strings.Contains(err.Error(), `"klingon"`) {
		t.Error(err)
	}
	page, err := records.Decoder{Form: records.XML, Path: []string{"a", "b"}}.Decode(
		[]byte("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a><b>B\xe4r</b></a>"))
	if err != nil || texts(page.Records) != "\"B\u00e4r\"" {
		t.Errorf("XML: %s (%v)", texts(page.Records), err)
	}
}
