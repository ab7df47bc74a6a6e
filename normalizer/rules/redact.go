package rules

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"stackstream/internal/rawjson"
)

// Redacted stands in place of a secret.
const Redacted = "***"

// DefaultSecretKeys are the keys under which event services were seen to send secrets, or may. user_data, injected_files
// and configdrive are what a user has put into an instance; passwords are often among it, and no event is about them.
// password_0 … password_3 are the parts in which nova keeps an instance's password among its metadata.
func DefaultSecretKeys() []string {
	return []string{
		"*auth_token", "*subject_token", "*service_token", "*access_token", "refresh_token", "id_token", "token",
		"*secret_token", "authorization", "cookie",
		"*password", "password_0", "password_1", "password_2", "password_3", "*passwd", "*passphrase", "passcode",
		"admin_pass", "root_pass", "new_pass", "rescue_pass", "sys_pswd", "psk",
		"secret", "*secret_key", "*secret_access_key", "client_secret", "access_key", "*api_key", "auth_key", "private_key",
		"ssh_key_private", "encrypted_key", "fernet_key", "ssl_key", "temp_url_key", "temp_url_sig", "keyring",
		"credential_blob", "provider_auth", "user_data", "injected_files", "configdrive",
	}
}

// Redactor replaces secrets in JSON, at any depth: the values of members with secret keys, the string or number in
// {"name": key, "value": …} and {"key": key, "value": …}, and that in Ceilometer's triples [key, type, value]. A string
// that holds JSON is treated like any other JSON; in other strings what follows such a key and "=" or ":" is replaced, and
// the password of a URL.
type Redactor struct {
	keys       map[string]bool
	suffixes   []string
	ends       *[1 << 16 / 64]uint64 // the last two letters that secret keys have
	with       Mask                  // nil: Redacted
	docs       *sync.Pool            // of *rawjson.Doc
	redactions *sync.Pool            // of *redaction
}

// NewRedactor takes keys in any spelling: case, "-" and "_" make no difference, so that "admin_pass" is adminPass too,
// and so do the prefixes "_context_" of oslo and "_obj_" of nova's objects. A "*" in front stands for any beginning.
func NewRedactor(keys []string) (*Redactor, error) {
	r := &Redactor{
		keys: map[string]bool{}, ends: new([1 << 16 / 64]uint64), docs: &sync.Pool{New: func() any { return new(rawjson.Doc) }},
		redactions: &sync.Pool{New: func() any { return new(redaction) }},
	}
	var wrong []error
	for _, key := range keys {
		suffix, isSuffix := strings.CutPrefix(key, "*")
		plain := string(fold(nil, []byte(suffix)))
		switch {
		case plain == "" || strings.Contains(plain, "*"):
			wrong = append(wrong, fmt.Errorf("secret_keys: %q: want a key, or * and the end of one", key))
		case isSuffix:
			r.suffixes = append(r.suffixes, plain)
			r.endsWith(plain)
		default:
			r.keys[plain] = true
			r.endsWith(plain)
		}
	}
	return r, errors.Join(wrong...)
}

// Redact returns v with secrets replaced and the number of values replaced; everything else is as it was, byte for byte
// but for the escapes of a string in which something was replaced (half a surrogate pair in it becomes U+FFFD). What is no
// secret is left: null, an empty value, true and false.
func (r *Redactor) Redact(v rawjson.Value) (rawjson.Value, int) {
	if len(v) == 0 {
		return v, 0
	}
	doc := r.docs.Get().(*rawjson.Doc)
	defer r.done(doc)
	doc.Open(v, rawjson.All)
	return r.redact(doc, 0)
}

// done takes a Doc back.
func (r *Redactor) done(doc *rawjson.Doc) {
	doc.Forget()
	r.docs.Put(doc)
}

// Mask says what is shown as a string in the place of a secret, false where it stays: of a string what is between its
// quotes, or a part of that; of anything else what stands there. Whole says that it is an object or a list.
type Mask func(secret []byte, whole bool) (shown string, ok bool)

// Replace is Redact with something else in the place of each secret.
func (r *Redactor) Replace(v rawjson.Value, with Mask) rawjson.Value {
	own := *r
	own.with = with
	shown, _ := own.Redact(v)
	return shown
}

// IsSecret tells whether what goes by this name is a secret.
func (r *Redactor) IsSecret(name string) bool { return r.matches([]byte(name)) }

func (r *Redactor) shown(secret []byte, whole bool) (string, bool) {
	if r.with == nil {
		return Redacted, true
	}
	return r.with(secret, whole)
}

// matches tells whether the name is a secret key.
func (r *Redactor) matches(name []byte) bool {
	if end := lastTwo(name); r.ends[end/64]>>(end%64)&1 == 0 {
		return false
	}
	var space [64]byte
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

// endsWith notes the last two letters of a key, so that other names need not be looked at closer.
func (r *Redactor) endsWith(plain string) {
	end := lastTwo([]byte(plain))
	r.ends[end/64] |= 1 << (end % 64)
	for before := uint16(0); len(plain) == 1 && before <= 0xff; before++ { // anything may stand before it
		end = before<<8 | end&0xff
		r.ends[end/64] |= 1 << (end % 64)
	}
}

// lastTwo are the last two letters of a name as fold writes it.
func lastTwo(name []byte) uint16 {
	if n := len(name) - 1; n > 0 && name[n-1]-'a' < 26 && name[n]-'a' < 26 {
		return uint16(name[n-1])<<8 | uint16(name[n])
	}
	var letters [2]byte
	for i, n := len(name)-1, 1; i >= 0 && n >= 0; i-- {
		c := name[i]
		if c == '-' || c == '_' {
			continue
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		letters[n] = c
		n--
	}
	return uint16(letters[0])<<8 | uint16(letters[1])
}

// fold appends the name in lower case without "-" and "_", and without the prefixes of oslo and nova.
func fold(dst, name []byte) []byte {
	name = bytes.TrimPrefix(bytes.TrimPrefix(name, []byte("_context_")), []byte("_obj_"))
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
