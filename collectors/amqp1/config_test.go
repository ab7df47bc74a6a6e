package amqp1

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/broker"
)

func good() Config {
	cfg := Default()
	cfg.Hosts, cfg.Addresses, cfg.User, cfg.Password = []string{"router"}, []string{"anycast/ceilometer/event.sample"}, "u", "p"
	return cfg
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"as it is", func(*Config) {}, ""},
		{"anonymous", func(c *Config) { c.SASL, c.User, c.Password = "anonymous", "", "" }, ""},
		{"external", func(c *Config) {
			c.SASL, c.User, c.Password = "external", "", ""
			c.TLS = broker.TLS{Enabled: true, CertFile: "c", KeyFile: "k", MinVersion: "1.3"}
		}, ""},
		{"nothing", func(c *Config) { *c = Default() }, "hosts: is missing: the nodes of the broker, like [rabbit1, rabbit2:5672]\n" +
			"addresses: names none: what to receive from, like /amq/queue/event.sample or anycast/ceilometer/event.sample\n" +
			"user: is missing (or set sasl to external, with a client certificate)\n" +
			"password_file: is missing (or set password)"},
		{"anonymous, and somebody", func(c *Config) { c.SASL = "anonymous" },
			"user: can't be set together with sasl: anonymous, where we do not say who we are\n" +
				"password: can't be set together with sasl: anonymous, where we do not say who we are"},
		{"another way to log in", func(c *Config) { c.SASL = "gssapi" }, `sasl: is "gssapi"; one of plain, external, anonymous is meant`},
		{"bad addresses", func(c *Config) { c.Addresses = []string{"", "a", "a", "amqp://h/a", "a\nb"} },
			"addresses[0]: is empty\naddresses[2]: a is there twice\n" +
				"addresses[3]: is a URL; give what comes behind the host here, and the host in hosts\n" +
				`addresses[4]: "a\nb" has a character that can't be printed in it`},
		{"bad vhost", func(c *Config) { c.VHost = strings.Repeat("v", 256) }, "vhost: is longer than 255 bytes"},
		{"bad times", func(c *Config) { c.Heartbeat, c.ConnectTimeout, c.Probe = 0, time.Hour, time.Millisecond },
			"heartbeat: must be from 1s to 1m0s: without heartbeats a dead connection is never noticed\n" +
				"connect_timeout: must be from 100ms to 1m0s\nprobe: must be from 1s to 10m0s"},
		{"bad sizes", func(c *Config) { c.Prefetch, c.PrefetchBytes, c.MaxMessage, c.Remember = 0, 1, 1, 1 },
			"prefetch: must be from 1 to 65535\nprefetch_bytes: must be from 64KiB to 1GiB\nmax_message: must be from 4KiB to 256MiB\n" +
				"remember: must be from 2, twice the prefetch of all addresses, to 2000000"},
		{"too little remembered", func(c *Config) { c.Addresses, c.Remember = []string{"a", "b", "c"}, 5999 },
			"remember: must be from 6000, twice the prefetch of all addresses, to 2000000"},
		{"TLS that is not used", func(c *Config) { c.TLS.CAFile = "ca" }, "tls.ca_file: is set, and TLS is not used: set tls.enabled"},
		{"a bad filter", func(c *Config) { c.EventTypes.Include = []string{""} },
			`event_types.include[0]: "": the pattern is empty`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := good()
			tc.change(&cfg)
			var got []string
			for _, p := range cfg.Validate() {
				got = append(got, p.String())
			}
			if text := strings.Join(got, "\n"); text != tc.want {
				t.Errorf("got\n%s\nwant\n%s", text, tc.want)
			}
		})
	}
}

// What can't be read is said with its setting, and no secret is in what can be printed.
func TestSecrets(t *testing.T) {
	cfg := good()
	cfg.Password, cfg.PasswordFile = "", filepath.Join(t.TempDir(), "missing")
	if _, err := New(cfg, Options{}); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "password_file") {
		t.Errorf("%v", err)
	}
	cfg.PasswordFile = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(cfg.PasswordFile, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, Options{})
	if err != nil || s.dialer.password != "hush" {
		t.Fatalf("%v", err)
	}
	cfg.Password, cfg.PasswordFile = "hush", ""
	if text := fmt.Sprintf("%v %+v", cfg, cfg); strings.Contains(text, "hush") {
		t.Errorf("it prints as %s", text)
	}
}

func FuzzReadState(f *testing.F) {
	for _, s := range []string{`{"rejected":{"too-large":3}}`, `{}`, `null`, `{"rejected":{"":-1}}`, `{"format":2}`, `"x"`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, cursor []byte) {
		st, err := readState(cursor)
		if err != nil {
			if event.KindOf(err) != event.Invalid {
				t.Fatal(err)
			}
			return
		}
		written := st.cursor()
		if again, err := readState(written); err != nil || string(again.cursor()) != string(written) {
			t.Fatalf("%s comes back as %+v, %v", written, again, err)
		}
	})
}

// A queue is no log: there is nothing to go back to, and who asks is told so.
func TestManual(t *testing.T) {
	m := manual()
	if _, _, err := m.Rewind(nil, time.Time{}, time.Time{}); event.KindOf(err) != event.Invalid {
		t.Errorf("%v", err)
	}
	if c, err := m.Set(nil, `{"rejected": {"too-large": 2}}`, time.Time{}); err != nil || string(c) != `{"rejected":{"too-large":2}}` {
		t.Errorf("%s, %v", c, err)
	}
	if _, err := m.Set(nil, `{"keys": ["a"]}`, time.Time{}); event.KindOf(err) != event.Invalid {
		t.Errorf("%v", err)
	}
	if m.Meanwhile() == "" {
		t.Error("nothing is said of what becomes of events meanwhile")
	}
}
