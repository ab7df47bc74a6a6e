package jetstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stackstream/event"
)

// Config says how to reach a NATS cluster. At most one way to prove who we are may be set. Files are read again at
// every reconnection, so that they may be replaced while the process runs.
type Config struct {
	// URLs are the addresses of the servers, like nats://host:4222; one that answers is enough, the others of its cluster are learnt
	// from it.
	URLs []string `yaml:"url"`
	// Name of the connection, as the server's operators see it.
	Name string `yaml:"name"`

	// CredentialsFile is a file with a user JWT and its seed, as nsc writes them.
	CredentialsFile string `yaml:"credentials_file"`
	// NKeyFile is a file with the seed of a user nkey.
	NKeyFile string `yaml:"nkey_file"`
	// User is who we are to servers that know users and passwords.
	User string `yaml:"user"`
	// Password of User; better in PasswordFile.
	Password event.Secret `yaml:"password"`
	// PasswordFile is a file with the password of User.
	PasswordFile string `yaml:"password_file"`
	// TokenFile is a file with a token, for servers that know nothing else.
	TokenFile string `yaml:"token_file"`

	TLS TLSConfig `yaml:"tls"`

	// Embedded, if set, is the server to talk to, in process (package embedded); URLs and all that follows must be empty then.
	Embedded nats.InProcessConnProvider `yaml:"-"`
}

// TLSConfig says how to speak TLS, 1.2 at least. A server that asks for TLS gets it without any of this.
type TLSConfig struct {
	// CAFile is a file with the certificates to trust in place of the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile is a file with our certificate, where the server asks for one; with KeyFile.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the file with the key of CertFile.
	KeyFile string `yaml:"key_file"`
	// ServerName is what to expect in the server's certificate in place of the URL's host.
	ServerName string `yaml:"server_name"`
}

// Problem is a mistake in a configuration. Field is the setting, as in the YAML file, with dots between levels.
type Problem struct {
	Field, Msg string
}

func (p Problem) String() string { return p.Field + ": " + p.Msg }

// Validate returns every mistake that shows without reading a file or asking a server.
func (c Config) Validate() []Problem {
	var found []Problem
	add := func(field, format string, args ...any) {
		found = append(found, Problem{Field: field, Msg: fmt.Sprintf(format, args...)})
	}
	if c.Embedded != nil {
		if len(c.URLs) > 0 {
			add("url", "the embedded server is used in process: no URL may be set")
		}
		return found
	}
	if len(c.URLs) == 0 {
		add("url", "is missing: name at least one server, like nats://host:4222")
	}
	for i, raw := range c.URLs {
		if msg := checkURL(raw); msg != "" {
			add(fmt.Sprintf("url[%d]", i), "%s", msg)
		}
	}
	var ways []string
	for _, way := range []struct {
		field string
		set   bool
	}{
		{"credentials_file", c.CredentialsFile != ""},
		{"nkey_file", c.NKeyFile != ""},
		{"user", c.User != ""},
		{"token_file", c.TokenFile != ""},
	} {
		if way.set {
			ways = append(ways, way.field)
		}
	}
	if len(ways) > 1 {
		add(ways[1], "can't be set together with %s: one of them says who we are", ways[0])
	}
	switch {
	case c.Password != "" && c.PasswordFile != "":
		add("password_file", "can't be set together with password")
	case c.User == "" && c.Password != "":
		add("user", "is missing: a password is set")
	case c.User == "" && c.PasswordFile != "":
		add("user", "is missing: password_file is set")
	case c.User != "" && c.Password == "" && c.PasswordFile == "":
		add("password_file", "is missing: a user is set (or set password)")
	}
	if c.TLS.CertFile != "" && c.TLS.KeyFile == "" {
		add("tls.key_file", "is missing: tls.cert_file is set")
	}
	if c.TLS.KeyFile != "" && c.TLS.CertFile == "" {
		add("tls.cert_file", "is missing: tls.key_file is set")
	}
	return found
}

// checkURL says what is wrong with the URL of a server, "" if nothing is. It never repeats the user part.
func checkURL(raw string) string {
	text := raw
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "is not a URL like nats://host:4222"
	case u.User != nil:
		return "must not have a user or password in it: use user and password_file"
	case u.Hostname() == "":
		return "has no host"
	case strings.Trim(u.Path, "/") != "" && (u.Scheme == "nats" || u.Scheme == "tls"):
		return fmt.Sprintf("has a path %q; a NATS server has none", u.Path)
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return ""
	default:
		return fmt.Sprintf("has the scheme %q; nats, tls, ws or wss is meant", u.Scheme)
	}
}

