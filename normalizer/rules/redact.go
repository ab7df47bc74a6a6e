package rules

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"stackstream/internal/rawjson"
)

// Redacted stands in place of a secret.
const Redacted = "***"

// DefaultSecretKeys are the keys under which event services were seen to send secrets, or may. user_data and
// injected_files are what a user has put into an instance; passwords are often among it, and no event is about them.
func DefaultSecretKeys() []string {
	return []string{
		"*auth_token", "x_subject_token", "x_service_token", "service_token", "access_token", "refresh_token",
		"id_token", "token", "*secret_token",
		"*password", "*passwd", "*passphrase", "admin_pass", "root_pass", "new_pass", "sys_pswd", "psk",
		"secret", "*secret_key", "client_secret", "access_key", "private_key", "ssh_key_private", "encrypted_key",
		"fernet_key", "ssl_key", "temp_url_key", "credential_blob", "provider_auth", "user_data", "injected_files",
	}
}

// Redactor replaces the values of secret keys in JSON, at any depth.
type Redactor struct {
	keys     map[string]bool
	suffixes []string
}

// NewRedactor takes keys in any spelling: case, "-" and "_" make no difference, so that "admin_pass" is adminPass too,
// and so does oslo's prefix "_context_". A "*" in front stands for any beginning.
func NewRedactor(keys []string) (*Redactor, error) {
	r := &Redactor{keys: map[string]bool{}}
	var wrong []error
	for _, key := range keys {
		suffix, isSuffix := strings.CutPrefix(key, "*")
		plain := string(fold(nil, []byte(suffix)))
		switch {
		case plain == "" || strings.Contains(plain, "*"):
			wrong = append(wrong, fmt.Errorf("secret_keys: %q: want a key, or * and the end of one", key))
		case isSuffix:
			r.suffixes = append(r.suffixes, plain)
		default:
			r.keys[plain] = true
		}
	}
	return r, errors.Join(wrong...)
}

// Redact returns v with secrets replaced, everything else byte for byte, and the number of values replaced. What is
// none is left: null, an empty value, true and false.
func (r *Redactor) Redact(v rawjson.Value) (rawjson.Value, int) {
	var space [64]byte
	match := func(name []byte) bool {
		plain := fold(space[:0], name)
		if r.keys[string(plain)] {
			return true
		}
		for _, s := range r.suffixes {
			if len(plain) >= len(s) && string(plain[len(plain)-len(s):]) == s {
				return true
			}
		}
		return false
	}
	return v.ReplaceMembers(match, func(value rawjson.Value) []byte {
		if value.IsEmpty() || value[0] == 't' || value[0] == 'f' {
			return nil
		}
		return []byte(`"` + Redacted + `"`)
	})
}

// fold appends the name in lower case without "-" and "_", and without oslo's prefix.
func fold(dst, name []byte) []byte {
	name = bytes.TrimPrefix(name, []byte("_context_"))
	for _, c := range name {
		switch {
		case c == '-' || c == '_':
		case c >= 'A' && c <= 'Z':
			dst = append(dst, c+'a'-'A')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
