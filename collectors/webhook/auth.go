package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"stackstream/event"
)

// Reasons for which senders are turned away, as metrics have them.
const (
	reasonUnknown   = "unauthorized" // a token, password or certificate that is missing or wrong
	reasonSite      = "cross-site"   // posted by a browser for a page of others, or under a name that is not this machine's
	reasonForged    = "signature"    // a signature that is missing or wrong
	reasonOld       = "timestamp"    // signed too long ago, or in the future
	reasonElsewhere = "elsewhere"    // not posted, or to another path: mostly by who looks for what is open
	reasonInvalid   = "invalid"      // not what the format is
	reasonTooLarge  = "too-large"
	reasonRate      = "rate"       // limits.rate
	reasonBusy      = "busy"       // limits.pending and the like
	reasonFull      = "remembered" // limits.remembered
	reasonIdle      = "no-source"  // nothing is at work here: standing by, paused, failing
	reasonUnsettled = "unsettled"  // it is not known whether it is stored
	reasonLate      = "answer-time"
	reasonCut       = "cut-off" // the sender did not send all of it, or not in time
)

// Reasons are all of them.
func Reasons() []string {
	return []string{
		reasonUnknown, reasonSite, reasonForged, reasonOld, reasonElsewhere, reasonInvalid, reasonTooLarge, reasonRate, reasonBusy,
		reasonFull, reasonIdle, reasonUnsettled, reasonLate, reasonCut,
	}
}

// refusal is why a request is not taken.
type refusal struct {
	status int
	reason string
	field  string // what is wrong, in what was posted
	text   string
	// later: it could be taken then.
	later bool
}

func (r *refusal) Error() string {
	if r.field == "" {
		return r.text
	}
	return r.field + ": " + r.text
}

// secrets are what any of is right, as hashes, so that comparing takes the same time whatever the lengths are.
type secrets [][sha256.Size]byte

// readSecrets reads a secret, or a file with one in each line.
func readSecrets(secret event.Secret, field, path string) ([]string, error) {
	text, err := secret.OrFile(field, path)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return []string{text}, nil
	}
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			all = append(all, line)
		}
	}
	return all, nil
}

func newSecrets(all []string) secrets {
	var s secrets
	for _, secret := range all {
		s = append(s, sha256.Sum256([]byte(secret)))
	}
	return s
}

// has compares with all of them.
func (s secrets) has(given string) bool {
	sum, found := sha256.Sum256([]byte(given)), 0
	for i := range s {
		found |= subtle.ConstantTimeCompare(sum[:], s[i][:])
	}
	return found == 1
}

// guard knows senders by the header of their requests.
type guard struct {
	cfg       Auth
	names     []string                    // of certificates
	pages     *http.CrossOriginProtection // nil where a sender shows what no page of others can have its browser send
	loopback  bool                        // only names of this machine are right
	tokens    secrets
	passwords secrets
}

func newGuard(c Config) (*guard, error) {
	g := &guard{cfg: c.Auth, names: c.TLS.ClientNames, loopback: c.forThisMachine()}
	if c.Auth.Bearer == nil && c.Auth.HMAC == nil {
		g.pages = http.NewCrossOriginProtection()
	}
	if b := c.Auth.Bearer; b != nil {
		all, err := readSecrets(b.Token, "auth.bearer.token_file", b.TokenFile)
		if err != nil {
			return nil, err
		}
		g.tokens = newSecrets(all)
	}
	if b := c.Auth.Basic; b != nil {
		all, err := readSecrets(b.Password, "auth.basic.password_file", b.PasswordFile)
		if err != nil {
			return nil, err
		}
		g.passwords = newSecrets(all)
	}
	return g, nil
}

// foreign refuses what a web page had a browser post that can reach us: to an address that only this machine has, with the password or
// the certificate that it keeps for its user, or only because it stands in the same network. A page that had its own name resolve
// to our address shows by that name.
func (g *guard) foreign(r *http.Request) *refusal {
	if g.pages != nil && g.pages.Check(r) != nil {
		return &refusal{status: http.StatusForbidden, reason: reasonSite, text: "a browser posts it for a page of another site"}
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if g.loopback && host != "" && !isLoopback(strings.Trim(host, "[]")) {
		return &refusal{status: http.StatusForbidden, reason: reasonSite, field: "Host", text: "is not this machine, and nobody shows " +
			"who posts: have senders, or what stands between, say localhost (or set auth or auth.anonymous)"}
	}
	return nil
}

// check refuses a request whose sender is not known. It does not read the body.
func (g *guard) check(r *http.Request) *refusal {
	if refused := g.foreign(r); refused != nil {
		return refused
	}
	if len(g.names) > 0 && !g.named(r.TLS) {
		return &refusal{status: http.StatusForbidden, reason: reasonUnknown, text: "the certificate is of nobody who may post events"}
	}
	if b := g.cfg.Bearer; b != nil {
		token, ok := r.Header.Get(b.Header), b.Header != ""
		if !ok {
			token, ok = bearer(r.Header.Get("Authorization"))
		}
		if !ok || !g.tokens.has(token) {
			return &refusal{status: http.StatusUnauthorized, reason: reasonUnknown, text: "the token is missing or wrong"}
		}
	}
	if b := g.cfg.Basic; b != nil {
		user, password, ok := r.BasicAuth()
		known := subtle.ConstantTimeCompare([]byte(user), []byte(b.User)) == 1
		if right := g.passwords.has(password); !ok || !known || !right {
			return &refusal{status: http.StatusUnauthorized, reason: reasonUnknown, text: "the user or the password is missing or wrong"}
		}
	}
	return nil
}

// challenge says how one can show who one is.
func (g *guard) challenge(h http.Header) {
	switch {
	case g.cfg.Basic != nil:
		h.Set("WWW-Authenticate", `Basic realm="stackstream"`)
	case g.cfg.Bearer != nil && g.cfg.Bearer.Header == "":
		h.Set("WWW-Authenticate", `Bearer realm="stackstream"`)
	}
}

func bearer(header string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(header, " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

func (g *guard) named(state *tls.ConnectionState) bool {
	if state == nil || len(state.PeerCertificates) == 0 {
		return false
	}
	sender := state.PeerCertificates[0]
	return slices.ContainsFunc(g.names, func(name string) bool {
		return name == sender.Subject.CommonName || slices.Contains(sender.DNSNames, name)
	})
}

// config reads the certificates, nil where HTTP is spoken.
func (t TLS) config() (*tls.Config, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	wrong := func(what string, err error) error {
		return &event.Error{Kind: event.Invalid, Op: "read " + what, Err: err}
	}
	own, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, wrong("tls.cert_file and tls.key_file", err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
	if t.MinVersion == "1.3" {
		cfg.MinVersion = tls.VersionTLS13
	}
	if t.ClientCAFile == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return nil, wrong("tls.client_ca_file", err)
	}
	cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !cfg.ClientCAs.AppendCertsFromPEM(text) {
		return nil, wrong("tls.client_ca_file", fmt.Errorf("%s has no certificate in PEM form", t.ClientCAFile))
	}
	return cfg, nil
}

var errNoSecret = errors.New("has no secret in it")
