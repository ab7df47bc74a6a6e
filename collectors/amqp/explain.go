package amqp

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/rabbitmq/amqp091-go"

	"stackstream/event"
)

// explained says in an operator's words what the error it wraps means.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// explain gives an error of the broker, of the library or of the network its kind and says what is wrong, and where one
// can do something about it, which setting to look at. The broker's own text is kept. An error that has a kind already
// is returned as it is. op begins with what was tried, in the words that lacksRight knows.
func explain(op string, err error) error {
	if err == nil || event.KindOf(err) != 0 {
		return err
	}
	kind, text := meaning(op, err)
	return &event.Error{Kind: kind, Op: op, Err: &explained{text, err}}
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
	return meaningOfNetwork(err)
}

var (
	// RabbitMQ says which right is missing from 3.11 on.
	refusedRight = regexp.MustCompile(`(?:(configure|write|read) )?access to (\S+) ('.*) refused for user '(.*)'`)
	// limitReached is about connections and channels.
	limitReached = regexp.MustCompile(`limit (of )?\(\d+\)|channel_max`)
)

// meaningOfAnswer is about what the broker said when it closed a channel or the connection.
func meaningOfAnswer(op string, answer *amqp091.Error) (event.Kind, string) {
	said := clean(answer.Reason)
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

// meaningOfNetwork is about errors of TCP, names and TLS.
func meaningOfNetwork(err error) (event.Kind, string) {
	if kind, text := meaningOfTLS(err); kind != 0 {
		return kind, text
	}
	var name *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &name):
		if name.IsNotFound {
			return event.Unavailable, "there is no host of that name (see hosts): " + name.Err
		}
		return event.Unavailable, "the name can't be looked up (see hosts): " + name.Err
	case errors.Is(err, syscall.ECONNREFUSED):
		return event.Unavailable, "nothing listens there, or a firewall refuses (see hosts): connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return event.Unavailable, "there is no way to it (see hosts): " + innermost(err)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return event.Unavailable, "the connection was closed by the other side: " + innermost(err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return event.Unavailable, "there was no answer in time: " + innermost(err)
	}
	return event.Unavailable, innermost(err)
}

// meaningOfTLS is about certificates and alerts; the kind is 0 if the error is of another sort.
func meaningOfTLS(err error) (event.Kind, string) {
	var (
		unknown     x509.UnknownAuthorityError
		name        x509.HostnameError
		certificate x509.CertificateInvalidError
		other       *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		remote      *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		return event.Invalid, "the broker's certificate is signed by nobody we trust (see tls.ca_file): " + unknown.Error()
	case errors.As(err, &name):
		return event.Invalid, "the broker's certificate is for another name (see tls.server_name): " + name.Error()
	case errors.As(err, &certificate):
		return event.Invalid, "the broker's certificate does not hold: " + certificate.Error()
	case errors.As(err, &other):
		return event.Invalid, "the broker's certificate does not hold (see tls.ca_file): " + other.Err.Error()
	case errors.As(err, &record):
		if strings.HasPrefix(string(record.RecordHeader[:]), "AMQP") {
			return event.Invalid, "the broker speaks without TLS on this port (see hosts and tls.enabled)"
		}
		return event.Invalid, "what listens there does not speak TLS (see hosts and tls.enabled)"
	case errors.As(err, &remote) && remote.Op == "remote error":
		return meaningOfAlert(strings.TrimPrefix(remote.Err.Error(), "tls: "))
	case strings.Contains(err.Error(), "tls: server selected unsupported protocol version"):
		return event.Invalid, "the broker has no version of TLS in common with us (see tls.min_version): " + innermost(err)
	case strings.Contains(err.Error(), "tls: "):
		return event.Invalid, "TLS fails: " + innermost(err)
	}
	return 0, ""
}

