package httppoll

import (
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(template, template)
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	a.file = a.write(name+".pem", "CERTIFICATE", der)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate) (der []byte, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	by := key
	if a.key != nil {
		by = a.key
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by); err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue makes a certificate for a name, and the files that have it and its key.
func (a *authority) issue(name string) (cert tls.Certificate, certFile, keyFile string) {
	a.t.Helper()
	der, key := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert)
	text, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, a.write(name+".crt", "CERTIFICATE", der), a.write(name+".key", "EC PRIVATE KEY", text)
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// A service that wants our certificate gets it, and only the one that it trusts is taken; its own is checked.
func TestOurCertificate(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	s := newService()
	for range 20 {
		s.put(time.Now())
	}
	who := ""
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who = r.TLS.PeerCertificates[0].Subject.CommonName
		s.ServeHTTP(w, r)
	}))
	own, _, _ := theirs.issue("events.example")
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: ours.pool, ClientAuth: tls.RequireAndVerifyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	_, certFile, keyFile := ours.issue("stackstream.example")
	_, wrongCert, wrongKey := theirs.issue("stackstream.example")
	for name, test := range map[string]struct {
		change func(*Config)
		kind   event.Kind
		want   string
	}{
		"good": {func(*Config) {}, 0, ""},
		"none": {func(c *Config) { c.Request.HTTP.TLS.CertFile, c.Request.HTTP.TLS.KeyFile = "", "" }, event.Unavailable, "certificate required"},
		"of somebody else": {func(c *Config) { c.Request.HTTP.TLS.CertFile, c.Request.HTTP.TLS.KeyFile = wrongCert, wrongKey },
			event.Unavailable, "tls:"},
		"theirs is for another name":   {func(c *Config) { c.Request.HTTP.TLS.ServerName = "other.example" }, event.Invalid, "(see http.tls)"},
		"theirs is of nobody we trust": {func(c *Config) { c.Request.HTTP.TLS.CAFile = ours.file }, event.Invalid, "(see http.tls)"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configured(server.URL, s)
			cfg.Request.HTTP.TLS.CAFile, cfg.Request.HTTP.TLS.ServerName = theirs.file, "events.example"
			cfg.Request.HTTP.TLS.CertFile, cfg.Request.HTTP.TLS.KeyFile = certFile, keyFile
			test.change(&cfg)
			src, err := New(cfg, Options{Format: "http/test"})
			if err != nil {
				t.Fatal(err)
			}
			out := newSink(t)
			err = src.fetch(t.Context(), out.from, out.emit)
			if test.want == "" {
				if out.wantAll(s); err != nil || who != "stackstream.example" {
					t.Errorf("%v; the service was asked by %q", err, who)
				}
				return
			}
			if event.KindOf(err) != test.kind || !strings.Contains(fmt.Sprint(err), test.want) || len(out.marks) > 0 {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}

// A proxy is asked for what it is configured for, whatever the environment says.
func TestProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	s := newService()
	for range 20 {
		s.put(time.Now())
	}
	through := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "events.example" {
			t.Errorf("the proxy was asked for %s", r.URL)
		}
		through++
		s.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	cfg := configured("http://events.example", s)
	cfg.Request.HTTP.Proxy = proxy.URL
	src, err := New(cfg, Options{Format: "http/test"})
	if err != nil {
		t.Fatal(err)
	}
	out := newSink(t)
	if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
		t.Fatal(err)
	}
	if out.wantAll(s); through != 3 {
		t.Errorf("%d pages came through the proxy", through)
	}
}

// Answers are asked for compressed, and bounded by what they are when they are unpacked.
func TestCompression(t *testing.T) {
	s := newService()
	for range 20 {
		s.put(time.Now())
	}
	packed := 0
	src := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Error("it is not asked for gzip")
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer func() { _ = z.Close() }()
		packed++
		s.ServeHTTP(&packing{w, z}, r)
	}), nil)
	out := newSink(t)
	if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
		t.Fatal(err)
	}
	if out.wantAll(s); packed != 3 {
		t.Errorf("%d pages", packed)
	}
}

type packing struct {
	http.ResponseWriter
	to io.Writer
}

func (p *packing) Write(b []byte) (int, error) { return p.to.Write(b) }

// A time limit holds for requests that wait for their turn, too: from then on.
func TestTimeLimitBehindAPace(t *testing.T) {
	src := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(" "))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), func(c *Config) {
		c.RateLimit.Rate, c.RateLimit.Burst = Rate{Requests: 1000, Per: time.Second}, 1
		c.Request.HTTP.Timeout = 50 * time.Millisecond
	})
	err := src.Available(t.Context())
	if !errors.Is(err, event.Unavailable) || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("the error is %v", err)
	}
}
