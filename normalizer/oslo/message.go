package oslo

import (
	"strings"

	"stackstream/internal/rawjson"
	"stackstream/normalizer/rules"
)

// maxText bounds, in bytes, what of a payload that is text is for people.
const maxText = 4 << 10

// message is what the service says for people: its own words, those of the error, CADF's outcome, or a payload that is
// nothing but text (glance, when an upload failed).
func message(payload rawjson.Value, members *rules.Index) string {
	fault, _ := members.Get("fault").Members() // nova, versioned
	exception, _ := members.Get("exception").Members()
	reason, _ := members.Get("reason").Members() // nova's exception or CADF's reason
	said := rules.Text(
		members.Get("message"),
		members.Get("exception_message"), fault.Get("exception_message"), reason.Get("exception_message"),
		exception.Get("message"), members.Get("exception"),
		members.Get("reason"),
		members.Get("error_message"), // cinder
		members.Get("state_reason"),  // heat
		members.Get("fail_reason"),   // cinder's backups
		members.Get("last_error"))    // ironic
	if said == "" && len(payload) <= maxText {
		said, _ = payload.Text()
	}
	if said != "" {
		return errorText(said)
	}
	outcome := rules.Text(members.Get("outcome"))
	for _, more := range []string{rules.Text(reason.Get("reasonType")), rules.Text(reason.Get("reasonCode"))} {
		switch {
		case outcome == "":
			outcome = more
		case more != "":
			outcome += ", " + more
		}
	}
	return outcome
}

// errorText takes the words out of an error as nova writes it: without the traceback behind an error that came from
// another process, and of an exception that was written as Python writes a dictionary,
// {'kwargs': {…}, 'message': 'No valid host was found.', 'class': 'NoValidHost'}, its message.
func errorText(s string) string {
	if words, ok := pythonMessage(s); ok {
		s = words
	}
	if at := strings.Index(s, "\nTraceback (most recent call last):"); at > 0 {
		s = s[:at]
	}
	return strings.TrimSpace(s)
}

// pythonMessage returns the message of such a dictionary.
func pythonMessage(s string) (words string, ok bool) {
	const name = ", 'message': "
	at := strings.LastIndex(s, name)
	if at < 0 || !strings.HasPrefix(s, "{'kwargs': ") {
		return "", false
	}
	s = s[at+len(name):]
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return b.String(), b.Len() > 0
		case s[i] == '\\' && i+1 < len(s):
			i++
			if s[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", false
}
