package broker

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"stackstream/event"
)

const tls13 = "1.3"

// TLS says how to speak TLS with a broker. There is no way to skip the check of the broker's certificate.
type TLS struct {
	// Enabled says that the broker is spoken to over TLS.
	Enabled bool `yaml:"enabled"`
	// CAFile is a file with the certificates to trust in place of the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile is a file with our certificate, with KeyFile.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the file with the key of CertFile.
	KeyFile string `yaml:"key_file"`
	// ServerName is what to expect in the broker's certificate in place of the host.
	ServerName string `yaml:"server_name"`
	// MinVersion is the lowest version that is spoken.
	MinVersion string `yaml:"min_version" words:"1.2,1.3"`
}

// Config reads the files that the settings name.
func (t TLS) Config() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.MinVersion == tls13 {
		conf.MinVersion = tls.VersionTLS13
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, invalid("read tls.ca_file", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("read tls.ca_file", fmt.Errorf("%s has no certificate in PEM form", t.CAFile))
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, invalid("read tls.cert_file and tls.key_file", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// Problems calls each for every mistake that shows without reading a file, with the setting that it is in.
func (t TLS) Problems(each func(field, message string)) {
	if !t.Enabled {
		for _, s := range []struct{ field, value string }{
			{"ca_file", t.CAFile}, {"cert_file", t.CertFile}, {"key_file", t.KeyFile}, {"server_name", t.ServerName},
		} {
			if s.value != "" {
				each(s.field, "is set, and TLS is not used: set tls.enabled")
			}
		}
	}
	if t.CertFile != "" && t.KeyFile == "" {
		each("key_file", "is missing: tls.cert_file is set")
	}
	if t.KeyFile != "" && t.CertFile == "" {
		each("cert_file", "is missing: tls.key_file is set")
	}
}

func invalid(op string, err error) error { return &event.Error{Kind: event.Invalid, Op: op, Err: err} }
