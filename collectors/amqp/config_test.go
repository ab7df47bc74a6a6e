package amqp

import (
	"strings"
	"testing"
	"time"
)

// goodConfig passes Validate.
func goodConfig() Config {
	cfg := Default()
	cfg.Hosts, cfg.User, cfg.PasswordFile = []string{"rabbit1", "rabbit2:5673", "[2001:db8::1]:5672"}, "stackstream", "/run/secret"
	return cfg
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string // one line per problem
	}{
		{"good", func(*Config) {}, ""},
		{"nothing", func(c *Config) { *c = Config{} }, "" +
			"sasl: is missing: one of plain, external\n" +
			"tls.min_version: is missing: one of 1.2, 1.3\n" +
			"create_exchanges: is missing: one of never, durable, transient\n" +
			"queue.type: is missing: one of classic, quorum\n" +
			"hosts: is missing: the nodes of the broker, like [rabbit1, rabbit2:5672]\n" +
			"vhost: is empty: the virtual host that the services use; a broker's own is \"/\"\n" +
			"heartbeat: must be from 1s to 1m0s: without heartbeats a dead connection is never noticed\n" +
			"connect_timeout: must be from 100ms to 1m0s\n" +
			"exchanges: names none: those that the services notify on, like [nova, cinder, openstack]\n" +
			"topics: names none: usually notifications, and for nova's other format versioned_notifications\n" +
			"priorities: names none: some of audit, debug, info, warn, error, critical, sample\n" +
			"queue.prefix: is \"\"; 1 to 64 characters of a-z, 0-9, _, . and - are meant\n" +
			"prefetch: must be from 1 to 65535\n" +
			"prefetch_bytes: must be from 64KiB to 1GiB\n" +
			"remember: must be from 2, twice the prefetch, to 2000000\n" +
			"probe: must be from 1s to 10m0s"},

		{"good hosts", func(c *Config) {
			c.Hosts = []string{"a", "a:1", "a.b:65535", "10.0.0.1", "[::1]", "[fe80::1%eth0]:5672"}
		}, ""},
		{"bad hosts", func(c *Config) {
			c.Hosts = []string{
				"", "amqp://u:hunter2@h/v", "u:hunter2@h", "h/v", "a,b", "a b", "2001:db8::1", "[a]", "[zz::1]:5", "h:", ":5672", "h:0",
				"h:65536", "h:amqp", "[::1", "]", "a:b:1",
			}
		}, "" +
			"hosts[0]: is empty\n" +
			"hosts[1]: is a URL; give host or host:port here, and the rest in user, password_file, vhost and tls\n" +
			"hosts[2]: must not have a user or password in it: use user and password_file\n" +
			"hosts[3]: must not have a path in it: the virtual host is the setting vhost\n" +
			"hosts[4]: has a comma in it: make it a list with one host each\n" +
			"hosts[5]: \"a b\" is not a host\n" +
			"hosts[6]: \"2001:db8::1\" is an IPv6 address, which stands in brackets: [2001:db8::1]\n" +
			"hosts[7]: \"[a]\" is neither a host nor host:port\n" +
			"hosts[8]: \"[zz::1]:5\" has no IPv6 address in its brackets\n" +
			"hosts[9]: \"h:\" is neither a host nor host:port\n" +
			"hosts[10]: \":5672\" has no host before the port\n" +
			"hosts[11]: \"h:0\" has no port number from 1 to 65535 after the colon\n" +
			"hosts[12]: \"h:65536\" has no port number from 1 to 65535 after the colon\n" +
			"hosts[13]: \"h:amqp\" has no port number from 1 to 65535 after the colon\n" +
			"hosts[14]: \"[::1\" is neither a host nor host:port\n" +
			"hosts[15]: \"]\" is neither a host nor host:port\n" +
			"hosts[16]: \"a:b:1\" is neither a host nor host:port"},
		{"a host twice", func(c *Config) { c.Hosts = []string{"a", "b", "a:5672"} }, "hosts[2]: a:5672 is there twice"},
		{"two ports of a host with TLS", func(c *Config) { c.Hosts, c.TLS.Enabled = []string{"a", "a:5672"}, true }, ""},

		{"vhost of a URL", func(c *Config) { c.VHost = "%2f" }, `vhost: is "%2f", as it stands in a URL; write "/"`},
		{"vhost too long", func(c *Config) { c.VHost = strings.Repeat("v", 256) }, "vhost: is longer than 255 bytes"},
		{"heartbeat", func(c *Config) { c.Heartbeat = 61 * time.Second }, "heartbeat: must be from 1s to 1m0s"},

		{"password twice", func(c *Config) { c.Password = "hunter2" }, "password_file: can't be set together with password"},
		{"no password", func(c *Config) { c.PasswordFile = "" }, "password_file: is missing (or set password)"},
		{"no user", func(c *Config) { c.User = "" },
			"user: is missing (or set sasl to external, with a client certificate)"},
		{"external", func(c *Config) {
			c.SASL, c.User, c.PasswordFile = "external", "", ""
			c.TLS = tlsSettings{Enabled: true, CertFile: "c", KeyFile: "k", MinVersion: "1.3"}
		}, ""},
		{"external with everything else", func(c *Config) { c.SASL, c.Password = "external", "hunter2" }, "" +
			"user: can't be set together with sasl: external, where the client certificate says who we are\n" +
			"password: can't be set together with sasl: external, where the client certificate says who we are\n" +
			"password_file: can't be set together with sasl: external, where the client certificate says who we are\n" +
			"tls.enabled: must be true where sasl is external, which logs in with a client certificate\n" +
			"tls.cert_file: is missing, with tls.key_file: sasl: external logs in with a client certificate"},
		{"SASL", func(c *Config) { c.SASL = "PLAIN" }, `sasl: is "PLAIN"; one of plain, external is meant (did you mean plain?)`},
		{"files of TLS without TLS", func(c *Config) {
			c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile, c.TLS.ServerName = "ca", "cert", "key", "name"
		}, "" +
			"tls.ca_file: is set, and TLS is not used: set tls.enabled\n" +
			"tls.cert_file: is set, and TLS is not used: set tls.enabled\n" +
			"tls.key_file: is set, and TLS is not used: set tls.enabled\n" +
			"tls.server_name: is set, and TLS is not used: set tls.enabled"},
		{"certificate without its key", func(c *Config) { c.TLS.Enabled, c.TLS.CertFile = true, "cert" },
			"tls.key_file: is missing: tls.cert_file is set"},
		{"key without its certificate", func(c *Config) { c.TLS.Enabled, c.TLS.KeyFile = true, "key" },
			"tls.cert_file: is missing: tls.key_file is set"},
		{"TLS 1.1", func(c *Config) { c.TLS.MinVersion = "1.1" }, `tls.min_version: is "1.1"; one of 1.2, 1.3 is meant (did you mean 1.2?)`},

		{"exchanges", func(c *Config) {
			c.Exchanges = []string{"nova", "", "amq.topic", "notifications.info", "stackstream.cloud.amqp.probe", "nova", "*", "a b"}
		}, "" +
			"exchanges[1]: is empty; the default exchange has no bindings of its own\n" +
			"exchanges[2]: \"amq.topic\" is one of the broker's own: name the exchange of a service (its control_exchange)\n" +
			"exchanges[3]: \"notifications.info\" is how the queues of the services are named, which are left alone: " +
			"name the exchange of a service (its control_exchange)\n" +
			"exchanges[4]: \"stackstream.cloud.amqp.probe\" begins like what is declared here (queue.prefix)\n" +
			"exchanges[5]: nova is in exchanges[0] already\n" +
			"exchanges[6]: \"*\" has a wildcard in it: name each exchange\n" +
			"exchanges[7]: \"a b\" has a space or a character that can't be printed in it"},
		{"exchange too long", func(c *Config) { c.Exchanges = []string{strings.Repeat("x", 256)} },
			"exchanges[0]: is longer than 255 bytes"},
		{"good shards", func(c *Config) { c.Shards = map[string][]string{"nova": {"nova", "mine"}, "net_1": {"neutron"}} }, ""},
		{"shards alone", func(c *Config) { c.Exchanges, c.Shards = nil, map[string][]string{"nova": {"nova"}} }, ""},
		{"bad shards", func(c *Config) {
			c.Shards = map[string][]string{
				"": {"x"}, "Nova": {"nova"}, "a.b": {"b"}, "empty": nil, "first": {"one", "amq.one"}, "second": {"two", "one", "two"},
				strings.Repeat("x", 59): {"long"},
			}
		}, "" +
			"shards: has a shard without a name\n" +
			"shards.Nova: does not make the name of a source: source name \"amqp-Nova\": has 'N'; only a-z, 0-9, _ and - are allowed\n" +
			"shards.a.b: does not make the name of a source: source name \"amqp-a.b\": has '.'; only a-z, 0-9, _ and - are allowed\n" +
			"shards.empty: names no exchange\n" +
			"shards.first[1]: \"amq.one\" is one of the broker's own: name the exchange of a service (its control_exchange)\n" +
			"shards.second[1]: one is in shards.first[0] already\n" +
			"shards.second[2]: two is in shards.second[0] already\n" +
			"shards." + strings.Repeat("x", 59) + ": does not make the name of a source: source name \"amqp-" +
			strings.Repeat("x", 59) + "\": is longer than 63 characters"},

		{"good topics", func(c *Config) { c.Topics = []string{"notifications", "versioned_notifications", "a.b"} }, ""},
		{"topics", func(c *Config) {
			c.Topics = []string{"notifications", "notifications", "", "notifications.*", "#", "notifications.info", strings.Repeat("x", 247)}
		}, "" +
			"topics[1]: notifications is there twice\n" +
			"topics[2]: is empty\n" +
			"topics[3]: \"notifications.*\" has a wildcard in it: other messages than notifications go through the same " +
			"exchanges, so name each topic, like notifications\n" +
			"topics[4]: \"#\" has a wildcard in it: other messages than notifications go through the same " +
			"exchanges, so name each topic, like notifications\n" +
			"topics[5]: \"notifications.info\" ends in a priority, which is added to each topic: write notifications, and the " +
			"priority in priorities\n" +
			"topics[6]: is longer than 246 bytes"},
		{"priorities", func(c *Config) {
			c.Priorities = []string{"info", "INFO", "warning", "err", "info", "crit", "everything", ""}
		}, "" +
			"priorities[1]: is \"INFO\"; one of audit, debug, info, warn, error, critical, sample is meant (did you mean info?)\n" +
			"priorities[2]: is \"warning\"; one of audit, debug, info, warn, error, critical, sample is meant (did you mean warn?)\n" +
			"priorities[3]: is \"err\"; one of audit, debug, info, warn, error, critical, sample is meant (did you mean error?)\n" +
			"priorities[5]: is \"crit\"; one of audit, debug, info, warn, error, critical, sample is meant (did you mean critical?)\n" +
			"priorities[6]: is \"everything\"; one of audit, debug, info, warn, error, critical, sample is meant\n" +
			"priorities[7]: is missing: one of audit, debug, info, warn, error, critical, sample\n" +
			"priorities[4]: info is there twice"},
		{"create_exchanges", func(c *Config) { c.CreateExchanges = "always" },
			`create_exchanges: is "always"; one of never, durable, transient is meant`},

		{"prefix amq", func(c *Config) { c.Queue.Prefix = "amq" }, `queue.prefix: is "amq"; names that begin with amq. are the broker's own`},
		{"prefix amq.x", func(c *Config) { c.Queue.Prefix = "amq.x" },
			`queue.prefix: is "amq.x"; names that begin with amq. are the broker's own`},
		{"prefix notifications", func(c *Config) { c.Queue.Prefix = "notifications" },
			`queue.prefix: is "notifications"; so begin the queues of the services, which are left alone`},
		{"prefix in capitals", func(c *Config) { c.Queue.Prefix = "Events" },
			`queue.prefix: is "Events"; 1 to 64 characters of a-z, 0-9, _, . and - are meant`},
		{"another prefix", func(c *Config) { c.Queue.Prefix = "amqp_2.events-x" }, ""},
		{"queue", func(c *Config) { c.Queue.Type, c.Queue.MaxBytes, c.Queue.TTL = "stream", 1<<20-1, time.Second }, "" +
			"queue.type: is \"stream\"; one of classic, quorum is meant\n" +
			"queue.max_bytes: must be at least 1MiB, or 0 for no limit from here\n" +
			"queue.ttl: must be at least 1m0s, or 0 for no limit from here"},
		{"negative limits", func(c *Config) { c.Queue.MaxBytes, c.Queue.TTL = -1, -1 }, "" +
			"queue.max_bytes: must be at least 1MiB, or 0 for no limit from here\n" +
			"queue.ttl: must be at least 1m0s, or 0 for no limit from here"},
		{"limits by policy", func(c *Config) { c.Queue.Type, c.Queue.MaxBytes, c.Queue.TTL = "quorum", 0, 0 }, ""},

		{"most of everything", func(c *Config) {
			c.Prefetch, c.PrefetchBytes, c.Remember, c.Probe = 65535, 1<<30, 2_000_000, 10*time.Minute
		}, ""},
		{"least of everything", func(c *Config) { c.Prefetch, c.PrefetchBytes, c.Remember, c.Probe = 1, 64<<10, 2, time.Second }, ""},
		{"too much", func(c *Config) {
			c.Prefetch, c.PrefetchBytes, c.Remember, c.Probe = 65536, 1<<30+1, 2_000_001, 11*time.Minute
		}, "" +
			"prefetch: must be from 1 to 65535\n" +
			"prefetch_bytes: must be from 64KiB to 1GiB\n" +
			"remember: must be from 131070, twice the prefetch, to 2000000\n" +
			"probe: must be from 1s to 10m0s"},
		{"remembers too few", func(c *Config) { c.Remember = 3999 }, "remember: must be from 4000, twice the prefetch, to 2000000"},
		{"patterns", func(c *Config) { c.EventTypes.Include = []string{"", "/(/"} }, "" +
			"event_types.include[0]: \"\": the pattern is empty\n" +
			"event_types.include[1]: \"/(/\": error parsing regexp: missing closing ): `(`"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := goodConfig()
			tc.change(&cfg)
			var lines []string
			for _, p := range cfg.Validate() {
				lines = append(lines, p.String())
			}
			got := strings.Join(lines, "\n")
			if got != tc.want {
				t.Errorf("found:\n%s\nwant:\n%s", got, tc.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a password is shown")
			}
		})
	}
}

func TestAddress(t *testing.T) {
	for _, tc := range []struct {
		host         string
		plain, inTLS string
	}{
		{"rabbit1", "rabbit1:5672", "rabbit1:5671"},
		{"rabbit1:1234", "rabbit1:1234", "rabbit1:1234"},
		{"10.0.0.1", "10.0.0.1:5672", "10.0.0.1:5671"},
		{"[2001:db8::1]", "[2001:db8::1]:5672", "[2001:db8::1]:5671"},
		{"[2001:db8::1]:1234", "[2001:db8::1]:1234", "[2001:db8::1]:1234"},
	} {
		plain, inTLS := Config{}, Config{TLS: tlsSettings{Enabled: true}}
		if a, b := plain.address(tc.host), inTLS.address(tc.host); a != tc.plain || b != tc.inTLS {
			t.Errorf("%s is %s, with TLS %s; want %s and %s", tc.host, a, b, tc.plain, tc.inTLS)
		}
	}
}
