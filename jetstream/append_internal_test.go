package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// What the server answers to the message that opens a batch, and to the one that commits it.
func TestAnswersOfTheServerHaveTheRightKind(t *testing.T) {
	for name, test := range map[string]struct {
		api          natsjs.APIError
		open, commit event.Kind
	}{
		"another cursor":          {natsjs.APIError{Code: 400, ErrorCode: 10071, Description: "wrong last sequence: 7"}, event.Fenced, event.Fenced},
		"a write in process":      {natsjs.APIError{Code: 400, ErrorCode: 10164, Description: "wrong last sequence"}, event.Unavailable, event.Unavailable},
		"stream full":             {natsjs.APIError{Code: 503, ErrorCode: 10077, Description: "maximum bytes exceeded"}, event.Full, event.Full},
		"too many messages":       {natsjs.APIError{Code: 503, ErrorCode: 10077, Description: "maximum messages exceeded"}, event.Full, event.Full},
		"message too large":       {natsjs.APIError{Code: 400, ErrorCode: 10054, Description: "message size exceeds maximum allowed"}, event.TooLarge, event.TooLarge},
		"record too large":        {natsjs.APIError{Code: 503, ErrorCode: 10077, Description: "message to store too large"}, event.TooLarge, event.TooLarge},
		"store failed":            {natsjs.APIError{Code: 503, ErrorCode: 10077, Description: "no space left on device"}, event.Unavailable, event.Unknown},
		"account full":            {natsjs.APIError{Code: 400, ErrorCode: 10002, Description: "resource limits exceeded for account"}, event.Full, event.Unknown},
		"server full":             {natsjs.APIError{Code: 503, ErrorCode: 10023, Description: "insufficient resources"}, event.Full, event.Unknown},
		"disk full":               {natsjs.APIError{Code: 500, ErrorCode: 10047, Description: "insufficient storage resources available"}, event.Full, event.Unknown},
		"batches off":             {natsjs.APIError{Code: 400, ErrorCode: 10174, Description: "atomic publish is disabled"}, event.Invalid, event.Invalid},
		"per-message TTL off":     {natsjs.APIError{Code: 400, ErrorCode: 10166, Description: "per-message TTL is disabled"}, event.Invalid, event.Invalid},
		"rollup off":              {natsjs.APIError{Code: 500, ErrorCode: 10111, Description: "rollup not permitted"}, event.Invalid, event.Invalid},
		"another stream":          {natsjs.APIError{Code: 400, ErrorCode: 10060, Description: "expected stream does not match"}, event.Invalid, event.Invalid},
		"incomplete":              {natsjs.APIError{Code: 400, ErrorCode: 10176, Description: "atomic publish batch is incomplete"}, event.Unavailable, event.Unknown},
		"batch too large":         {natsjs.APIError{Code: 400, ErrorCode: 10199, Description: "atomic publish batch is too large: 1000"}, event.Invalid, event.Invalid},
		"sealed":                  {natsjs.APIError{Code: 400, ErrorCode: 10109, Description: "invalid operation on sealed stream"}, event.Invalid, event.Invalid},
		"too many batches":        {natsjs.APIError{Code: 429, ErrorCode: 10210, Description: "atomic publish too many inflight"}, event.Unavailable, event.Unavailable},
		"too many requests":       {natsjs.APIError{Code: 429, ErrorCode: 10167, Description: "too many requests"}, event.Unavailable, event.Unavailable},
		"expectation not ready":   {natsjs.APIError{Code: 503, ErrorCode: 10163, Description: "temporarily unavailable"}, event.Unavailable, event.Unavailable},
		"cluster not ready":       {natsjs.APIError{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"}, event.Unavailable, event.Unavailable},
		"something of the server": {natsjs.APIError{Code: 500, ErrorCode: 10099, Description: "?"}, event.Unavailable, event.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			if got := event.KindOf(sendError(&test.api, phaseOpen)); got != test.open {
				t.Errorf("before the commit it is %v, want %v", got, test.open)
			}
			if got := event.KindOf(sendError(&test.api, phaseCommit)); got != test.commit {
				t.Errorf("at the commit it is %v, want %v", got, test.commit)
			}
		})
	}
}

func TestFailuresToSendHaveTheRightKind(t *testing.T) {
	for name, test := range map[string]struct {
		err          error
		open, commit event.Kind
	}{
		"no answer":          {nats.ErrTimeout, event.Unavailable, event.Unknown},
		"caller gave up":     {context.Canceled, event.Unavailable, event.Unknown},
		"connection closed":  {nats.ErrConnectionClosed, event.Unavailable, event.Unknown},
		"disconnected":       {nats.ErrReconnectBufExceeded, event.Unavailable, event.Unavailable},
		"nobody listens":     {nats.ErrNoResponders, event.Unavailable, event.Unavailable},
		"above max_payload":  {nats.ErrMaxPayload, event.TooLarge, event.TooLarge},
		"no right":           {&refusal{err: invalid("publish ingest.raw.p.s", errors.New("no right"))}, event.Invalid, event.Invalid},
		"unreadable answer":  {errors.New("read the server's answer: EOF"), event.Unavailable, event.Unknown},
		"unknown to us":      {errors.New("?"), event.Unavailable, event.Unknown},
		"draining":           {nats.ErrConnectionDraining, event.Unavailable, event.Unavailable},
		"impossible subject": {nats.ErrBadSubject, event.Invalid, event.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if got := event.KindOf(sendError(test.err, phaseOpen)); got != test.open {
				t.Errorf("before the commit it is %v, want %v", got, test.open)
			}
			if got := event.KindOf(sendError(test.err, phaseCommit)); got != test.commit {
				t.Errorf("at the commit it is %v, want %v", got, test.commit)
			}
		})
	}
}

// What the library says of a connection that is being made again is no text for people.
func TestALostConnectionIsCalledThat(t *testing.T) {
	for name, err := range map[string]error{
		"a batch":   sendError(nats.ErrReconnectBufExceeded, phaseCommit),
		"a reading": readError(t.Context(), "read x", fmt.Errorf("ask: %w", nats.ErrReconnectBufExceeded)),
	} {
		text := err.Error()
		if event.KindOf(err) != event.Unavailable || !strings.Contains(text, "there is no connection to NATS now") ||
			strings.Contains(text, "buffer") || !isDown(err) {
			t.Errorf("%s says %q", name, text)
		}
	}
}

func TestLastSequenceIsReadFromTheAnswer(t *testing.T) {
	for text, want := range map[string]event.StreamSeq{
		"wrong last sequence: 42": 42, "wrong last sequence: 0": 0, "wrong last sequence": 0, "": 0,
		"wrong last sequence: x": 0, "wrong last sequence: 18446744073709551615": 1<<64 - 1,
	} {
		if got := lastSequence(text); got != want {
			t.Errorf("%q gives %d, want %d", text, got, want)
		}
	}
}
