// Package broker has what the clients of message brokers have in common, whatever protocol they speak: hosts, TLS, and errors in
// the words of those who operate them. The settings that it speaks of (hosts, tls.ca_file, …) are named alike in all of them.
package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"stackstream/event"
)

// Explained says in an operator's words what the error it wraps means.
type Explained struct {
	Text string
	Err  error
}

func (e *Explained) Error() string { return e.Text }
func (e *Explained) Unwrap() error { return e.Err }

// OfNetwork is about errors of TCP, names and TLS.
func OfNetwork(err error) (event.Kind, string) {
	if kind, text := OfTLS(err); kind != 0 {
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
		return event.Unavailable, "there is no way to it (see hosts): " + Innermost(err)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return event.Unavailable, "the connection was closed by the other side: " + Innermost(err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return event.Unavailable, "there was no answer in time: " + Innermost(err)
	}
	return event.Unavailable, Innermost(err)
}

// OfTLS is about certificates and alerts; the kind is 0 if the error is of another sort.
func OfTLS(err error) (event.Kind, string) {
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
		return ofAlert(strings.TrimPrefix(remote.Err.Error(), "tls: "))
	case strings.Contains(err.Error(), "tls: server selected unsupported protocol version"):
		return event.Invalid, "the broker has no version of TLS in common with us (see tls.min_version): " + Innermost(err)
	case strings.Contains(err.Error(), "tls: "):
		return event.Invalid, "TLS fails: " + Innermost(err)
	}
	return 0, ""
}

// ofAlert is about what the broker's side of TLS refuses, in crypto/tls's words for the alert.
func ofAlert(said string) (event.Kind, string) {
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

// Innermost is the text of the last error in the chain, without the addresses and verbs around it.
func Innermost(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return Clean(err.Error())
		}
		err = inner
	}
}

// Clean makes one printable line of the broker's text.
func Clean(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
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
	return &event.Error{Kind: kind, Op: "connect", Err: &Explained{strings.Join(reasons, "; "), errors.Join(errs...)}}
}
