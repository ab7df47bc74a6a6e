package openstack

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"stackstream/event"
)

// HTTP says how to reach the services of a cloud.
type HTTP struct {
	// Timeout is how long a whole request may take, with the body of its answer.
	Timeout time.Duration `yaml:"timeout"`
	// ConnectTimeout is how long TCP may take to connect, and then TLS.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// HeaderTimeout is how long the answer may take to begin.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	// Proxy is the URL of an HTTP proxy, or "environment" for the usual variables. Empty: none, whatever the
	// environment says.
	Proxy string `yaml:"proxy"`
	TLS   TLS    `yaml:"tls"`
}

// TLS says how to speak TLS, 1.2 at least. There is no way to skip the check of the server's certificate.
type TLS struct {
	// CAFile is a file with the certificates to trust in place of the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile is a file with our certificate, where the service wants one; with KeyFile.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the file with the key of CertFile.
	KeyFile string `yaml:"key_file"`
	// ServerName is what to expect in the certificate in place of the URL's host.
	ServerName string `yaml:"server_name"`
}

const proxyFromEnvironment = "environment"

// DefaultHTTP has the limits used where the configuration names none.
func DefaultHTTP() HTTP {
	return HTTP{Timeout: 60 * time.Second, ConnectTimeout: 10 * time.Second, HeaderTimeout: 45 * time.Second}
}

// Validate returns every mistake that shows without reading a file.
func (c HTTP) Validate() []Problem {
	var found problems
	for _, limit := range []struct {
		field string
		d     time.Duration
	}{
		{"connect_timeout", c.ConnectTimeout}, {"header_timeout", c.HeaderTimeout}, {"timeout", c.Timeout},
	} {
		if limit.d <= 0 {
			found.add(limit.field, "must be more than 0")
		}
	}
	if c.Proxy != "" && c.Proxy != proxyFromEnvironment {
		if msg := CheckURL(c.Proxy); msg != "" {
			found.add("proxy", "%s (or is the word %s)", msg, proxyFromEnvironment)
		}
	}
	if c.TLS.CertFile != "" && c.TLS.KeyFile == "" {
		found.add("tls.key_file", "is missing: tls.cert_file is set")
	}
	if c.TLS.KeyFile != "" && c.TLS.CertFile == "" {
		found.add("tls.cert_file", "is missing: tls.key_file is set")
	}
	return found
}

// errRedirect is what an answer that sends us to another host becomes: the token is not shown to a host that was not
// configured.
var errRedirect = errors.New("redirects to another host, which is not followed")

// idleConn is how long a connection waits for the next question.
const idleConn = 5 * time.Second

// maxRedirects is more than any of the services needs (a slash that is missing, http to https on one host).
const maxRedirects = 5

// NewClient makes the HTTP client for one cloud. It reads the files of c.TLS.
func (c HTTP) NewClient() (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CAFile != "" {
		pem, err := os.ReadFile(c.TLS.CAFile)
		if err != nil {
			return nil, invalid("read http.tls.ca_file", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("read http.tls.ca_file", fmt.Errorf("%s has no certificate in PEM form", c.TLS.CAFile))
		}
	}
	if c.TLS.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return nil, invalid("read http.tls.cert_file and http.tls.key_file", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	// A connection has two buffers and two goroutines while it waits for the next question, and there may be a thousand that wait: it
	// waits for the next page, not for the next run. Many servers (Apache, unless told otherwise) have ended it by then, too, and a
	// question that meets the end has to be asked again. A question is shorter than the buffers, and a long answer is read past them.
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: c.ConnectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    c.ConnectTimeout,
		ResponseHeaderTimeout:  c.HeaderTimeout,
		IdleConnTimeout:        idleConn,
		MaxIdleConnsPerHost:    2,
		WriteBufferSize:        2 << 10,
		ReadBufferSize:         2 << 10,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
	}
	switch c.Proxy {
	case "":
	case proxyFromEnvironment:
		transport.Proxy = http.ProxyFromEnvironment
	default:
		proxy, err := url.Parse(c.Proxy)
		if err != nil {
			return nil, invalid("read http.proxy", errors.New("is not a URL"))
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	return &http.Client{Transport: transport, Timeout: c.Timeout, CheckRedirect: checkRedirect}, nil
}

func checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	same := next.URL.Host == first.Host && next.URL.Scheme == first.Scheme
	upgrade := next.URL.Hostname() == first.Hostname() && next.URL.Scheme == "https"
	if !same && !upgrade {
		return fmt.Errorf("%w (%s)", errRedirect, next.URL.Host)
	}
	if len(via) > maxRedirects {
		return errors.New("redirects without end")
	}
	return nil
}

func invalid(op string, err error) error { return &event.Error{Kind: event.Invalid, Op: op, Err: err} }

func unavailable(op string, err error) error {
	return &event.Error{Kind: event.Unavailable, Op: op, Err: err}
}

// TransportError gives an error of the HTTP client its kind: another host that we are sent to and a certificate that
// does not hold are Invalid and name the setting, the rest is Unavailable. The URL is shown without its query.
func TransportError(op string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		shown := wrapped.URL
		if u, parsed := url.Parse(wrapped.URL); parsed == nil {
			shown = Address(u)
		}
		err = fmt.Errorf("%s: %w", shown, wrapped.Err)
	}
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return invalid(op, fmt.Errorf("%w (see http.tls)", err))
	case errors.Is(err, errRedirect):
		return invalid(op, err)
	default:
		return unavailable(op, err)
	}
}

// Address is a URL for people: without its query, which may have a secret.
func Address(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }
