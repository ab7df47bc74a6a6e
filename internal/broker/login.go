package broker

import "stackstream/event"

// The ways to log in.
const (
	SASLPlain     = "plain"
	SASLExternal  = "external"
	SASLAnonymous = "anonymous"
)

// Login is what a configuration says of who we are.
type Login struct {
	SASL         string
	User         string
	Password     event.Secret
	PasswordFile string
}

// Problems calls each for every mistake that shows without reading a file.
func (l Login) Problems(tls TLS, each func(field, message string)) {
	unset := func(why string) {
		for _, s := range []struct{ field, value string }{
			{"user", l.User}, {"password", string(l.Password)}, {"password_file", l.PasswordFile},
		} {
			if s.value != "" {
				each(s.field, why)
			}
		}
	}
	switch l.SASL {
	case SASLPlain:
		if l.User == "" {
			each("user", "is missing (or set sasl to external, with a client certificate)")
		}
		switch {
		case l.Password == "" && l.PasswordFile == "":
			each("password_file", "is missing (or set password)")
		case l.Password != "" && l.PasswordFile != "":
			each("password_file", "can't be set together with password")
		}
	case SASLExternal:
		unset("can't be set together with sasl: external, where the client certificate says who we are")
		if !tls.Enabled {
			each("tls.enabled", "must be true where sasl is external, which logs in with a client certificate")
		}
		if tls.CertFile == "" && tls.KeyFile == "" {
			each("tls.cert_file", "is missing, with tls.key_file: sasl: external logs in with a client certificate")
		}
	case SASLAnonymous:
		unset("can't be set together with sasl: anonymous, where we do not say who we are")
	}
}
