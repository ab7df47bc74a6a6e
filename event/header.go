package event

import (
	"fmt"
	"strings"
)

// Header names of raw and normalized messages. Values are written with EncodeHeader.
const (
	HeaderID          = "Evt-Id"           // the source's id
	HeaderIDKind      = "Evt-Id-Kind"      // "hash" where the source gave none; absent otherwise
	HeaderSeq         = "Evt-Seq"          // Seq
	HeaderReceived    = "Evt-Received"     // when the collector got it, RFC 3339
	HeaderTime        = "Evt-Time"         // the source's time, RFC 3339, where known before conversion
	HeaderFormat      = "Evt-Format"       // what the body is, for the choice of converter
	HeaderContentType = "Evt-Content-Type" // of the body
	HeaderWatermark   = "Evt-Watermark"    // on the last event of a batch: the source's watermark behind it
	HeaderBodyObject  = "Evt-Body-Object"  // the object that holds the whole body; the message has none of it
	HeaderBodySize    = "Evt-Body-Size"    // bytes of that object
	HeaderAllObject   = "Evt-All-Headers"  // the object that holds all headers as JSON, where they were too large to keep
	HeaderRawSeq      = "Evt-Raw-Seq"      // StreamSeq in RAW of what this was made from
	HeaderRawSource   = "Evt-Raw-Source"   // Source it came through
	HeaderRawEvtSeq   = "Evt-Raw-Evt-Seq"  // Seq it has in RAW
	HeaderConverter   = "Evt-Converter"    // name/version of the converter
	HeaderRedacted    = "Evt-Redacted"     // number of fields whose value was redacted; absent when 0
	HeaderMended      = "Evt-Mended"       // number of values that were no JSON (NaN, Infinity, no UTF-8); absent when 0
	HeaderReason      = "Evt-Reason"       // of a dead letter: one word for counting
	HeaderDetail      = "Evt-Detail"       // of a dead letter: the error
	HeaderRedriven    = "Evt-Redriven"     // marks an event that was a dead letter before: the number of that
	HeaderDropped     = "Evt-Dropped"      // in RAW: the number of the dead letter that is to stay dead
	HeaderBy          = "Evt-By"           // in RAW: who did that
	HeaderWhy         = "Evt-Why"          // in RAW: and why
	HeaderBackfill    = "Evt-Backfill"     // marks an event that a backfill added: the job's name
	HeaderTraceparent = "traceparent"      // W3C trace context, where the source had one
	HeaderTracestate  = "tracestate"       // what belongs to it

	// Of what was made of a dead letter: the raw event that the letter was made of first, as Evt-Raw-Seq and so on have it.
	HeaderOriginSeq    = "Evt-Origin-Seq"
	HeaderOriginSource = "Evt-Origin-Source"
	HeaderOriginEvtSeq = "Evt-Origin-Evt-Seq"

	HeaderMessageFormat = "Evt-Message-Format" // the format of the message itself, see the package comment; absent when 1
)

// Header is a message's headers. Names keep their case; a name has one value here.
type Header map[string][]string

// Get returns the value of name, or "".
func (h Header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set gives name its one value.
func (h Header) Set(name, value string) { h[name] = []string{value} }

// Headers builds a Header whose size is known, with few allocations.
type Headers struct {
	Header Header
	values []string
}

// NewHeaders makes room for n headers. More may be set.
func NewHeaders(n int) *Headers {
	return &Headers{Header: make(Header, n), values: make([]string, 0, n)}
}

// Set gives name its one value.
func (h *Headers) Set(name, value string) {
	h.values = append(h.values, value)
	n := len(h.values)
	h.Header[name] = h.values[n-1 : n : n]
}

// EncodeHeader makes any text safe as a header value, by the rule of the CloudEvents NATS and HTTP bindings: space,
// double quote, percent and everything outside printable ASCII are percent-encoded as UTF-8 bytes.
// DecodeHeader(EncodeHeader(s)) is s for every s.
func EncodeHeader(s string) string {
	i := 0
	for i < len(s) && plainInHeader(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
		if plainInHeader(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

func plainInHeader(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }

// DecodeHeader reverses EncodeHeader. A percent sign that begins no escape stands for itself.
func DecodeHeader(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}
