package openstack

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"stackstream/internal/openstack/standin"
)

func TestValidateAuth(t *testing.T) {
	password := Auth{URL: "https://cloud:5000/v3", User: "u", Domain: "Default", Password: "p", Project: "x"}
	credential := Auth{URL: "https://cloud:5000", ApplicationCredential: ApplicationCredential{ID: "i", Secret: "s"}}
	for _, tc := range []struct {
		name   string
		auth   Auth
		change func(*Auth)
		want   string
	}{
		{"password", password, func(*Auth) {}, ""},
		{"user and project by id", password, func(a *Auth) { a.User, a.UserID, a.Domain, a.Project, a.ProjectID = "", "u", "", "", "x" }, ""},
		{"credential", credential, func(*Auth) {}, ""},
		{"credential by name", credential, func(a *Auth) {
			a.ApplicationCredential.ID, a.ApplicationCredential.Name, a.UserID = "", "n", "u"
		}, ""},
		{"no URL", password, func(a *Auth) { a.URL = "" }, "url: is missing: the address of Keystone, like https://host:5000/v3"},
		{"URL with a password", password, func(a *Auth) { a.URL = "https://u:hunter2@cloud" },
			"url: must not have a user or password in it"},
		{"URL that is none", password, func(a *Auth) { a.URL = "cloud:5000" }, "url: is not a URL like https://host:5000/v3"},
		{"URL without a host", password, func(a *Auth) { a.URL = "https:///v3" }, "url: has no host"},
		{"version 2", password, func(a *Auth) { a.URL = "https://cloud:5000/v2.0/" },
			"url: is for Keystone version 2, which is not spoken: give it without /v2.0"},
		{"no domain", password, func(a *Auth) { a.Domain = "" }, "" +
			"domain: is missing: the domain of the user, often Default\n" +
			"project_domain: is missing: the domain of the project, often Default"},
		{"twice", password, func(a *Auth) {
			a.UserID, a.DomainID, a.ProjectID, a.PasswordFile, a.ProjectDomain, a.ProjectDomainID = "u", "d", "x", "f", "a", "b"
		}, "" +
			"user_id: can't be set together with user\n" +
			"domain_id: can't be set together with domain\n" +
			"project_id: can't be set together with project\n" +
			"project_domain_id: can't be set together with project_domain\n" +
			"password_file: can't be set together with password"},
		{"project by id in a domain", password, func(a *Auth) { a.Project, a.ProjectID, a.ProjectDomain = "", "x", "Default" },
			"project_domain: is not needed: project_id is unique in all domains"},
		{"credential without a secret", credential, func(a *Auth) { a.ApplicationCredential.Secret = "" },
			"application_credential.secret_file: is missing (or set secret)"},
		{"credential and password", credential, func(a *Auth) { a.Password, a.Project = "p", "x" }, "" +
			"password: can't be set together with application_credential: one of them says who we are\n" +
			"project: can't be set together with application_credential, which carries its project"},
		{"credential by name of nobody", credential, func(a *Auth) {
			a.ApplicationCredential.ID, a.ApplicationCredential.Name = "", "n"
		}, "user: is missing: an application credential's name is looked up with its user"},
		{"credential by id and user", credential, func(a *Auth) { a.User = "u" },
			"user: can't be set together with application_credential.id, which is enough"},
		{"secret without a credential", credential, func(a *Auth) { a.ApplicationCredential.ID = "" },
			"application_credential.id: is missing (or give the name, with the user it belongs to)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			auth := tc.auth
			tc.change(&auth)
			var lines []string
			for _, p := range auth.Validate() {
				lines = append(lines, p.String())
			}
			if got := strings.Join(lines, "\n"); got != tc.want {
				t.Errorf("found:\n%s\nwant:\n%s", got, tc.want)
			}
		})
	}
}

