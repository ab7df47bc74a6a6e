package webhook

import (
	"crypto/hmac"
	"crypto/sha1" // some senders know nothing else; an HMAC with it is not broken
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"stackstream/event"
	"stackstream/internal/records"
)

// schemeOf has what a known scheme decides.
func schemeOf(name string) (HMAC, bool) {
	switch name {
	case "github":
		return HMAC{Header: "X-Hub-Signature-256", Prefix: "sha256=", Signs: "{body}"}, true
	case "slack":
		return HMAC{
			Header: "X-Slack-Signature", Prefix: "v0=", Signs: "v0:{timestamp}:{body}", TimestampHeader: "X-Slack-Request-Timestamp",
		}, true
	case "stripe":
		return HMAC{
			Header: "Stripe-Signature", Separator: ",", Prefix: "v1=", Signs: "{timestamp}.{body}",
			TimestampHeader: "Stripe-Signature", TimestampPrefix: "t=",
		}, true
	case "standard-webhooks":
		return HMAC{
			Header: "webhook-signature", Separator: " ", Prefix: "v1,", Encoding: "base64", Signs: "{id}.{timestamp}.{body}",
			TimestampHeader: "webhook-timestamp", IDHeader: "webhook-id", SecretPrefix: "whsec_", SecretEncoding: "base64",
		}, true
	}
	return HMAC{}, false
}

const defaultTolerance = 5 * time.Minute

// complete fills in what the scheme decides, and what is usual.
func (h HMAC) complete() HMAC {
	if scheme, known := schemeOf(h.Scheme); known {
		scheme.Scheme, scheme.Secret, scheme.SecretFile, scheme.Tolerance = h.Scheme, h.Secret, h.SecretFile, h.Tolerance
		h = scheme
	}
	for _, field := range []struct {
		value *string
		usual string
	}{{&h.Algorithm, "sha256"}, {&h.Encoding, "hex"}, {&h.SecretEncoding, "text"}, {&h.Signs, "{body}"}} {
		if *field.value == "" {
			*field.value = field.usual
		}
	}
	if h.TimestampHeader != "" && h.Tolerance == 0 {
		h.Tolerance = defaultTolerance
	}
	return h
}

// goodFor is how long a signature with a time is good: it may be of our future as of our past. Without a time there is no end.
func (h HMAC) goodFor() time.Duration {
	if h.TimestampHeader == "" {
		return 0
	}
	return 2 * h.Tolerance
}

// parseSigned takes what is signed apart: texts and names in turn.
func parseSigned(text string) ([]string, error) {
	parts := []string{}
	hasBody := false
	for rest := text; ; {
		literal, after, found := strings.Cut(rest, "{")
		parts = append(parts, literal)
		if !found {
			break
		}
		name, behind, closed := strings.Cut(after, "}")
		switch {
		case !closed:
			return nil, errors.New("has { without }")
		case name != "body" && name != "timestamp" && name != "id":
			return nil, fmt.Errorf("has {%s}; {body}, {timestamp} and {id} are known", name)
		}
		hasBody = hasBody || name == "body"
		parts = append(parts, name)
		rest = behind
	}
	if !hasBody {
		return nil, errors.New("has no {body}: what is not signed says nothing")
	}
	return parts, nil
}

// verifier checks signatures.
type verifier struct {
	cfg   HMAC
	keys  [][]byte
	signs []string
	hash  func() hash.Hash
	taken *taken
}

func newVerifier(cfg HMAC) (*verifier, error) {
	v := &verifier{cfg: cfg.complete()}
	wrong := func(err error) error {
		return &event.Error{Kind: event.Invalid, Op: "read auth.hmac.secret_file", Err: err}
	}
	all, err := readSecrets(cfg.Secret, "auth.hmac.secret_file", cfg.SecretFile)
	if err != nil {
		return nil, err
	}
	for _, secret := range all {
		key, err := v.key(secret)
		if err != nil {
			return nil, wrong(err)
		}
		v.keys = append(v.keys, key)
	}
	if len(v.keys) == 0 {
		return nil, wrong(errNoSecret)
	}
	if v.signs, err = parseSigned(v.cfg.Signs); err != nil {
		return nil, wrong(err)
	}
	v.hash = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}[v.cfg.Algorithm]
	v.taken = newTaken(v.cfg.goodFor())
	return v, nil
}

// key is what a secret says. What is wrong with it is told without it.
func (v *verifier) key(secret string) (key []byte, err error) {
	secret = strings.TrimPrefix(secret, v.cfg.SecretPrefix)
	switch v.cfg.SecretEncoding {
	case "hex":
		key, err = hex.DecodeString(secret)
	case "base64":
		key, err = decodeBase64(secret)
	default:
		key = []byte(secret)
	}
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("the secret is not in %s", v.cfg.SecretEncoding)
	}
	return key, nil
}

// decodeBase64 reads base64 with or without its end.
func decodeBase64(text string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
}

