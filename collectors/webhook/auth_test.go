package webhook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokensAndPasswords(t *testing.T) {
	bearer := func(c *Config) { c.Auth.Bearer = &Bearer{TokenFile: write(t, "new\nold\n")} }
	header := func(c *Config) { c.Auth.Bearer = &Bearer{Token: "tok", Header: "X-Gitlab-Token"} }
	basic := func(c *Config) { c.Auth.Basic = &Basic{User: "agent", PasswordFile: write(t, "pass word")} }
	both := func(c *Config) { header(c); basic(c) }
	user := func(name, password string) string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(name, password)
		return r.Header.Get("Authorization")
	}
	for _, test := range []struct {
		change func(*Config)
		header []string
		want   int
	}{
		{bearer, nil, 401},
		{bearer, []string{"Authorization", "Bearer new"}, 200},
		{bearer, []string{"Authorization", "bearer old"}, 200},
		{bearer, []string{"Authorization", "Bearer new\told"}, 401},
		{bearer, []string{"Authorization", "Bearer "}, 401},
		{bearer, []string{"Authorization", user("agent", "new")}, 401},
		{header, []string{"X-Gitlab-Token", "tok"}, 200},
		{header, []string{"X-Gitlab-Token", "tok1"}, 401},
		{header, []string{"Authorization", "Bearer tok"}, 401},
		{basic, []string{"Authorization", user("agent", "pass word")}, 200},
		{basic, []string{"Authorization", user("agent", "")}, 401},
		{basic, []string{"Authorization", user("root", "pass word")}, 401},
		{both, []string{"Authorization", user("agent", "pass word")}, 401},
		{both, []string{"Authorization", user("agent", "pass word"), "X-Gitlab-Token", "tok"}, 200},
	} {
		r := newRig(t, formatCeilometer, test.change)
		if got := r.post(t, ceilometerBody("a"), test.header...); got.status != test.want {
			t.Errorf("%v: %v, want %d", test.header, got, test.want)
		}
		if stored := len(r.log.IDs(cloud)); stored > 0 != (test.want == 200) {
			t.Errorf("%v: %d events are stored", test.header, stored)
		}
	}
}

// A secret shows in no error, whatever is wrong with the file that has it.
func TestSecretsThatCannotBeRead(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"auth.bearer.token_file":   func(c *Config) { c.Auth.Bearer = &Bearer{TokenFile: "/nowhere/at/all"} },
		"auth.basic.password_file": func(c *Config) { c.Auth.Basic = &Basic{User: "u", PasswordFile: write(t, "\n")} },
		"auth.hmac.secret_file": func(c *Config) {
			c.Auth.HMAC = &HMAC{Scheme: "standard-webhooks", SecretFile: write(t, "whsec_hunter2!")}
		},
		"tls.cert_file": func(c *Config) { c.TLS.CertFile, c.TLS.KeyFile = write(t, "x"), write(t, "hunter2") },
	} {
		s := &Source{cfg: config(formatCeilometer, change)}
		s.front = newFront(s.cfg, options(nil))
		err := s.Available(t.Context())
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// certificate makes one for a name, by an issuer or by itself, and returns it with the files that have it and its key.
func certificate(t *testing.T, name string, by *tls.Certificate) (own tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: by == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	issuer, issuerKey := of, any(key)
	if by != nil {
		issuer, issuerKey = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, of, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})
	if own, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return own, write(t, string(certPEM)), write(t, string(keyPEM))
}

func TestCertificates(t *testing.T) {
	ca, caFile, _ := certificate(t, "our own", nil)
	_, certFile, keyFile := certificate(t, "webhook", &ca)
	agent, _, _ := certificate(t, "agent", &ca)
	other, _, _ := certificate(t, "other", &ca)
	foreignCA, _, _ := certificate(t, "foreign", nil)
	foreign, _, _ := certificate(t, "agent", &foreignCA)
	r := newRig(t, formatCeilometer, func(c *Config) {
		c.TLS = TLS{CertFile: certFile, KeyFile: keyFile, ClientCAFile: caFile, ClientNames: []string{"agent"}, MinVersion: "1.3"}
	})
	trusted := x509.NewCertPool()
	trusted.AddCert(ca.Leaf)
	for name, test := range map[string]struct {
		with []tls.Certificate
		want int // 0: no connection
	}{
		"agent": {[]tls.Certificate{agent}, 200}, "other": {[]tls.Certificate{other}, 403},
		"foreign": {[]tls.Certificate{foreign}, 0}, "none": {nil, 0},
	} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, Certificates: test.with, MinVersion: tls.VersionTLS12}}
		got, err := postTo(t.Context(), &http.Client{Transport: transport}, r.url, ceilometerBody("a"))
		transport.CloseIdleConnections()
		if got.status != test.want || (err == nil) != (test.want != 0) {
			t.Errorf("%s: %v (%v), want %d", name, got, err, test.want)
		}
	}
}
