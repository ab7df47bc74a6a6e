package amqp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/rabbitmq/amqp091-go"

	"stackstream/event"
	"stackstream/internal/broker"
)

// explain gives an error of the broker, of the library or of the network its kind and says what is wrong, and where one
// can do something about it, which setting to look at. The broker's own text is kept. An error that has a kind already
// is returned as it is. op begins with what was tried, in the words that lacksRight knows.
func explain(op string, err error) error {
	if err == nil || event.KindOf(err) != 0 {
		return err
	}
	kind, text := meaning(op, err)
	return &event.Error{Kind: kind, Op: op, Err: &broker.Explained{Text: text, Err: err}}
}

// meaning is what an error means on a connection that stands.
func meaning(op string, err error) (event.Kind, string) {
	var answer *amqp091.Error
	if errors.As(err, &answer) {
		if answer.Server {
			return meaningOfAnswer(op, answer)
		}
		return meaningOfLoss(answer)
	}
	return broker.OfNetwork(err)
}

var (
	// RabbitMQ says which right is missing from 3.11 on.
	refusedRight = regexp.MustCompile(`(?:(configure|write|read) )?access to (\S+) ('.*) refused for user '(.*)'`)
	// limitReached is about connections and channels.
	limitReached = regexp.MustCompile(`limit (of )?\(\d+\)|channel_max`)
)

// meaningOfAnswer is about what the broker said when it closed a channel or the connection.
func meaningOfAnswer(op string, answer *amqp091.Error) (event.Kind, string) {
	said := broker.Clean(answer.Reason)
	switch answer.Code {
	case amqp091.ConnectionForced:
		return event.Unavailable, "the broker closed the connection: " + said
	case amqp091.AccessRefused:
		return meaningOfRefusal(op, said)
	case amqp091.NotFound:
		return event.Unavailable, "it is not there: " + said
	case amqp091.ResourceLocked:
		return event.Unavailable, "another connection has it to itself: " + said
	case amqp091.PreconditionFailed:
		switch {
		case strings.Contains(said, "delivery acknowledgement on channel"):
			return event.Unavailable, "the broker waited too long for an acknowledgement: " + said
		case strings.Contains(said, "inequivalent arg"):
			return event.Invalid, "it exists with other settings than asked for: " + said
		}
		return event.Invalid, "the broker does not take it like that: " + said
	case amqp091.NotAllowed:
		switch {
		case limitReached.MatchString(said):
			return event.Unavailable, "the broker takes no more connections or channels: " + said
		case strings.HasPrefix(said, "NOT_ALLOWED - vhost ") && strings.HasSuffix(said, " not found"):
			return event.Invalid, "the broker has no such virtual host (see vhost): " + said
		case strings.HasPrefix(said, "NOT_ALLOWED - access to vhost "):
			return event.Invalid, "the user has no rights in the virtual host (see vhost and user): " + said
		}
		return event.Invalid, "the broker does not allow it: " + said
	case amqp091.ContentTooLarge, amqp091.NoConsumers, amqp091.ResourceError, amqp091.InternalError:
		return event.Unavailable, "the broker can't do it now: " + said
	default:
		return event.Invalid, "the broker does not understand us: " + said
	}
}

// meaningOfRefusal is about 403: a login, or something that the user has no right to.
func meaningOfRefusal(op, said string) (event.Kind, string) {
	if strings.Contains(said, "Login was refused") {
		if strings.Contains(said, "EXTERNAL") {
			return event.Invalid, "the broker does not know the user that the client certificate names (see tls.cert_file): " + said
		}
		return event.Invalid, "the broker refuses the login (see user and password_file): " + said
	}
	if m := refusedRight.FindStringSubmatch(said); m != nil {
		return event.Invalid, fmt.Sprintf("user '%s' has no right to %s %s %s: %s",
			m[4], cmp.Or(m[1], lacksRight(op, m[2])), m[2], m[3], said)
	}
	if strings.Contains(said, "exclusive") {
		return event.Unavailable, "another consumer has it to itself: " + said
	}
	return event.Invalid, "the broker refuses it (see user): " + said
}

// lacksRight tells which right RabbitMQ asks for when something is done, where it does not say so itself.
func lacksRight(op, resource string) string {
	verb, _, _ := strings.Cut(op, " ")
	own := strings.HasPrefix(op, verb+" "+resource+" ")
	switch {
	case verb == "declare" && resource == "queue" && own:
		return "configure or read" // read: because its dead letters go elsewhere
	case verb == "declare" && resource == "exchange" && !own:
		return "write" // to where the dead letters of a queue go
	case verb == "declare" || verb == "create" || verb == "delete":
		return "configure"
	case (verb == "bind" || verb == "unbind") && resource == "queue":
		return "write"
	case verb == "bind" || verb == "unbind" || verb == "consume":
		return "read"
	case verb == "send":
		return "write"
	}
	return "configure, write or read"
}

