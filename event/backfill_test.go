package event_test

import (
	"errors"
	"strings"
	"testing"

	"stackstream/event"
)

func TestBackfillSource(t *testing.T) {
	for job, want := range map[string]string{
		"day": "", strings.Repeat("x", 54): "", strings.Repeat("x", 55): "is longer than 54 characters", "": "is empty", "a.b": "only a-z",
	} {
		s, err := event.BackfillSource(job)
		switch {
		case want == "" && (err != nil || s.Backfill() != job || !s.Job() || s.Kind() != "backfill"):
			t.Errorf("%q is %q, of job %q, %v", job, s, s.Backfill(), err)
		case want == "":
			if _, err := event.ParseSource(string(s)); err != nil {
				t.Error(err)
			}
		case !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), want):
			t.Errorf("%q gives %v, want %q", job, err, want)
		}
	}
	for _, s := range []event.Source{"panko", "amqp-backfill-x", "backfill", "redrive"} {
		if s.Backfill() != "" {
			t.Errorf("%s is a backfill's", s)
		}
	}
}
