package jetstream_test

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
	"path/filepath"
	"testing"
	"time"

	"stackstream/jetstream"

	"github.com/nats-io/nats-server/v2/server"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = a.sign(template, template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = writeFile(t, toPEM("CERTIFICATE", der))
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

// issue returns files with a certificate for the name and its key.
func (a *authority) issue(name string, ips ...net.IP) (certFile, keyFile string) {
	a.t.Helper()
	key, der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return writeFile(a.t, toPEM("CERTIFICATE", der)), writeFile(a.t, toPEM("PRIVATE KEY", keyDER))
}

func toPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// serverTLS makes the server speak TLS, and ask for certificates of clients if clients is set.
func serverTLS(t *testing.T, certFile, keyFile string, clients *authority) func(*server.Options) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *server.Options) {
		o.TLSTimeout = 10
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
		if clients != nil {
			o.TLSConfig.ClientCAs = x509.NewCertPool()
			o.TLSConfig.ClientCAs.AddCert(clients.cert)
			o.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
}

func TestConnectWithTLS(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	certFile, keyFile := ours.issue("nats.example", net.IPv4(127, 0, 0, 1))
	s := startServer(t, serverTLS(t, certFile, keyFile, nil))
	cfg := jetstream.Config{URLs: []string{s.ClientURL()}, TLS: jetstream.TLSConfig{CAFile: ours.file}}
	wantConnected(t, cfg)
	cfg.TLS.ServerName = "nats.example"
	wantConnected(t, cfg)

	cfg.TLS.ServerName = "else.example"
	wantRefused(t, cfg, "certificate is valid for nats.example, not else.example")
	cfg.TLS = jetstream.TLSConfig{CAFile: other.file}
	wantRefused(t, cfg, "certificate signed by unknown authority")
	cfg.TLS = jetstream.TLSConfig{}
	wantRefused(t, cfg, "certificate signed by unknown authority")
	cfg.TLS = jetstream.TLSConfig{CAFile: keyFile}
	wantRefused(t, cfg, "tls.ca_file", "has no certificate")
	cfg.TLS = jetstream.TLSConfig{CAFile: filepath.Join(t.TempDir(), "none")}
	wantRefused(t, cfg, "tls.ca_file", "no such file")

	plain := startServer(t, nil)
	wantRefused(t, jetstream.Config{URLs: []string{plain.ClientURL()}, TLS: jetstream.TLSConfig{CAFile: ours.file}}, "secure connection not available")
}

func TestConnectWithClientCertificate(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	certFile, keyFile := ours.issue("nats.example", net.IPv4(127, 0, 0, 1))
	s := startServer(t, serverTLS(t, certFile, keyFile, ours))
	cfg := jetstream.Config{URLs: []string{s.ClientURL()}, TLS: jetstream.TLSConfig{CAFile: ours.file}}
	wantRefused(t, cfg, "certificate")

	cfg.TLS.CertFile, cfg.TLS.KeyFile = ours.issue("collector")
	wantConnected(t, cfg)
	cfg.TLS.CertFile, cfg.TLS.KeyFile = other.issue("collector")
	wantRefused(t, cfg, "certificate")
	cfg.TLS.KeyFile = keyFile
	wantRefused(t, cfg, "tls.cert_file and tls.key_file", "private key does not match")
}
