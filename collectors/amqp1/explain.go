package amqp1

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	amqp "github.com/Azure/go-amqp"

	"stackstream/event"
	"stackstream/internal/broker"
)

// refusal is that a peer did not make the link to an address.
type refusal struct {
	address string
	err     error
}

func (r *refusal) Error() string { return fmt.Sprintf("address %s: %v", r.address, r.err) }
func (r *refusal) Unwrap() error { return r.err }

// explain gives an error of the peer, of the library or of the network its kind and says what is wrong and, where one can do
// something about it, which setting to look at. The peer's own words are kept. An error that has a kind already is returned as
// it is.
func explain(op string, err error) error {
	if err == nil || event.KindOf(err) != 0 {
		return err
	}
	kind, text := meaning(err)
	return &event.Error{Kind: kind, Op: op, Err: &broker.Explained{Text: text, Err: err}}
}

// meaning is what an error means on a connection that stands.
func meaning(err error) (event.Kind, string) {
	var said *amqp.Error
	var protocol errProtocol
	var unwanted errUnwanted
	var ended *amqp.ConnError
	switch {
	case errors.As(err, &said):
		return meaningOfAnswer(said)
	case errors.As(err, &protocol):
		return event.Unavailable, "the peer does what AMQP 1.0 does not allow: " + string(protocol)
	case errors.As(err, &unwanted):
		return event.Unavailable, "the peer sends what is not taken: " + string(unwanted)
	case errors.As(err, &ended) && err.Error() == new(amqp.ConnError).Error():
		return event.Unavailable, "the peer closed the connection, and does not say why"
	}
	if text := err.Error(); strings.HasPrefix(text, "amqp: link closed") || strings.HasPrefix(text, "amqp: session closed") {
		return event.Unavailable, "the peer ended the link, and does not say why"
	}
	kind, text := broker.OfNetwork(err)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() || strings.HasSuffix(text, "i/o timeout") {
		text = "the peer has gone silent, without even a heartbeat (see heartbeat): " + text
	}
	return kind, text
}

// meaningOfAnswer is about what the peer said when it ended a link, a session or the connection.
func meaningOfAnswer(said *amqp.Error) (event.Kind, string) {
	text := broker.Clean(string(said.Condition) + ": " + said.Description)
	switch said.Condition {
	case amqp.ErrCondUnauthorizedAccess:
		return event.Invalid, "we have no right to it (see user and addresses): " + text
	case amqp.ErrCondNotFound:
		return event.Unavailable, "there is no such address (see addresses): " + text
	case amqp.ErrCondResourceDeleted:
		return event.Unavailable, "the address was deleted: " + text
	case amqp.ErrCondResourceLocked, amqp.ErrCondStolen:
		return event.Unavailable, "somebody else has it to himself: " + text
	case amqp.ErrCondResourceLimitExceeded, amqp.ErrCondTransferLimitExceeded:
		return event.Unavailable, "the peer takes no more links or connections: " + text
	case amqp.ErrCondConnectionForced, amqp.ErrCondDetachForced:
		return event.Unavailable, "the peer's operator ended it: " + text
	case amqp.ErrCondConnectionRedirect, amqp.ErrCondLinkRedirect:
		return event.Invalid, "the peer sends us to another one, which is not followed: name that in hosts: " + text
	case amqp.ErrCondInvalidField, amqp.ErrCondNotImplemented, amqp.ErrCondNotAllowed, amqp.ErrCondPreconditionFailed:
		return event.Invalid, "the peer does not take it like that (see addresses and vhost): " + text
	}
	return event.Unavailable, "the peer says: " + text
}

// stage is how far a link had come.
type stage string

const (
	stageReach stage = "to the connection"
	stageTLS   stage = "in TLS"
	stageLogin stage = "to the login"
	stageLink  stage = "to the link"
)

// failed says why there is no link on a host.
func (d *dialer) failed(ctx context.Context, peer string, at stage, w *broker.Witness, err error) error {
	kind, text := d.meaningOfDial(ctx, at, w, err)
	return &event.Error{Kind: kind, Op: "connect to " + peer, Err: &broker.Explained{Text: text, Err: err}}
}

func (d *dialer) meaningOfDial(ctx context.Context, at stage, w *broker.Witness, err error) (event.Kind, string) {
	late := errors.Is(err, os.ErrDeadlineExceeded)
	if ctx.Err() != nil || late {
		if late || errors.Is(context.Cause(ctx), broker.ErrTooLate) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return event.Unavailable, fmt.Sprintf("there was no answer %s within %s (see connect_timeout)", at, d.cfg.ConnectTimeout)
		}
		return event.Unavailable, ctx.Err().Error()
	}
	if w != nil {
		if kind, text := d.meaningOfLogin(w, err); kind != 0 {
			return kind, text
		}
	}
	kind, text := meaning(err)
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		text = fmt.Sprintf("address %s: %s", refused.address, text)
	}
	return kind, text
}

// What a peer answers first: the header of a protocol. The library offers a login (SASL), and a peer that wants something else
// says so by the header of that, and hangs up.
const (
	headerSASL  = "AMQP\x03\x01\x00\x00"
	headerPlain = "AMQP\x00\x01\x00\x00"
	headerTLS   = "AMQP\x02\x01\x00\x00"
	header091   = "AMQP\x00\x00\x09\x01"
)

// meaningOfLogin is about what shows only to somebody who has seen what came; the kind is 0 if nothing does.
func (d *dialer) meaningOfLogin(w *broker.Witness, err error) (event.Kind, string) {
	first, readErr := w.Saw()
	switch {
	case strings.HasPrefix(first, header091) || strings.HasPrefix(first, "\x01\x00\x00"):
		return event.Invalid, "the broker speaks AMQP 0-9-1 on this port and not 1.0 (see hosts): with RabbitMQ its plugin " +
			"rabbitmq_amqp1_0 has to be enabled; the source amqp speaks 0-9-1"
	case strings.HasPrefix(first, headerPlain):
		return event.Invalid, "the peer knows no login: no SASL, not even anonymous"
	case strings.HasPrefix(first, headerTLS), d.tls == nil && strings.HasPrefix(first, "\x15\x03"):
		return event.Invalid, "the peer speaks TLS on this port (see hosts and tls.enabled)"
	case strings.HasPrefix(first, "HTTP"):
		return event.Invalid, "an HTTP server listens there (see hosts)"
	case !strings.HasPrefix(first, headerSASL) && !strings.HasPrefix(headerSASL, first):
		return event.Invalid, "what listens there does not speak AMQP 1.0 (see hosts)"
	}
	text := broker.Clean(err.Error())
	switch {
	case strings.Contains(text, "auth failed with code"):
		return event.Invalid, fmt.Sprintf("the peer refuses the login (see user, password_file and sasl): sasl %s", d.cfg.SASL)
	case strings.Contains(text, "no supported auth mechanism"):
		return event.Invalid, fmt.Sprintf("the peer does not offer the login of sasl: %s (see sasl): %s", d.cfg.SASL, text)
	}
	if readErr == nil {
		return 0, ""
	}
	if kind, text := broker.OfTLS(readErr); kind != 0 {
		return kind, text
	}
	if first == "" {
		text := "the connection was closed before the peer said anything"
		if d.tls != nil { // the alert that would say so is lost where the end comes as a reset
			text += ", as a peer also does that refuses our client certificate, or wants one (see tls.cert_file)"
		}
		return event.Unavailable, text + ": " + broker.Innermost(readErr)
	}
	return event.Unavailable, "the connection was closed while we logged in, as some do that refuse user or password: " +
		broker.Innermost(readErr)
}
