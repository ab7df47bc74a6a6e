package event

import (
	"fmt"
	"os"
	"strings"
)

// Secret is a password, a token or the like in a configuration. However it is printed, logged or encoded it shows as
// "redacted", or as nothing when it is empty; string(s) is the secret itself.
type Secret string

// String is "redacted", or "" for the empty Secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "redacted"
}

// Format prints String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText writes String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// OrFile returns what the file at path holds, without the end of its last line, or the secret itself where path is empty. An
// error has the kind Invalid and names the setting field, which has the path.
func (s Secret) OrFile(field, path string) (string, error) {
	if path == "" {
		return string(s), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", &Error{Kind: Invalid, Op: "read " + field, Err: err}
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", &Error{Kind: Invalid, Op: "read " + field, Err: fmt.Errorf("%s is empty", path)}
	}
	return secret, nil
}
