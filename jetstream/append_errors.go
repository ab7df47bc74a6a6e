package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Error codes of the server that matter here and that the client library has no name for, or not this one.
const (
	codeAccountResources   natsjs.ErrorCode = 10002
	codeClusterUnavailable natsjs.ErrorCode = 10008
	codeServerResources    natsjs.ErrorCode = 10023
	codeMemoryResources    natsjs.ErrorCode = 10028
	codeStorageResources   natsjs.ErrorCode = 10047
	codeMessageTooLarge    natsjs.ErrorCode = 10054
	codeStreamNotFound     natsjs.ErrorCode = 10059
	codeWrongStream        natsjs.ErrorCode = 10060
	codeSequenceMismatch   natsjs.ErrorCode = 10063
	codeWrongLast          natsjs.ErrorCode = 10071
	codeNotEnabled         natsjs.ErrorCode = 10076
	codeStoreFailed        natsjs.ErrorCode = 10077
	codeNoLimits           natsjs.ErrorCode = 10120
	codeExpectNotReady     natsjs.ErrorCode = 10163
	codeWrongLastConstant  natsjs.ErrorCode = 10164
	codeTTLDisabled        natsjs.ErrorCode = 10166
	codeTooManyRequests    natsjs.ErrorCode = 10167
	codeBatchDisabled      natsjs.ErrorCode = 10174
	codeBatchIncomplete    natsjs.ErrorCode = 10176
	codeRollupFailed       natsjs.ErrorCode = 10111
	codeBatchTooLarge      natsjs.ErrorCode = 10199
	codeTooManyBatches     natsjs.ErrorCode = 10210
)

var (
	// errInProcess: the server refused because another write that expects something of the same subject is not done.
	errInProcess = errors.New("another write to the same subject is in process")
	// errStaleConfig: what the stream said of itself may no longer hold.
	errStaleConfig = errors.New("the stream may have changed")
)

// ErrNotStored marks an error of Append that lets one suspect the server's disk: a server answers, but does not store what it
// takes. The error names it.
var ErrNotStored = errors.New("the server does not store what it takes")

// manyUnanswered is how many batches in a row a server may take without an answer, though it answers other requests,
// until that lets one suspect its disk. One may be a connection that broke.
const manyUnanswered = 2

// suspectDisk adds to what went wrong with an attempt what it says about the disk of the stream's leader. A batch whose first
// message is refused as incomplete could not be put aside; one that is taken without an answer, by a server that
// answers other requests, could not be stored, and then the stream takes nothing more until its server is started anew.
// Nothing tells a client more than that.
func (l *Log) suspectDisk(ctx context.Context, err error) error {
	var api *natsjs.APIError
	kind, refused := event.KindOf(err), errors.As(err, &api)
	aside := refused && api.ErrorCode == codeBatchIncomplete && kind == event.Unavailable
	unanswered := !refused && kind == event.Unknown && errors.Is(err, nats.ErrTimeout)
	if n := l.count(unanswered); !aside && n < manyUnanswered {
		return err
	}
	l.forget()
	handle, asked := l.streamHandle(ctx)
	if asked != nil {
		return err
	}
	if l.c.nc.Opts.InProcessServer != nil {
		return &event.Error{Kind: kind, Err: &notStored{stream: l.stream, err: err}}
	}
	server := l.c.nc.ConnectedServerName()
	if info := handle.CachedInfo(); info.Cluster != nil && info.Cluster.Leader != "" {
		server = info.Cluster.Leader
	}
	return &event.Error{Kind: kind, Err: &notStored{server: server, stream: l.stream, err: err}}
}

// count counts the batches in a row that were taken and not answered.
func (l *Log) count(unanswered bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unanswered++; !unanswered {
		l.unanswered = 0
	}
	return l.unanswered
}

// notStored is an ErrNotStored.
type notStored struct {
	server string // "" for the embedded one, which nobody has to restart
	stream string
	err    error
}

