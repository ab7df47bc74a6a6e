package amqp

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// dialTo makes a dialer for hosts with the rest of cfg.
func dialTo(t *testing.T, cfg Config, hosts ...string) *dialer {
	t.Helper()
	cfg.Hosts = hosts
	d, err := newDialer(cfg, "stackstream cloud/amqp (host1)", "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func guest(vhost string) Config {
	cfg := Default()
	cfg.VHost, cfg.User, cfg.Password = vhost, "guest", "guest"
	return cfg
}

// wantError checks the kind of an error and that it says all of the texts, and never a password.
func wantError(t *testing.T, err error, kind event.Kind, texts ...string) {
	t.Helper()
	if event.KindOf(err) != kind {
		t.Errorf("the kind is %v, want %v: %v", event.KindOf(err), kind, err)
	}
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in the error: %v", text, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password is in the error: %v", err)
	}
}

// must fails the test for an error, and closes the connection with it.
func must(t *testing.T, conn *amqp091.Connection, err error) *amqp091.Connection {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // which may have ended
	return conn
}

func TestDial(t *testing.T) {
	broker := rabbitmqtest.Shared(t)
	cfg := guest(broker.VHost(t))
	cfg.Heartbeat = 7 * time.Second

	t.Run("says who we are", func(t *testing.T) {
		d := dialTo(t, cfg, broker.Addr())
		conn, host, err := d.dial(t.Context(), "probe")
		must(t, conn, err)
		if host != broker.Addr() || conn.Config.Heartbeat != 7*time.Second || conn.Config.Vhost != cfg.VHost {
			t.Errorf("host %s, heartbeat %s, vhost %s", host, conn.Config.Heartbeat, conn.Config.Vhost)
		}
		second, err := d.dialHost(t.Context(), host, "")
		must(t, second, err)
		list := broker.Ctl(t, "list_connections", "vhost", "client_properties")
		for _, want := range []string{
			`{"connection_name","stackstream cloud/amqp (host1) probe"}`, `{"connection_name","stackstream cloud/amqp (host1)"}`,
			`{"product","stackstream"}`, `{"version","1.2.3"}`, `{"connection.blocked",true}`, `{"consumer_cancel_notify",true}`,
		} {
			if !strings.Contains(list, want) {
				t.Errorf("the broker's list of connections does not have %s:\n%s", want, list)
			}
		}
		if _, err := conn.Channel(); err != nil {
			t.Errorf("open a channel: %v", err)
		}
	})

	t.Run("with a password from a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "password")
		user, password := broker.User(t, cfg.VHost, "", "", "")
		if err := os.WriteFile(file, []byte(password+"\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := cfg
		cfg.User, cfg.Password, cfg.PasswordFile = user, "", file
		conn, _, err := dialTo(t, cfg, broker.Addr()).dial(t.Context(), "")
		must(t, conn, err)
	})

	t.Run("goes on to a host that answers", func(t *testing.T) {
		dead := deadAddress(t)
		conn, host, err := dialTo(t, cfg, dead, broker.Addr(), dead).dial(t.Context(), "")
		must(t, conn, err)
		if host != broker.Addr() {
			t.Errorf("connected to %s", host)
		}
	})

	t.Run("in random order", func(t *testing.T) {
		_, port, _ := net.SplitHostPort(broker.Addr())
		d := dialTo(t, cfg, broker.Addr(), "localhost:"+port)
		first := map[string]bool{}
		for range 64 {
			conn, host, err := d.dial(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			if first[host] = true; len(first) == 2 {
				return
			}
		}
		t.Errorf("64 times the first was %v", first)
	})
}

func TestDialRefused(t *testing.T) {
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	user, password := broker.User(t, vhost, "", "", "")
	full := "full-of-connections"
	broker.Ctl(t, "add_vhost", full)
	defer broker.Ctl(t, "delete_vhost", full)
	broker.Ctl(t, "set_permissions", "-p", full, user, "", "", "")
	broker.Ctl(t, "set_vhost_limits", "-p", full, `{"max-connections": 0}`)
	for _, tc := range []struct {
		name   string
		change func(*Config)
		kind   event.Kind
		want   []string
	}{
		{"wrong password", func(c *Config) { c.Password = "hunter2" }, event.Invalid,
			[]string{"connect to " + broker.Addr(), "refuses the login (see user and password_file)", "ACCESS_REFUSED"}},
		{"unknown user", func(c *Config) { c.User = "nobody" }, event.Invalid, []string{"refuses the login (see user and password_file)"}},
		{"no such vhost", func(c *Config) { c.VHost = "nowhere" }, event.Invalid,
			[]string{"no such virtual host (see vhost)", "vhost nowhere not found"}},
		{"no rights in the vhost", func(c *Config) { c.VHost = "/" }, event.Invalid,
			[]string{"no rights in the virtual host (see vhost and user)", user}},
		{"too many connections", func(c *Config) { c.VHost = full }, event.Unavailable,
			[]string{"takes no more connections", "limit (0)"}},
		{"TLS where there is none", func(c *Config) { c.TLS.Enabled = true }, event.Invalid,
			[]string{"speaks without TLS on this port (see hosts and tls.enabled)"}},
		{"a mechanism that is not offered", func(c *Config) { c.SASL = "external" }, event.Invalid,
			[]string{"does not offer a login by client certificate (see sasl)", "rabbitmq_auth_mechanism_ssl"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := guest(vhost)
			cfg.User, cfg.Password = user, event.Secret(password)
			tc.change(&cfg)
			_, _, err := dialTo(t, cfg, broker.Addr()).dial(t.Context(), "")
			wantError(t, err, tc.kind, tc.want...)
		})
	}

	t.Run("by all hosts, each with its reason", func(t *testing.T) {
		dead := deadAddress(t)
		cfg := guest(vhost)
		cfg.Password = "hunter2"
		_, _, err := dialTo(t, cfg, dead, broker.Addr(), "[::1]:1").dial(t.Context(), "")
		wantError(t, err, event.Unavailable, "connect: unavailable: "+dead+", [::1]:1: nothing listens there",
			"connection refused; "+broker.Addr()+": the broker refuses the login")
		if strings.Count(err.Error(), "nothing listens") != 1 {
			t.Errorf("a reason is there more than once: %v", err)
		}
		_, port, _ := net.SplitHostPort(broker.Addr())
		_, _, err = dialTo(t, cfg, broker.Addr(), "localhost:"+port).dial(t.Context(), "")
		wantError(t, err, event.Invalid, broker.Addr()+", localhost:"+port+": the broker refuses the login")
	})

	t.Run("by a name that is none", func(t *testing.T) {
		_, _, err := dialTo(t, guest(vhost), "nowhere.invalid").dial(t.Context(), "")
		wantError(t, err, event.Unavailable, "connect to nowhere.invalid:5672", "(see hosts)")
	})
}

func TestDialTLS(t *testing.T) {
	ca := rabbitmqtest.NewCA(t)
	broker := rabbitmqtest.Start(t, rabbitmqtest.TLS(ca))
	vhost := broker.VHost(t)
	broker.UserNamed(t, "collector", vhost, "", "", "")
	client, stranger := ca.Issue(t, "collector"), rabbitmqtest.NewCA(t).Issue(t, "collector")
	with := func(c *Config, cert *rabbitmqtest.Certificate) {
		c.TLS.CertFile, c.TLS.KeyFile = cert.CertFile, cert.KeyFile
	}
	good := guest(vhost)
	good.TLS = tlsSettings{Enabled: true, CAFile: ca.File, MinVersion: "1.2"}
	with(&good, client)
	_, port, _ := net.SplitHostPort(broker.TLSAddr())

	for _, tc := range []struct {
		name   string
		change func(*Config)
		kind   event.Kind // 0: it connects
		want   []string
	}{
		{"TLS 1.2", func(*Config) {}, 0, nil},
		{"TLS 1.3", func(c *Config) { c.TLS.MinVersion = "1.3" }, 0, nil},
		{"the name in the certificate", func(c *Config) { c.TLS.ServerName = "localhost" }, 0, nil},
		{"another name", func(c *Config) { c.TLS.ServerName = "rabbit.example" }, event.Invalid,
			[]string{"certificate is for another name (see tls.server_name)", "localhost", "rabbit.example"}},
		{"an authority that is not trusted", func(c *Config) { c.TLS.CAFile = rabbitmqtest.NewCA(t).File }, event.Invalid,
			[]string{"signed by nobody we trust (see tls.ca_file)"}},
		{"without TLS", func(c *Config) { c.TLS.Enabled = false }, event.Invalid,
			[]string{"speaks TLS on this port (see hosts and tls.enabled)"}},
		{"wrong password", func(c *Config) { c.Password = "hunter2" }, event.Invalid, []string{"see user and password_file"}},
		{"external", func(c *Config) { c.SASL, c.User, c.Password = "external", "", "" }, 0, nil},
		{"external, unknown to the broker", func(c *Config) {
			c.SASL, c.User, c.Password = "external", "", ""
			with(c, ca.Issue(t, "nobody"))
		}, event.Invalid, []string{"does not know the user that the client certificate names (see tls.cert_file)"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			conn, _, err := dialTo(t, cfg, "localhost:"+port).dial(t.Context(), "")
			if tc.kind == 0 {
				must(t, conn, err)
				return
			}
			wantError(t, err, tc.kind, tc.want...)
		})
	}

	// In TLS 1.3 the broker looks at our certificate after the handshake, and what it says may be lost.
	t.Run("client certificates", func(t *testing.T) {
		for _, change := range []func(*Config){
			func(c *Config) { c.TLS.CertFile, c.TLS.KeyFile = "", "" },
			func(c *Config) { with(c, stranger) },
		} {
			cfg := good
			change(&cfg)
			d := dialTo(t, cfg, broker.TLSAddr())
			_, _, err := d.dial(t.Context(), "")
			wantError(t, err, event.KindOf(err), "client certificate", "(see tls.cert_file")
			d.tls.MaxVersion = tls.VersionTLS12
			_, _, err = d.dial(t.Context(), "")
			wantError(t, err, event.Invalid, "client certificate", "(see tls.cert_file")
		}
	})

	t.Run("a certificate that has expired", func(t *testing.T) {
		d := dialTo(t, good, broker.TLSAddr())
		d.tls.Time = func() time.Time { return time.Now().Add(10 * 365 * 24 * time.Hour) }
		_, _, err := d.dial(t.Context(), "")
		wantError(t, err, event.Invalid, "the broker's certificate does not hold", "expired")
	})

	t.Run("the host is the name", func(t *testing.T) {
		conn, _, err := dialTo(t, good, broker.TLSAddr()).dial(t.Context(), "")
		must(t, conn, err)
		if list := broker.Ctl(t, "list_connections", "user", "ssl"); !strings.Contains(list, "guest\ttrue") {
			t.Errorf("the broker has the connections %q", list)
		}
	})
}

func TestNewDialerReadsFiles(t *testing.T) {
	dir := t.TempDir()
	empty, absent := filepath.Join(dir, "empty"), filepath.Join(dir, "absent")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert := rabbitmqtest.NewCA(t).Issue(t, "client")
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"no password file", func(c *Config) { c.PasswordFile = absent }, []string{"read password_file", absent}},
		{"empty password file", func(c *Config) { c.PasswordFile = empty }, []string{"read password_file", empty + " is empty"}},
		{"no CA file", func(c *Config) { c.TLS.CAFile = absent }, []string{"read tls.ca_file", absent}},
		{"CA file of another sort", func(c *Config) { c.TLS.CAFile = empty },
			[]string{"read tls.ca_file", empty + " has no certificate in PEM form"}},
		{"no certificate", func(c *Config) { c.TLS.CertFile, c.TLS.KeyFile = absent, cert.KeyFile },
			[]string{"read tls.cert_file and tls.key_file", absent}},
		{"another's key", func(c *Config) {
			c.TLS.CertFile, c.TLS.KeyFile = cert.CertFile, rabbitmqtest.NewCA(t).Issue(t, "other").KeyFile
		}, []string{"read tls.cert_file and tls.key_file", "private key does not match"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := guest("/")
			cfg.TLS.Enabled = true
			tc.change(&cfg)
			_, err := newDialer(cfg, "", "")
			wantError(t, err, event.Invalid, tc.want...)
		})
	}
}

// deadAddress is one where nothing listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
