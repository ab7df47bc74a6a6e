package embedded

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

func TestServerLogLevelsAndRepetition(t *testing.T) {
	var b strings.Builder
	l := &serverLog{log: zerolog.New(&b)}
	l.Noticef("listening on %d", 4222)
	l.Warnf("disk is %s", "full")
	l.Errorf("disk is full")
	l.Errorf("can't write")
	l.Errorf("disk is full")
	l.Fatalf("port %d is taken", 4222)
	l.Fatalf("and that is all")
	want := `{"level":"debug","line":"listening on 4222","message":"nats-server"}
{"level":"warn","line":"disk is full","message":"nats-server"}
{"level":"warn","line":"can't write","message":"nats-server"}
{"level":"warn","line":"disk is full","message":"nats-server"}
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if err := l.fatal(); err == nil || err.Error() != "port 4222 is taken" {
		t.Errorf("the first fatal line is %v", err)
	}
}