// meaningOfAlert is about what the broker's side of TLS refuses, in crypto/tls's words for the alert.
func meaningOfAlert(said string) (event.Kind, string) {
	switch said {
	case "certificate required":
		return event.Invalid, "the broker wants a client certificate (see tls.cert_file and tls.key_file): " + said
	case "bad certificate", "unsupported certificate", "revoked certificate", "expired certificate", "unknown certificate",
		"unknown certificate authority", "access denied":
		return event.Invalid, "the broker refuses our client certificate, or wants one (see tls.cert_file): " + said
	case "protocol version not supported":
		return event.Invalid, "the broker has no version of TLS in common with us (see tls.min_version): " + said
	case "handshake failure", "insufficient security level":
		return event.Invalid, "the broker wants a client certificate, or has no ciphers in common with us " +
			"(see tls.cert_file and tls.min_version): " + said
	case "internal error":
		return event.Unavailable, "the broker's TLS fails: " + said
	}
	return event.Invalid, "the broker breaks TLS off: " + said
}

// innermost is the text of the last error in the chain, without the addresses and verbs around it.
func innermost(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return clean(err.Error())
		}
		err = inner
	}
}

// clean makes one printable line of the broker's text.
func clean(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
}

// stage is how far a connection had come.
type stage string

const (
	stageReach stage = "to the connection"
	stageTLS   stage = "in TLS"
	stageLogin stage = "to the login"
)

// failed says why a host could not be connected to.
func (d *dialer) failed(ctx context.Context, address string, at stage, w *witness, err error) error {
	kind, text := d.meaningOfDial(ctx, at, w, err)
	return &event.Error{Kind: kind, Op: "connect to " + address, Err: &explained{text, err}}
}

func (d *dialer) meaningOfDial(ctx context.Context, at stage, w *witness, err error) (event.Kind, string) {
	var timeout net.Error
	late := errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
	if ctx.Err() != nil || late {
		if cause := context.Cause(ctx); late || errors.Is(cause, errTooLate) {
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
func (d *dialer) meaningOfLogin(w *witness, err error) (event.Kind, string) {
	var answer *amqp091.Error
	switch errors.As(err, &answer); {
	case answer == amqp091.ErrSASL && d.cfg.SASL == saslExternal:
		return event.Invalid, "the broker does not offer a login by client certificate (see sasl): its plugin " +
			"rabbitmq_auth_mechanism_ssl and the mechanism EXTERNAL have to be enabled"
	case answer == amqp091.ErrSASL:
		return event.Invalid, "the broker does not offer a login by password, PLAIN (see sasl)"
	case answer != nil && answer.Server:
		return 0, ""
	}
	first, readErr := w.saw()
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
	if kind, text := meaningOfTLS(readErr); kind != 0 {
		return kind, text
	}
	if first == "" {
		text := "the connection was closed before the broker said anything"
		if d.tls != nil { // the alert that would say so is lost where the end comes as a reset
			text += ", as a broker also does that refuses our client certificate, or wants one (see tls.cert_file)"
		}
		return event.Unavailable, text + ": " + innermost(readErr)
	}
	return event.Unavailable, "the connection was closed while we logged in; RabbitMQ before 3.2 does so where it refuses " +
		"user or password: " + innermost(readErr)
}

// noHost makes one error of those of all hosts, in the order of the settings: each reason once, after the hosts that it
// is of. It is Invalid only if all of them are.
func noHost(addresses []string, errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	kind := event.Invalid
	var reasons []string
	hosts := map[string][]string{}
	for i, err := range errs {
		var e *event.Error
		reason := err.Error()
		if errors.As(err, &e) && e.Err != nil {
			reason = e.Err.Error()
		}
		if event.KindOf(err) != event.Invalid {
			kind = event.Unavailable
		}
		if hosts[reason] == nil {
			reasons = append(reasons, reason)
		}
		hosts[reason] = append(hosts[reason], addresses[i])
	}
	for i, reason := range reasons {
		reasons[i] = strings.Join(hosts[reason], ", ") + ": " + reason
	}
	return &event.Error{Kind: kind, Op: "connect", Err: &explained{strings.Join(reasons, "; "), errors.Join(errs...)}}
}
