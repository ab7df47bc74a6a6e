package checker

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"hash/maphash"
	"math"
	"strconv"
	"strings"
	"time"
)

// Message is a message as a stream or a subscriber has it.
type Message struct {
	Subject  string
	Header   map[string][]string
	Body     []byte
	Sequence uint64    // in the stream
	Time     time.Time // when the server stored it
}

func (m *Message) header(name string) string {
	if v := m.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// text is the value of a header that may be any text: what can't stand in a header is percent-encoded.
func (m *Message) text(name string) string {
	s := m.header(name)
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.WriteByte(c[0])
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// number is the value of a header that is a positive number, else 0.
func (m *Message) number(name string) uint64 {
	n, _ := strconv.ParseUint(m.header(name), 10, 64)
	return n
}

// The headers that are read.
const (
	headerID         = "Evt-Id"
	headerSeq        = "Evt-Seq"
	headerWatermark  = "Evt-Watermark"
	headerBodyObject = "Evt-Body-Object"
	headerRawSeq     = "Evt-Raw-Seq"
	headerRawEvtSeq  = "Evt-Raw-Evt-Seq"
	headerRawSource  = "Evt-Raw-Source"
	headerReason     = "Evt-Reason"
	headerDetail     = "Evt-Detail"
	headerRedriven   = "Evt-Redriven"
	headerDropped    = "Evt-Dropped"
	headerCeID       = "ce-id"
	headerSequence   = "Nats-Sequence"
	headerLast       = "Nats-Last-Sequence"
	// The source that an event had before it was a dead letter.
	headerOriginSource = "Evt-Origin-Source"
)

// subject is what a subject says. A record that is nobody's business has no kind.
type subject struct {
	kind             subjectKind
	provider, source string
}

type subjectKind int

const (
	subjectOther subjectKind = iota
	subjectRaw
	subjectNormalized
	subjectDead
	subjectRawCursor
	subjectNormalizedCursor
	subjectChoice
	subjectDeadState
)

func parseSubject(s string) subject {
	t := strings.Split(s, ".")
	if len(t) < 3 || t[0] != "events" {
		return subject{}
	}
	switch {
	case t[1] == "raw" && len(t) == 4:
		return subject{subjectRaw, t[2], t[3]}
	case t[1] == "normalized" && len(t) == 3:
		return subject{subjectNormalized, t[2], ""}
	case t[1] == "dead" && len(t) == 3:
		return subject{subjectDead, t[2], ""}
	case t[1] == "deadstate" && len(t) == 3:
		return subject{subjectDeadState, t[2], ""}
	case t[1] == "cursor" && t[2] == "raw" && len(t) == 5:
		return subject{subjectRawCursor, t[3], t[4]}
	case t[1] == "cursor" && t[2] == "raw" && len(t) == 4:
		return subject{subjectChoice, t[3], ""}
	case t[1] == "cursor" && t[2] == "normalized" && len(t) == 4:
		return subject{subjectNormalizedCursor, t[3], ""}
	}
	return subject{}
}

// sum is the beginning of the SHA-256 of a body.
func sum(body []byte) uint64 {
	s := sha256.Sum256(body)
	return binary.BigEndian.Uint64(s[:])
}

// objectPrefix is what the name of an object with a body begins with; its SHA-256 follows.
const objectPrefix = "sha256-"

func isObjectName(name string) bool {
	_, ok := objectSum(name)
	return ok
}

// objectSum is the sum of what is in an object.
func objectSum(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, objectPrefix)
	whole, err := hex.DecodeString(digits)
	if !ok || err != nil || len(whole) != sha256.Size {
		return 0, false
	}
	return binary.BigEndian.Uint64(whole), true
}

// bodySum is the sum of a message's body, which may be in an object. ok is false if that has no name that tells.
func (m *Message) bodySum() (s uint64, ok bool) {
	if name := m.header(headerBodyObject); name != "" {
		return objectSum(name)
	}
	return sum(m.Body), true
}

// maxID is the length of the longest id that a header has; a longer one is replaced by its SHA-256.
const maxID = 512

func bounded(id string) string {
	if len(id) <= maxID {
		return id
	}
	return hexSum([]byte(id))
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// token is a hash of the first token in a body that begins with marker, 0 if there is none.
func token(body []byte, marker string) uint32 {
	if marker == "" {
		return 0
	}
	at := bytes.Index(body, []byte(marker))
	if at < 0 {
		return 0
	}
	end := at + len(marker)
	for end < len(body) && isTokenByte(body[end]) {
		end++
	}
	h := fnv.New32a()
	_, _ = h.Write(body[at:end])
	return h.Sum32()
}

func isTokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
}

// mark is a hash of what a message of EVENTS_NORMALIZED says, the same wherever it is seen. The body is part of it unless
// it is in an object: then a subscriber may have been handed that.
func (c *Checker) mark(m *Message) uint32 {
	var h maphash.Hash
	h.SetSeed(c.ids.seed)
	add := func(s string) {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	add(m.Subject)
	for _, name := range [...]string{headerSeq, headerID, headerCeID, headerRawSeq, headerRawSource, headerRawEvtSeq, headerReason,
		headerBodyObject, headerRedriven} {
		add(m.header(name))
	}
	if m.header(headerBodyObject) == "" {
		_, _ = h.Write(m.Body)
	}
	return uint32(h.Sum64())
}

// small is a sequence or a number as it is kept. All of them are kept in 32 bits.
func small(n uint64) (uint32, bool) { return uint32(n), n <= math.MaxUint32 }
