package event

import "fmt"

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
