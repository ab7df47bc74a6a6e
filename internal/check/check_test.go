package check

import (
	"errors"
	"testing"
)

func TestFindingIsOneLine(t *testing.T) {
	for _, tc := range []struct {
		name string
		f    Finding
		want string
	}{
		{"setting", Finding{Subject: "log.level", Position: Position{"f.yaml", 2, 7}, Message: "is wrong", Hint: "try info"},
			"f.yaml:2:7: log.level: is wrong (try info)"},
		{"file as a whole", Finding{Position: Position{File: "f.yaml"}, Message: "can't be read"}, "f.yaml: can't be read"},
		{"service", Finding{Subject: "nats", Message: "refused"}, "nats: refused"},
		{"message alone", Finding{Message: "refused"}, "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.f.String(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestErrOnlyForWhatFailed(t *testing.T) {
	harmless := Findings{{Severity: OK, Message: "a"}, {Severity: Warning, Message: "b"}}
	if err := harmless.Err(); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
	err := append(harmless, Finding{Severity: Mistake, Message: "c"}).Err()
	var findings Findings
	if !errors.As(err, &findings) || findings.Worst() != Mistake || len(findings) != 3 {
		t.Errorf("error is %v, want all three findings", err)
	}
	if want := "a\nb\nc"; err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}
}

func TestSortByPlace(t *testing.T) {
	fs := Findings{
		{Position: Position{"f", 2, 1}, Message: "c"}, {Position: Position{"f", 1, 9}, Message: "b"},
		{Position: Position{"f", 2, 1}, Message: "a"}, {Position: Position{"e", 9, 9}, Message: "d"},
	}
	fs.Sort()
	if got, want := fs.Error(), "e:9:9: d\nf:1:9: b\nf:2:1: a\nf:2:1: c"; got != want {
		t.Errorf("sorted:\n%s\nwant:\n%s", got, want)
	}
}
