package panko

import (
	"strings"
	"testing"

	"stackstream/collectors/telemetry"
	"stackstream/event"
	"stackstream/internal/openstack"
)

func TestValidate(t *testing.T) {
	good := testConfig("https://cloud.example:5000")
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string // one line per problem
	}{
		{"good", func(*Config) {}, ""},
		{"nothing", func(c *Config) { *c = Config{Config: telemetry.Config{Interface: "public"}} }, "" +
			"auth.url: is missing: the address of Keystone, like https://host:5000/v3\n" +
			"auth.user: is missing (or set user_id or application_credential)\n" +
			"auth.password_file: is missing (or set password)\n" +
			"auth.project: is missing (or set project_id): the event service answers for a project\n" +
			"http.connect_timeout: must be more than 0\n" +
			"http.header_timeout: must be more than 0\n" +
			"http.timeout: must be more than 0\n" +
			"service_type: is empty: the type that the service has in the catalogue, usually event\n" +
			"every: must be more than 0\n" +
			"max_run: must be more than 0\n" +
			"limit: must be from 1 to 10000\n" +
			"max_body: must be from 64KiB to 1GiB"},
		{"endpoint", func(c *Config) { c.Endpoint = "ftp://x" }, "endpoint: must begin with http:// or https://"},
		{"endpoint of the list", func(c *Config) { c.Endpoint = "https://x/v2/events" },
			"endpoint: is the address of the service, without /v2/events"},
		{"interface", func(c *Config) { c.Interface = "Public" }, `interface: is "Public"; one of public, internal, admin is meant (did you mean public?)`},
		{"negative times", func(c *Config) { c.Jitter, c.Overlap = -1, -1 },
			"jitter: must not be negative\noverlap: must be from 0 to 168h0m0s"},
		{"two starts", func(c *Config) { c.SkipHistory, c.Start = true, telemetry.StartNow() },
			"skip_history: can't be set together with start: it means start: now"},
		{"patterns", func(c *Config) { c.EventTypes.Include = []string{"", "/(/"} },
			"event_types.include[0]: \"\": the pattern is empty\n" +
				"event_types.include[1]: \"/(/\": error parsing regexp: missing closing ): `(`"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			var lines []string
			for _, p := range cfg.Validate() {
				lines = append(lines, p.String())
			}
			if got := strings.Join(lines, "\n"); got != tc.want {
				t.Errorf("found:\n%s\nwant:\n%s", got, tc.want)
			}
		})
	}
}

func TestFilesOfTLSAreRead(t *testing.T) {
	cfg := testConfig("https://cloud.example:5000")
	cfg.HTTP.TLS = openstack.TLS{CAFile: "testdata/absent.pem"}
	if _, err := New(cfg, Options{}); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "http.tls.ca_file") {
		t.Errorf("error is %v", err)
	}
}