// meaningOfLoss is about what the library says itself. That reading or writing failed it only passes on as text.
func meaningOfLoss(lost *amqp091.Error) (event.Kind, string) {
	switch {
	case lost == amqp091.ErrClosed:
		return event.Unavailable, "the connection or its channel is closed"
	case lost == amqp091.ErrChannelMax:
		return event.Unavailable, "the connection takes no more channels"
	case isProtocolError(lost):
		return event.Invalid, "the broker sent what is not AMQP 0-9-1: " + lost.Reason
	case strings.HasSuffix(lost.Reason, "i/o timeout"):
		return event.Unavailable, "the broker has gone silent, without even a heartbeat (see heartbeat): " + lost.Reason
	default:
		return event.Unavailable, "the connection was lost: " + lost.Reason
	}
}

// isProtocolError tells whether the library could not make sense of what came. Of a frame it passes on only the text.
func isProtocolError(err *amqp091.Error) bool {
	switch err.Code {
	case amqp091.SyntaxError, amqp091.CommandInvalid, amqp091.UnexpectedFrame:
		return true
	case amqp091.FrameError:
		return slices.ContainsFunc([]*amqp091.Error{amqp091.ErrFrame, amqp091.ErrFrameTooLarge, amqp091.ErrSyntax},
			func(known *amqp091.Error) bool { return err == known || strings.Contains(err.Reason, known.Reason) })
	}
	return false
}

// stage is how far a connection had come.
type stage string

const (
	stageReach stage = "to the connection"
	stageTLS   stage = "in TLS"
	stageLogin stage = "to the login"
)

// failed says why a host could not be connected to.
func (d *dialer) failed(ctx context.Context, address string, at stage, w *broker.Witness, err error) error {
	kind, text := d.meaningOfDial(ctx, at, w, err)
	return &event.Error{Kind: kind, Op: "connect to " + address, Err: &broker.Explained{Text: text, Err: err}}
}

func (d *dialer) meaningOfDial(ctx context.Context, at stage, w *broker.Witness, err error) (event.Kind, string) {
	var timeout net.Error
	late := errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
	if ctx.Err() != nil || late {
		if cause := context.Cause(ctx); late || errors.Is(cause, broker.ErrTooLate) {
			return event.Unavailable, fmt.Sprintf("there was no answer %s within %s (see connect_timeout)", at, d.cfg.ConnectTimeout)
		}
		return event.Unavailable, ctx.Err().Error()
	}
	if w != nil {
		if kind, text := d.meaningOfLogin(w, err); kind != 0 {
			return kind, text
		}
	}
	return meaning("connect", err)
}

// frameStart is how the first that a broker says begins: a method, on channel 0.
const frameStart = "\x01\x00\x00"

// meaningOfLogin is about what shows only to somebody who has seen what came; the kind is 0 if nothing does.
func (d *dialer) meaningOfLogin(w *broker.Witness, err error) (event.Kind, string) {
	var answer *amqp091.Error
	switch errors.As(err, &answer); {
	case answer == amqp091.ErrSASL && d.cfg.SASL == broker.SASLExternal:
		return event.Invalid, "the broker does not offer a login by client certificate (see sasl): its plugin " +
			"rabbitmq_auth_mechanism_ssl and the mechanism EXTERNAL have to be enabled"
	case answer == amqp091.ErrSASL:
		return event.Invalid, "the broker does not offer a login by password, PLAIN (see sasl)"
	case answer != nil && answer.Server:
		return 0, ""
	}
	first, readErr := w.Saw()
	switch {
	case strings.HasPrefix(first, "AMQP"):
		return event.Invalid, "the broker does not speak AMQP 0-9-1 on this port (see hosts)"
	case strings.HasPrefix(first, "HTTP"):
		return event.Invalid, "an HTTP server listens there, perhaps RabbitMQ's management: AMQP is on another port (see hosts)"
	case d.tls == nil && strings.HasPrefix(first, "\x15\x03"):
		return event.Invalid, "the broker speaks TLS on this port (see hosts and tls.enabled)"
	case !strings.HasPrefix(first, frameStart) && !strings.HasPrefix(frameStart, first):
		return event.Invalid, "what listens there does not speak AMQP 0-9-1 (see hosts)"
	case readErr == nil && answer != nil:
		return 0, ""
	case readErr == nil: // writing failed
		readErr = err
	}
	if kind, text := broker.OfTLS(readErr); kind != 0 {
		return kind, text
	}
	if first == "" {
		text := "the connection was closed before the broker said anything"
		if d.tls != nil { // the alert that would say so is lost where the end comes as a reset
			text += ", as a broker also does that refuses our client certificate, or wants one (see tls.cert_file)"
		}
		return event.Unavailable, text + ": " + broker.Innermost(readErr)
	}
	return event.Unavailable, "the connection was closed while we logged in; RabbitMQ before 3.2 does so where it refuses " +
		"user or password: " + broker.Innermost(readErr)
}
