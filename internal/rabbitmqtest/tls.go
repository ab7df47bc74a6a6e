package rabbitmqtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is a certificate authority for one test.
type CA struct {
	File string // its certificate, PEM

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// Certificate is a certificate with its key, as files and for crypto/tls.
type Certificate struct {
	CertFile, KeyFile string
	TLS               tls.Certificate
}

// NewCA makes a certificate authority. Its files are in a temporary directory of the test.
func NewCA(tb testing.TB) *CA {
	tb.Helper()
	ca, err := newCA(tb.TempDir())
	if err != nil {
		tb.Fatalf("make a certificate authority: %v", err)
	}
	return ca
}

func newCA(dir string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := template("test authority")
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	ca := &CA{File: filepath.Join(dir, "ca.pem"), dir: dir, key: key, pool: x509.NewCertPool()}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	ca.pool.AddCert(ca.cert)
	return ca, writePEM(ca.File, "CERTIFICATE", der)
}

// Issue makes a certificate: for a client whose name is commonName, and for a server at hosts, names or addresses.
func (ca *CA) Issue(tb testing.TB, commonName string, hosts ...string) *Certificate {
	tb.Helper()
	dir, err := os.MkdirTemp(ca.dir, "")
	if err != nil {
		tb.Fatalf("make a directory for a certificate: %v", err)
	}
	c, err := ca.issue(dir, commonName, hosts...)
	if err != nil {
		tb.Fatalf("issue a certificate: %v", err)
	}
	return c
}

func (ca *CA) issue(dir, commonName string, hosts ...string) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := template(commonName)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	c := &Certificate{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	if err := errors.Join(writePEM(c.CertFile, "CERTIFICATE", der), writePEM(c.KeyFile, "PRIVATE KEY", private)); err != nil {
		return nil, err
	}
	c.TLS, err = tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	return c, err
}

// Config is what a client needs that trusts ca and shows the certificate, nil for none.
func (ca *CA) Config(client *Certificate) *tls.Config {
	cfg := &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12}
	if client != nil {
		cfg.Certificates = []tls.Certificate{client.TLS}
	}
	return cfg
}

// listen issues a certificate for a broker into dir, and returns what makes the broker listen with it.
func (ca *CA) listen(dir, addr string) ([]string, error) {
	c, err := ca.issue(dir, "localhost", "localhost", "127.0.0.1")
	if err != nil {
		return nil, fmt.Errorf("issue the broker's certificate: %w", err)
	}
	return []string{
		"listeners.ssl.1 = " + addr,
		"num_acceptors.ssl = 2",
		"ssl_options.cacertfile = " + ca.File,
		"ssl_options.certfile = " + c.CertFile,
		"ssl_options.keyfile = " + c.KeyFile,
		"ssl_options.verify = verify_peer",
		"ssl_options.fail_if_no_peer_cert = true",
		"ssl_cert_login_from = common_name",
		"auth_mechanisms.1 = EXTERNAL",
		"auth_mechanisms.2 = PLAIN",
		"auth_mechanisms.3 = AMQPLAIN",
	}, nil
}

func template(commonName string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // it never fails
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
