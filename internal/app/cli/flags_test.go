package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"stackstream/event"
	"stackstream/jetstream"
)

const (
	withCredentials = `nats:
  url: [nats://ours:4222]
  user: stackstream
  password: hunter2
  tls: {ca_file: ca.pem, cert_file: us.pem, key_file: us.key}
providers: {lab: {events: none}}
`
	withListener    = "nats: {embedded: {listen: 127.0.0.1:4333}}\nproviders: {lab: {events: none}}\n"
	withoutListener = "providers: {lab: {events: none}}\n"
)

// What proves who we are to the configuration's servers is not shown to those that a flag names.
func TestWhichServerIsReachedAndHow(t *testing.T) {
	ours := jetstream.Config{
		URLs: []string{"nats://ours:4222"}, User: "stackstream", Password: event.Secret("hunter2"),
		TLS: jetstream.TLSConfig{CAFile: "ca.pem", CertFile: "us.pem", KeyFile: "us.key"},
	}
	as := ours
	as.User, as.Password, as.CredentialsFile = "", "", "admin.creds"
	at := func(url, creds string) jetstream.Config {
		return jetstream.Config{URLs: strings.Split(url, ","), CredentialsFile: creds}
	}
	for _, tt := range []struct {
		name, file, url, creds, env string
		want                        jetstream.Config
		refused                     string
	}{
		{name: "nothing is told", want: at("nats://127.0.0.1:4222", "")},
		{name: "by the environment", env: "nats://env:1", creds: "a.creds", want: at("nats://env:1", "a.creds")},
		{name: "by the flag", env: "nats://env:1", url: "nats://a:1,nats://b:1", want: at("nats://a:1,nats://b:1", "")},
		{name: "by the file", file: withCredentials, env: "nats://env:1", want: ours},
		{name: "by the file, as somebody else", file: withCredentials, creds: "admin.creds", want: as},
		{name: "by the flag, with a file", file: withCredentials, url: "nats://a:1", want: at("nats://a:1", "")},
		{name: "by the flag, with a file, the same server", file: withCredentials, url: "nats://ours:4222", want: at("nats://ours:4222", "")},
		{name: "by the flags, with a file", file: withCredentials, url: "nats://a:1", creds: "a.creds", want: at("nats://a:1", "a.creds")},
		{name: "embedded", file: withListener, want: at("nats://127.0.0.1:4333", "")},
		{name: "embedded, elsewhere", file: withoutListener, url: "nats://127.0.0.1:4222", want: at("nats://127.0.0.1:4222", "")},
		{name: "embedded, closed", file: withoutListener, refused: "set nats.embedded.listen, or give `up` --nats-listen and this command --nats"},
		{name: "with a password", file: withCredentials, url: "nats://u:hunter3@a:1", refused: "url[0]: must not have a user or password in it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := nowhere()
			p.Env = func(name string) (string, bool) { return tt.env, name == "NATS_URL" && tt.env != "" }
			f := natsFlags{url: givenValue(tt.url), creds: givenValue(tt.creds)}
			if tt.file != "" {
				f.file = filepath.Join(t.TempDir(), "stackstream.yaml")
				if err := os.WriteFile(f.file, []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg, got, err := f.read(p)
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) || strings.Contains(err.Error(), "hunter") {
					t.Errorf("it says %v, want %s", err, tt.refused)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) || (cfg != nil) != (tt.file != "") {
				t.Errorf("it is %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}
