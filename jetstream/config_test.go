package jetstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"stackstream/event"
)

func TestCheckVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.14.0":         true,
		"2.14.0-RC.1":    true,
		"2.14.3":         true,
		"2.15.0-beta.1":  true,
		"v2.15.2":        true,
		"2.15.2+local":   true,
		"3.0.0":          true,
		"10.0.0":         true,
		"2.13.9":         false,
		"2.12.0-beta.1":  false,
		"2.9.25":         false,
		"1.4.1":          false,
		"":               false,
		"dev":            false,
		"2.15":           false,
		"2.15.x":         false,
		"2.15.0.1":       false,
		"-2.15.0":        false,
		"2.99999999.0.1": false,
	} {
		err := checkVersion("hub-1", version)
		if (err == nil) != ok {
			t.Errorf("version %q: got %v, want accepted = %t", version, err, ok)
		}
		if err != nil && event.KindOf(err) != event.Invalid {
			t.Errorf("version %q: kind is %v, want invalid", version, event.KindOf(err))
		}
	}
	want := `check the NATS server: invalid: server "hub-1" is nats-server 2.11.4: at least 2.14.0 is needed`
	if got := checkVersion("hub-1", "2.11.4").Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseRefusal(t *testing.T) {
	type result struct {
		What, Subject string
		OK            bool
	}
	for text, want := range map[string]result{
		`nats: permissions violation: Permissions Violation for Publish to "ingest.raw.p.s"`: {"publish to", "ingest.raw.p.s", true},
		`Permissions Violation for Subscription to "events.>"`:                               {"subscription to", "events.>", true},
		`Permissions Violation for Subscription to "events.>" using queue "q" (sid "4")`:     {"subscription to", "events.>", true},
		`Permissions Violation for Publish with Reply of "_INBOX.x"`:                         {"publish with reply of", "_INBOX.x", true},
		`Permissions Violation`:                  {},
		`Permissions Violation for Publish to x`: {},
		``:                                       {},
	} {
		what, subject, ok := parseRefusal(text)
		if got := (result{what, subject, ok}); ok != want.OK || ok && got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func FuzzParseRefusal(f *testing.F) {
	f.Add(`nats: permissions violation: Permissions Violation for Publish to "ingest.raw.p.s"`)
	f.Add(`Permissions Violation for Publish to "`)
	f.Add(`Permissions Violation for ""`)
	f.Fuzz(func(t *testing.T, text string) {
		_, subject, ok := parseRefusal(text)
		if ok && (strings.Contains(subject, `"`) || !strings.Contains(text, `"`+subject+`"`)) {
			t.Errorf("%q is about %q", text, subject)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	url := []string{"nats://a:4222"}
	for name, c := range map[string]struct {
		config Config
		want   []string
	}{
		"plain":          {Config{URLs: []string{"nats://a:4222", "tls://b", "c:4223", "wss://d/nats", "[::1]:4222"}}, nil},
		"no url":         {Config{}, []string{"url: is missing: name at least one server, like nats://host:4222"}},
		"scheme":         {Config{URLs: []string{"http://a"}}, []string{`url[0]: has the scheme "http"; nats, tls, ws or wss is meant`}},
		"no host":        {Config{URLs: []string{"nats://a", "nats://:4222"}}, []string{"url[1]: has no host"}},
		"not a url":      {Config{URLs: []string{"nats://a b"}}, []string{"url[0]: is not a URL like nats://host:4222"}},
		"path":           {Config{URLs: []string{"nats://a/b"}}, []string{`url[0]: has a path "/b"; a NATS server has none`}},
		"secret in url":  {Config{URLs: []string{"nats://u:hunter2@a"}}, []string{"url[0]: must not have a user or password in it: use user and password_file"}},
		"two identities": {Config{URLs: url, NKeyFile: "n", CredentialsFile: "c"}, []string{"nkey_file: can't be set together with credentials_file: one of them says who we are"}},
		"two passwords":  {Config{URLs: url, User: "u", Password: "p", PasswordFile: "f"}, []string{"password_file: can't be set together with password"}},
		"no user":        {Config{URLs: url, PasswordFile: "f"}, []string{"user: is missing: password_file is set"}},
		"no password":    {Config{URLs: url, User: "u"}, []string{"password_file: is missing: a user is set (or set password)"}},
		"no key":         {Config{URLs: url, TLS: TLSConfig{CertFile: "c"}}, []string{"tls.key_file: is missing: tls.cert_file is set"}},
		"no certificate": {Config{URLs: url, TLS: TLSConfig{KeyFile: "c"}}, []string{"tls.cert_file: is missing: tls.key_file is set"}},
		"embedded":       {Config{Embedded: inProcess{}}, nil},
		"embedded, url":  {Config{Embedded: inProcess{}, URLs: url}, []string{"url: the embedded server is used in process: no URL may be set"}},
		"several at once": {Config{TLS: TLSConfig{KeyFile: "c"}}, []string{
			"url: is missing: name at least one server, like nats://host:4222", "tls.cert_file: is missing: tls.key_file is set",
		}},
	} {
		t.Run(name, func(t *testing.T) { wantProblems(t, c.config.Validate(), c.want) })
	}
}

func TestEmbeddedConfigValidate(t *testing.T) {
	const public = "; the server asks nobody who they are, so set listen_public if others are really meant to reach it"
	for name, c := range map[string]struct {
		config EmbeddedConfig
		want   []string
	}{
		"in process":         {EmbeddedConfig{Dir: "d"}, nil},
		"loopback":           {EmbeddedConfig{Dir: "d", Listen: "127.0.0.1:4222"}, nil},
		"loopback, IPv6":     {EmbeddedConfig{Dir: "d", Listen: "[::1]:0"}, nil},
		"localhost":          {EmbeddedConfig{Dir: "d", Listen: "localhost:4222"}, nil},
		"public":             {EmbeddedConfig{Dir: "d", Listen: "0.0.0.0:4222"}, []string{`listen: "0.0.0.0:4222" is not a loopback address` + public}},
		"all":                {EmbeddedConfig{Dir: "d", Listen: ":4222"}, []string{`listen: ":4222" is not a loopback address` + public}},
		"a name":             {EmbeddedConfig{Dir: "d", Listen: "host:4222"}, []string{`listen: "host:4222" is not a loopback address` + public}},
		"public and meant":   {EmbeddedConfig{Dir: "d", Listen: "0.0.0.0:4222", ListenPublic: true}, nil},
		"no port":            {EmbeddedConfig{Dir: "d", Listen: "127.0.0.1"}, []string{`listen: "127.0.0.1" is not an address like 127.0.0.1:4222`}},
		"port out of range":  {EmbeddedConfig{Dir: "d", Listen: "127.0.0.1:99999"}, []string{`listen: "127.0.0.1:99999" has no port number`}},
		"nothing, negatives": {EmbeddedConfig{MaxFile: -1, MaxMemory: -1}, []string{"dir: is missing: the directory that holds the streams", "max_file: is negative", "max_memory: is negative"}},
	} {
		t.Run(name, func(t *testing.T) { wantProblems(t, c.config.Validate(), c.want) })
	}
}

func TestLayoutValidate(t *testing.T) {
	with := func(change func(*Layout)) Layout {
		l := DefaultLayout(1)
		change(&l)
		return l
	}
	for name, c := range map[string]struct {
		layout Layout
		want   []string
	}{
		"default":           {DefaultLayout(3), nil},
		"zero but replicas": {Layout{Replicas: 1}, nil},
		"no replicas":       {Layout{}, []string{"replicas: is 0; 1, 3 or 5 is meant"}},
		"even":              {Layout{Replicas: 2}, []string{"replicas: is 2; an even number survives no more failures than one less"}},
		"negative": {with(func(l *Layout) { l.Raw.MaxBytes, l.Dead.MaxAge, l.Budget = -1, -1, -1 }), []string{
			"raw.max_bytes: is negative; a stream needs a limit", "dead.max_age: is negative", "budget: is negative",
		}},
		"bodies too short": {with(func(l *Layout) { l.Bodies.MaxAge = day }), []string{
			"bodies.max_age: is 24h0m0s; bodies must be kept as long as the messages that refer to them: as raw events and then as dead letters, 2328h0m0s",
		}},
		"bodies too short for what is left at its default": {
			Layout{Replicas: 1, Bodies: StreamLimits{MaxAge: day}},
			[]string{"bodies.max_age: is 24h0m0s; bodies must be kept as long as the messages that refer to them: as raw events and then as dead letters, 2328h0m0s"},
		},
		"leases for a moment": {with(func(l *Layout) { l.LeaseTTL = 999 * time.Millisecond }), []string{
			"lease_ttl: is 999ms; it must be 1s at least: NATS knows nothing shorter",
		}},
		"leases for less than nothing": {with(func(l *Layout) { l.LeaseTTL = -time.Second }), []string{
			"lease_ttl: is -1s; it must be 1s at least: NATS knows nothing shorter",
		}},
		"leases for an hour": {with(func(l *Layout) { l.LeaseTTL = time.Hour }), []string{
			"lease_ttl: is 1h0m0s; it must be 5m0s at most: for so long nobody takes over what a dead process worked on",
		}},
		"messages kept longer, and bodies with them": {Layout{Replicas: 1, Raw: StreamLimits{MaxAge: 365 * day}}, nil},
		"over budget": {with(func(l *Layout) { l.Budget, l.Raw.MaxBytes = 1<<30, 2<<30 }), []string{
			"budget: is 1073741824 bytes; the streams are to take 2147483648 together",
		}},
		"too little left": {with(func(l *Layout) { l.Budget, l.Raw.MaxBytes = 1<<30, 1<<30 }), []string{
			"budget: leaves 0 bytes for the streams without max_bytes; at least 67108864 are needed",
		}},
		"own limits beyond the default budget": {with(func(l *Layout) {
			for _, s := range []*StreamLimits{&l.Raw, &l.Normalized, &l.Dead, &l.Bodies} {
				s.MaxBytes = 1 << 40
			}
		}), nil},
		"nothing left for replays": {with(func(l *Layout) {
			for _, s := range []*StreamLimits{&l.Raw, &l.Normalized, &l.Dead, &l.Bodies} {
				s.MaxBytes = 1 << 30
			}
			l.Budget = 4 << 30
		}), nil},
	} {
		t.Run(name, func(t *testing.T) { wantProblems(t, c.layout.Validate(), c.want) })
	}
}

func wantProblems(t *testing.T, got []Problem, want []string) {
	t.Helper()
	var texts []string
	for _, p := range got {
		texts = append(texts, p.String())
	}
	if !slices.Equal(texts, want) {
		t.Error(cmp.Diff(want, texts))
	}
}

func TestLayoutDividesTheBudget(t *testing.T) {
	for name, l := range map[string]Layout{
		"default":    DefaultLayout(3).Within(32 << 30),
		"small disk": DefaultLayout(1).Within(100 << 20),
		"own limits": {Replicas: 1, Budget: 1 << 30, Raw: StreamLimits{MaxBytes: 300 << 20}, Dead: StreamLimits{MaxBytes: 1 << 20}},
		"all limits": {Replicas: 1, Raw: StreamLimits{MaxBytes: 1}, Normalized: StreamLimits{MaxBytes: 2}, Dead: StreamLimits{MaxBytes: 3}, Bodies: StreamLimits{MaxBytes: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			targets, err := l.streams(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			var sum int64
			for _, s := range targets {
				if s.config.MaxBytes <= 0 {
					t.Errorf("%s has no limit", s.config.Name)
				}
				if s.config.MaxMsgSize > 1<<20 {
					t.Errorf("%s takes messages of %d bytes, the server of 1 MiB only", s.config.Name, s.config.MaxMsgSize)
				}
				if !strings.HasPrefix(s.config.Name, "KV_") {
					sum += s.config.MaxBytes
				}
			}
			if budget := l.Budget; budget > 0 && sum > budget {
				t.Errorf("the streams take %d bytes, the budget is %d", sum, budget)
			}
			if raw := targets[0]; l.Raw.MaxBytes > 0 && (raw.config.MaxBytes != l.Raw.MaxBytes || raw.anySize) {
				t.Errorf("EVENTS_RAW gets %d bytes, %d are set", raw.config.MaxBytes, l.Raw.MaxBytes)
			}
		})
	}
}

func TestWithinOnlyLowers(t *testing.T) {
	for _, c := range []struct{ budget, most, want int64 }{
		{budget: 1 << 30, most: 1 << 50, want: 1 << 30},
		{budget: 1 << 40, most: 1<<30 + 2*bucketBytes, want: 1 << 30},
		{budget: 0, most: 1<<30 + 2*bucketBytes, want: 1 << 30},
		{budget: 0, most: 1 << 50, want: 0},     // the default, which leaves room to grow
		{budget: 0, most: bucketBytes, want: 1}, // too small, which Validate tells
	} {
		if got := (Layout{Budget: c.budget}).Within(c.most).Budget; got != c.want {
			t.Errorf("%d within %d is %d, want %d", c.budget, c.most, got, c.want)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	shown := fmt.Sprintf("%v %+v %#v %s %q", Config{Password: "hunter2"}, Config{Password: "hunter2"},
		event.Secret("hunter2"), event.Secret("hunter2"), event.Secret("hunter2"))
	if strings.Contains(shown, "hunter2") {
		t.Errorf("shows the password: %s", shown)
	}
}

// inProcess is a server that is never asked.
type inProcess struct{ nats.InProcessConnProvider }
