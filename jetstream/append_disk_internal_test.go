package jetstream

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// What lets one suspect a server's disk names the server, and keeps its kind; one answer that is missing does not.
func TestAppendSuspectsTheDisk(t *testing.T) {
	ctx := context.Background()
	c := connectToServer(t)
	if _, err := c.Provision(ctx, DefaultLayout(1).Within(1<<30), CreateMissing); err != nil {
		t.Fatal(err)
	}
	incomplete := &natsjs.APIError{Code: 400, ErrorCode: codeBatchIncomplete, Description: "atomic publish batch is incomplete"}
	timeout := sendError(nats.ErrTimeout, phaseCommit)
	const suspected = "NATS server stackstream, which leads EVENTS_RAW, does not store what it takes"
	for _, tt := range []struct {
		name string
		errs []error // one after the other; the last one counts
		want bool
	}{
		{"a batch could not be put aside", []error{sendError(incomplete, phaseOpen)}, true},
		{"a batch turned out to be incomplete", []error{sendError(incomplete, phaseCommit)}, false},
		{"one answer is missing", []error{timeout}, false},
		{"two are", []error{timeout, timeout}, true},
		{"two are, with an answer in between", []error{timeout, &event.Error{Kind: event.Full}, timeout}, false},
		{"the first message is not answered", []error{sendError(nats.ErrTimeout, phaseOpen), sendError(nats.ErrTimeout, phaseOpen)}, false},
	} {
		l := c.Raw()
		var got error
		for _, err := range tt.errs {
			got = l.suspectDisk(ctx, err)
		}
		last := tt.errs[len(tt.errs)-1]
		if errors.Is(got, ErrNotStored) != tt.want || strings.Contains(got.Error(), suspected) != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		if event.KindOf(got) != event.KindOf(last) {
			t.Errorf("%s: the kind is %v, was %v", tt.name, event.KindOf(got), event.KindOf(last))
		}
	}
}
