package openstack

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
	"weak"

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

// silent is how long a connection of HTTP/2 on which somebody waits may bring nothing until it is asked whether it lives, and then as long
// until it is given up: all who ask the same host share it, and would wait on it one after another if it were dead.
const silent = 15 * time.Second

// maxRedirects is more than any of the services needs (a slash that is missing, http to https on one host).
const maxRedirects = 5

// idlePerHost is how many connections may do so. A pool that many clients share may have many with one host.
const idlePerHost = 16

// NewClient makes the HTTP client for one cloud. It reads the files of c.TLS.
func (c HTTP) NewClient() (*http.Client, error) { return (*Clients)(nil).New(c) }

// Clients makes HTTP clients, of which those with the same settings share their connections: what a pool of connections takes counts
// where there are a thousand clouds. A nil Clients shares nothing. It is safe for concurrent use.
type Clients struct {
	mu    sync.Mutex
	pools map[pool]weak.Pointer[http.Transport]
}

// pool is all that a pool of connections is made of.
type pool struct {
	connect, header   time.Duration
	proxy, serverName string
	trusted           [sha256.Size]byte // of the certificates that are trusted
	own               [sha256.Size]byte // of our certificate and its key
}

// NewClients returns a Clients that has made none.
func NewClients() *Clients { return &Clients{pools: map[pool]weak.Pointer[http.Transport]{}} }

// New makes the HTTP client for one cloud. It reads the files of c.TLS: a pool is not shared by who has read another certificate.
func (s *Clients) New(c HTTP) (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	like := pool{connect: c.ConnectTimeout, header: c.HeaderTimeout, proxy: c.Proxy, serverName: c.TLS.ServerName}
	if c.TLS.CAFile != "" {
		pem, err := os.ReadFile(c.TLS.CAFile)
		if err != nil {
			return nil, invalid("read http.tls.ca_file", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("read http.tls.ca_file", fmt.Errorf("%s has no certificate in PEM form", c.TLS.CAFile))
		}
		like.trusted = sha256.Sum256(pem)
	}
	if c.TLS.CertFile != "" {
		const op = "read http.tls.cert_file and http.tls.key_file"
		own, err := os.ReadFile(c.TLS.CertFile)
		if err != nil {
			return nil, invalid(op, err)
		}
		key, err := os.ReadFile(c.TLS.KeyFile)
		if err != nil {
			return nil, invalid(op, err)
		}
		cert, err := tls.X509KeyPair(own, key)
		if err != nil {
			return nil, invalid(op, err)
		}
		conf.Certificates = []tls.Certificate{cert}
		like.own = sha256.Sum256(slices.Concat(own, []byte{0}, key))
	}
	transport, err := s.pool(like, func() (*http.Transport, error) { return c.transport(conf) })
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: transport, Timeout: c.Timeout, CheckRedirect: checkRedirect}, nil
}

// pool is the one that there is, as long as a client has it, or a new one.
func (s *Clients) pool(like pool, build func() (*http.Transport, error)) (*http.Transport, error) {
	if s == nil {
		return build()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if shared := s.pools[like].Value(); shared != nil {
		return shared, nil
	}
	made, err := build()
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(s.pools, func(_ pool, of weak.Pointer[http.Transport]) bool { return of.Value() == nil })
	s.pools[like] = weak.Make(made)
	return made, nil
}

func (c HTTP) transport(conf *tls.Config) (*http.Transport, error) {
	// A connection has two buffers and two goroutines while it waits for the next question, and there may be a thousand that wait: it
	// waits for the next page, not for the next run. Many servers (Apache, unless told otherwise) have ended it by then, too, and a
	// question that meets the end has to be asked again. A question is shorter than the buffers, and a long answer is read past them.
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: c.ConnectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    c.ConnectTimeout,
		ResponseHeaderTimeout:  c.HeaderTimeout,
		IdleConnTimeout:        idleConn,
		MaxIdleConnsPerHost:    idlePerHost,
		WriteBufferSize:        2 << 10,
		ReadBufferSize:         2 << 10,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: silent, PingTimeout: silent},
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
	return transport, nil
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