// credentials returns the options that say who we are. It reads the files once, so that a missing one is told at once.
func (c Config) credentials() ([]nats.Option, error) {
	switch {
	case c.CredentialsFile != "":
		if _, err := readSecret("credentials_file", c.CredentialsFile); err != nil {
			return nil, err
		}
		return []nats.Option{nats.UserCredentials(c.CredentialsFile)}, nil
	case c.NKeyFile != "":
		return nkeyOption(c.NKeyFile)
	case c.TokenFile != "":
		token, err := readSecret("token_file", c.TokenFile)
		if err != nil {
			return nil, err
		}
		return []nats.Option{nats.TokenHandler(func() string { return rereadSecret(c.TokenFile, token) })}, nil
	case c.User != "" && c.PasswordFile != "":
		password, err := readSecret("password_file", c.PasswordFile)
		if err != nil {
			return nil, err
		}
		return []nats.Option{nats.UserInfoHandler(func() (string, string) {
			return c.User, rereadSecret(c.PasswordFile, password)
		})}, nil
	case c.User != "":
		return []nats.Option{nats.UserInfo(c.User, string(c.Password))}, nil
	default:
		return nil, nil
	}
}

// nkeyOption signs the server's challenge with the seed in the file. The public key can't change later: it is who we
// are.
func nkeyOption(file string) ([]nats.Option, error) {
	pair, err := readNKey(file)
	if err != nil {
		return nil, err
	}
	defer pair.Wipe()
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("nkey_file %s: %w", file, err)
	}
	if !nkeys.IsValidPublicUserKey(public) {
		return nil, fmt.Errorf("nkey_file %s: is not the seed of a user (they begin with SU)", file)
	}
	return []nats.Option{nats.Nkey(public, func(nonce []byte) ([]byte, error) {
		pair, err := readNKey(file)
		if err != nil {
			return nil, err
		}
		defer pair.Wipe()
		return pair.Sign(nonce)
	})}, nil
}

func readNKey(file string) (nkeys.KeyPair, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("nkey_file: %w", err)
	}
	pair, err := nkeys.ParseDecoratedNKey(data)
	if err != nil {
		return nil, fmt.Errorf("nkey_file %s: %w", file, err)
	}
	return pair, nil
}

// readSecret reads a file that holds nothing but a secret; white space around it is not part of it.
func readSecret(field, file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", field, err)
	}
	secret := strings.TrimSpace(string(data))
	if secret == "" {
		return "", fmt.Errorf("%s: %s is empty", field, file)
	}
	return secret, nil
}

// rereadSecret returns what the file holds now, or last if it can't be read: the server will say what it thinks of it.
func rereadSecret(file, last string) string {
	if secret, err := readSecret("", file); err == nil {
		return secret
	}
	return last
}

// options returns what makes the connection speak TLS; none if nothing is set. It reads the files once, so that a wrong
// one is told at once.
func (t TLSConfig) options() ([]nats.Option, error) {
	if t == (TLSConfig{}) {
		return nil, nil
	}
	options := []nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName})}
	var certificate nats.TLSCertHandler
	if t.CertFile != "" {
		certificate = func() (tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return pair, fmt.Errorf("tls.cert_file and tls.key_file: %w", err)
			}
			return pair, nil
		}
	}
	var roots nats.RootCAsHandler
	if t.CAFile != "" {
		roots = func() (*x509.CertPool, error) {
			pem, err := os.ReadFile(t.CAFile)
			if err != nil {
				return nil, fmt.Errorf("tls.ca_file: %w", err)
			}
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(pem) {
				return nil, errors.New("tls.ca_file: " + t.CAFile + " has no certificate in PEM form")
			}
			return pool, nil
		}
	}
	if certificate != nil {
		if _, err := certificate(); err != nil {
			return nil, err
		}
	}
	if roots != nil {
		if _, err := roots(); err != nil {
			return nil, err
		}
	}
	if certificate != nil || roots != nil {
		options = append(options, nats.ClientTLSConfig(certificate, roots))
	}
	return options, nil
}