func (e *notStored) Error() string {
	cause := e.err
	var known *event.Error
	if errors.As(cause, &known) && known.Err != nil {
		cause = known.Err
	}
	if e.server == "" {
		return fmt.Sprintf("the embedded NATS server does not store what it takes, mostly because its disk is full (%v)", cause)
	}
	return fmt.Sprintf("NATS server %s, which leads %s, does not store what it takes, mostly because its disk is full: make space, "+
		"and restart that server if this does not end by itself (%v)", e.server, e.stream, cause)
}

func (e *notStored) Unwrap() []error { return []error{ErrNotStored, e.err} }

// phase is how far an attempt had come when it failed.
type phase int

const (
	// phaseOpen: the message that commits was not sent; nothing can have been stored.
	phaseOpen phase = iota
	// phaseCommit: it was sent, or may have been.
	phaseCommit
)

// refusal is a right that the server refused this connection.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// cause is the refusal without its kind, for an error that has one.
func (r *refusal) cause() error {
	var known *event.Error
	if errors.As(r.err, &known) {
		return fmt.Errorf("%s: %w", known.Op, known.Err)
	}
	return r.err
}

// pubAck is the answer to a message that was stored, and to the one that commits a batch.
type pubAck struct {
	Stream   string           `json:"stream"`
	Sequence uint64           `json:"seq"`
	Batch    string           `json:"batch"`
	Count    int              `json:"count"`
	Error    *natsjs.APIError `json:"error"`
}

// request publishes m and waits for the answer. An answer that is an error is returned as *natsjs.APIError.
func (c *Client) request(ctx context.Context, m *nats.Msg) (pubAck, error) {
	var ack pubAck
	wait, cancel := context.WithTimeoutCause(ctx, answerTimeout, nats.ErrTimeout)
	defer cancel()
	answer, err := c.nc.RequestMsgWithContext(wait, m)
	if err != nil {
		if wait.Err() != nil {
			err = context.Cause(wait)
		}
		return ack, err
	}
	if len(answer.Data) == 0 {
		return ack, nil
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return ack, fmt.Errorf("read the server's answer: %w", err)
	}
	if ack.Error != nil {
		return ack, ack.Error
	}
	return ack, nil
}

// sendError gives what went wrong with an attempt its kind.
func sendError(err error, at phase) error {
	var api *natsjs.APIError
	var refused *refusal
	switch {
	case errors.As(err, &api):
		return apiError(api, at)
	case errors.As(err, &refused):
		// The server dropped a message of the batch, so that nothing of it can be stored.
		return &event.Error{Kind: event.Invalid, Err: refused.cause()}
	case errors.Is(err, nats.ErrMaxPayload):
		return &event.Error{Kind: event.TooLarge, Err: err}
	case errors.Is(err, nats.ErrNoResponders):
		// Nobody listened, so that nobody stored it.
		return &event.Error{Kind: event.Unavailable, Err: errNoStream}
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrHeadersNotSupported):
		return &event.Error{Kind: event.Invalid, Err: err}
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionDraining):
		// The client library refused to send it.
		return &event.Error{Kind: event.Unavailable, Err: explained(err)}
	case at == phaseOpen:
		return &event.Error{Kind: event.Unavailable, Err: err}
	default:
		return &event.Error{Kind: event.Unknown, Err: err}
	}
}

// ErrNoSuchStream marks the error of a server that answers and has no such stream: it has to be made.
var ErrNoSuchStream error = natsjs.ErrStreamNotFound

var errNoStream = errors.New("no stream answers: it does not exist, has no leader now, or its server has disabled JetStream, as it " +
	"does when its disk is full")