// check refuses a body that nobody who knows the secret has signed, or too long ago. What it lets through has a name by which it is
// known again.
func (v *verifier) check(h http.Header, body []byte, now time.Time) (name signed, _ *refusal) {
	forged := func(field, text string) (n signed, _ *refusal) {
		return n, &refusal{status: http.StatusUnauthorized, reason: reasonForged, field: field, text: text}
	}
	values := map[string]string{"id": h.Get(v.cfg.IDHeader)}
	if v.cfg.TimestampHeader != "" {
		stamps := v.parts(h.Get(v.cfg.TimestampHeader), v.cfg.TimestampPrefix, v.cfg.TimestampHeader == v.cfg.Header)
		if len(stamps) != 1 {
			return forged(v.cfg.TimestampHeader, "has no time")
		}
		values["timestamp"] = stamps[0]
	}
	given := v.parts(h.Get(v.cfg.Header), v.cfg.Prefix, true)
	if len(given) == 0 {
		return forged(v.cfg.Header, "has no signature")
	}
	var right []byte
	for _, key := range v.keys {
		sum := v.sign(key, values, body)
		for _, text := range given {
			if signature, err := v.decode(text); err == nil && hmac.Equal(signature, sum) {
				right = sum
			}
		}
	}
	if right == nil {
		return forged(v.cfg.Header, "is not the signature of what was posted")
	}
	kind, charset := media(h.Get("Content-Type"))
	if refused := checkCharset(charset, body); refused != nil {
		return name, refused
	}
	name = nameOf(right, kind, charset, h)
	if v.cfg.TimestampHeader == "" {
		return name, nil
	}
	// Only now: whether a time is old is nobody's business who can't sign it.
	seconds, err := strconv.ParseInt(values["timestamp"], 10, 64)
	if off := now.Sub(time.Unix(seconds, 0)); err != nil || off > v.cfg.Tolerance || off < -v.cfg.Tolerance {
		return name, &refusal{
			status: http.StatusUnauthorized, reason: reasonOld, field: v.cfg.TimestampHeader,
			text: fmt.Sprintf("is not within %s of now", v.cfg.Tolerance),
		}
	}
	return name, nil
}

// nameOf names what is signed: a signature, and in which of a few ways the body is read, so that one that is refused is no other one's
// first time. No signature covers what says how, and nothing else of it is in the name: whoever has seen one body with its signature
// could have it come for the first time as often as they like.
func nameOf(sum []byte, kind, charset string, h http.Header) (name signed) {
	if kind != typeEvent && kind != typeEvents {
		kind = ""
	}
	unpack, _ := unpacker(h)
	all := sha256.New()
	all.Write(sum)
	fmt.Fprintf(all, "%s %v %T", kind, records.Charset(charset).IsUTF8(), unpack)
	all.Sum(name[:0])
	return name
}

// maxSignatures is how many signatures a header may have: each has to be compared.
const maxSignatures = 16

// parts are the parts of a header that have the prefix, without it.
func (v *verifier) parts(header, prefix string, several bool) []string {
	parts := []string{header}
	if several && v.cfg.Separator != "" {
		parts = strings.SplitN(header, v.cfg.Separator, maxSignatures+1)
	}
	var found []string
	for _, part := range parts[:min(len(parts), maxSignatures)] {
		if text, ok := strings.CutPrefix(strings.TrimSpace(part), prefix); ok && text != "" {
			found = append(found, text)
		}
	}
	return found
}

func (v *verifier) sign(key []byte, values map[string]string, body []byte) []byte {
	mac := hmac.New(v.hash, key)
	for i, part := range v.signs {
		switch {
		case i%2 == 0:
			mac.Write([]byte(part))
		case part == "body":
			mac.Write(body)
		default:
			mac.Write([]byte(values[part]))
		}
	}
	return mac.Sum(nil)
}

func (v *verifier) decode(text string) ([]byte, error) {
	if v.cfg.Encoding == "base64" {
		return decodeBase64(text)
	}
	return hex.DecodeString(text)
}

// maxTaken bounds how many are remembered: those that are posted again when there were more are known by the ids of their events.
const maxTaken = 200_000

// taken remembers what was signed and stored, for as long as its time is good: who posts it again is answered without anything being
// decoded, and without a part in limits.rate. That is all it is for. What it does not know, because another replica has taken it, or
// this one before a restart, is known by the ids of its events. It is safe for concurrent use.
type taken struct {
	keep time.Duration // 0: nothing is remembered
	most int

	mu    sync.Mutex
	known map[signed]*takenAt
	order []*takenAt // also those that came to nothing
}

// signed names what was signed.
type signed = [sha256.Size]byte

// takenAt is what was signed, and is on its way until ended is closed.
type takenAt struct {
	name  signed
	at    time.Time
	ended chan struct{}

	stored bool // as far as is known
	events int  // that were stored
}

func newTaken(keep time.Duration) *taken {
	return &taken{keep: keep, most: maxTaken, known: map[signed]*takenAt{}}
}

func newTakenAt(name signed, at time.Time) *takenAt {
	return &takenAt{name: name, at: at, ended: make(chan struct{})}
}

// begin takes what is posted for the first time, and has to be told by end what became of it. Of what is posted again it returns the
// first time.
func (t *taken) begin(name signed, now time.Time) (entry *takenAt, first bool) {
	if t.keep == 0 {
		return newTakenAt(name, now), true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.order) > 0 {
		oldest := t.order[0]
		is := t.known[oldest.name] == oldest
		if is && len(t.order) < t.most && now.Sub(oldest.at) <= t.keep {
			break
		}
		if is {
			delete(t.known, oldest.name)
		}
		t.order[0] = nil
		t.order = t.order[1:]
	}
	if before := t.known[name]; before != nil {
		return before, false
	}
	entry = newTakenAt(name, now)
	t.known[name] = entry
	t.order = append(t.order, entry)
	return entry, true
}

// end says what became of it. What is not known to be stored is taken again when it comes again.
func (t *taken) end(entry *takenAt, events int, stored bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry.events, entry.stored = events, stored
	if !stored && t.known[entry.name] == entry {
		delete(t.known, entry.name)
	}
	close(entry.ended)
}