func TestValidateHTTP(t *testing.T) {
	c := DefaultHTTP()
	if found := c.Validate(); len(found) > 0 {
		t.Errorf("the defaults: %v", found)
	}
	c.Proxy, c.TLS = "environment", TLS{CertFile: "c", KeyFile: "k"}
	if found := c.Validate(); len(found) > 0 {
		t.Errorf("proxy and certificate: %v", found)
	}
	c = HTTP{Timeout: -1, Proxy: "http://u:hunter2@proxy", TLS: TLS{KeyFile: "k"}}
	var lines []string
	for _, p := range c.Validate() {
		lines = append(lines, p.String())
	}
	want := "connect_timeout: must be more than 0\nheader_timeout: must be more than 0\ntimeout: must be more than 0\n" +
		"proxy: must not have a user or password in it (or is the word environment)\n" +
		"tls.cert_file: is missing: tls.key_file is set"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("found:\n%s\nwant:\n%s", got, want)
	}
}

func TestFault(t *testing.T) {
	long := strings.Repeat("ä", 400)
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"WSME", 400, `{"error_message": {"faultcode": "Client", "faultstring": "Unknown argument: \"foo\"", "debuginfo": null}}`,
			`Unknown argument: "foo"`},
		{"middleware", 403, `{"error_message": {"code": 403, "title": "Forbidden", "description": "RBAC Authorization Failed"}}`,
			"RBAC Authorization Failed"},
		{"middleware without a description", 404, `{"error_message": {"code": 404, "title": "Not Found", "description": null}}`,
			"Not Found"},
		{"another service's", 400, `{"message": "Bad credentials", "documentation_url": "x"}`, "Bad credentials"},
		{"several", 400, `{"errors": [{"code": 7, "detail": "no such field"}, {}]}`, "no such field"},
		{"several texts", 400, `{"errors": ["no such field"]}`, "no such field"},
		{"errors of another shape", 400, `{"errors": {"a": 1}}`, "Bad Request"},
		{"HTML in JSON", 406, `{"error_message": "<html>\n <head>\n  <title>406 Not Acceptable</title>\n </head>\n <body>\n  <h1>406 Not Acceptable</h1>\n  The resource could not be generated. <br /><br />\n\n </body>\n</html>"}`,
			"406 Not Acceptable: The resource could not be generated."},
		{"Keystone", 401, `{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}`,
			"The request you have made requires authentication."},
		{"error as text", 500, `{"error": "boom"}`, "boom"},
		{"HTML", 502, "<!DOCTYPE html><html><head><title>502 Bad Gateway</title><style>p{}</style></head><body><center>nginx &amp; co</center></body></html>",
			"502 Bad Gateway: nginx & co"},
		{"HTML with nothing more than its title", 502, "<html><title>502 Bad Gateway</title><body><h1>502 Bad Gateway</h1></body></html>",
			"502 Bad Gateway"},
		{"text", 503, "no healthy upstream\n", "no healthy upstream"},
		{"nothing", 503, "", "Service Unavailable"},
		{"nothing, unknown status", 599, "", "no message"},
		{"other JSON", 500, `{"a": 1}`, "Internal Server Error"},
		{"a list", 500, `[1]`, "[1]"},
		{"control characters", 500, "a\x1b[31mb\r\nc\x00", "a [31mb c"},
		{"long", 500, long, strings.Repeat("ä", 150) + "… (800 bytes)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Fault(tc.status, []byte(tc.body)); got != tc.want {
				t.Errorf("says %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzFault(f *testing.F) {
	for _, x := range standin.Recorded() {
		if x.Response.Status >= 400 {
			f.Add(x.Response.Status, []byte(x.Response.Body))
		}
	}
	f.Add(502, []byte("<html><title></title><head></head>&lt;b&gt;\xff"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		text := Fault(status, body)
		if text == "" || len(text) > maxFaultText+40 || !utf8.ValidString(text) {
			t.Fatalf("says %q", text)
		}
		for _, r := range text {
			if !unicode.IsPrint(r) {
				t.Fatalf("says %q, with %q in it", text, r)
			}
		}
	})
}