// apiError gives an answer of the server its kind. All that the server checks before it stores anything of a batch is
// definite; what it may find while it stores is definite only before the message that commits was sent.
func apiError(api *natsjs.APIError, at phase) error {
	definite := func(kind event.Kind, err error) error { return &event.Error{Kind: kind, Err: err} }
	switch api.ErrorCode {
	case codeWrongLast:
		return &event.Error{Kind: event.Fenced, Last: lastSequence(api.Description), Err: api}
	case codeWrongLastConstant:
		return definite(event.Unavailable, errors.Join(errInProcess, api))
	case codeStoreFailed:
		return storeFailed(api, at)
	case codeAccountResources, codeServerResources, codeMemoryResources, codeStorageResources, codeNoLimits:
		if at == phaseCommit {
			// On one server without replicas such a limit may be met in the middle of storing a batch.
			return definite(event.Unknown, api)
		}
		return definite(event.Full, api)
	case codeMessageTooLarge:
		return definite(event.TooLarge, errors.Join(api, errStaleConfig))
	case codeBatchDisabled:
		return definite(event.Invalid, setting(api, "allow_atomic"))
	case codeTTLDisabled:
		return definite(event.Invalid, setting(api, "allow_msg_ttl"))
	case codeRollupFailed:
		return definite(event.Invalid, setting(api, "allow_rollup_hdrs"))
	case codeWrongStream:
		return definite(event.Invalid, fmt.Errorf("another stream (%w) takes the subject", api))
	case codeBatchIncomplete:
		// A leader that does not know the batch refuses it, but the one before may have got it as well, and a message
		// in the middle that was refused leaves no other trace. Reading the cursor settles it.
		if at == phaseCommit {
			return definite(event.Unknown, errors.Join(api, errStaleConfig))
		}
		return definite(event.Unavailable, api)
	case codeTooManyBatches, codeTooManyRequests, codeExpectNotReady, codeClusterUnavailable, codeNotEnabled,
		codeStreamNotFound:
		return definite(event.Unavailable, api)
	case codeSequenceMismatch:
		return definite(event.Unknown, api)
	}
	switch {
	case api.Code == http.StatusTooManyRequests:
		return definite(event.Unavailable, api)
	case api.Code >= 400 && api.Code < 500:
		return definite(event.Invalid, api) // 10199 (more messages than the server takes), 10109 (sealed) and so on
	case at == phaseOpen:
		return definite(event.Unavailable, api)
	default:
		return definite(event.Unknown, api)
	}
}

// storeFailed reads why the server could not store a message: it has one code for several reasons.
func storeFailed(api *natsjs.APIError, at phase) error {
	switch text := api.Description; {
	case strings.Contains(text, "maximum bytes"), strings.Contains(text, "maximum messages"):
		return &event.Error{Kind: event.Full, Err: api}
	case strings.Contains(text, "too large"):
		return &event.Error{Kind: event.TooLarge, Err: api}
	case at == phaseOpen:
		return &event.Error{Kind: event.Unavailable, Err: api}
	default:
		return &event.Error{Kind: event.Unknown, Err: api}
	}
}

func setting(err error, name string) error {
	return fmt.Errorf("the stream's setting %s must be true: %w", name, err)
}

// lastSequence reads the sequence out of "wrong last sequence: 42"; 0 if there is none.
func lastSequence(description string) event.StreamSeq {
	_, text, _ := strings.Cut(description, "wrong last sequence: ")
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0
	}
	return event.StreamSeq(n)
}

// readError gives what went wrong with a request that changes nothing its kind.
func readError(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var refused *refusal
	var api *natsjs.APIError
	var known *event.Error
	switch {
	case errors.As(err, &refused):
		return invalid(op, refused.cause())
	case errors.As(err, &known):
		return err
	case errors.Is(err, nats.ErrBadSubject):
		return invalid(op, err)
	case errors.Is(err, natsjs.ErrStreamNotFound):
		return unavailable(op, fmt.Errorf("%w: run stackstream provision first", err))
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, natsjs.ErrNoStreamResponse):
		return unavailable(op, errNoStream)
	case errors.As(err, &api) && api.Code >= 400 && api.Code < 500 && api.Code != http.StatusTooManyRequests &&
		api.Code != http.StatusNotFound && api.Code != http.StatusRequestTimeout:
		return invalid(op, err)
	default:
		return unavailable(op, err)
	}
}
