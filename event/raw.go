package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Raw is one event as its source gave it.
type Raw struct {
	ID     ID
	Hashed bool // ID is a hash of what came: the source gave none, or none that is text and its own
	// Time is the source's own time of the event where it is known without conversion, else zero.
	Time time.Time
	// Received is when the collector got it. The collector loop sets it where a source does not.
	Received time.Time
	// Format names what Body is ("ceilometer", "oslo"); the normalizer chooses its converter by it.
	Format      string
	ContentType string
	// Header has what else the source needs to say (exchange, routing key, traceparent). Names begin with "Evt-", but
	// for traceparent and tracestate, and are not those of the fields above; Message leaves others out. Values are any text.
	Header map[string]string
	// Body is the event verbatim.
	Body []byte
	// Backfill is the job that asked for the event again, "" for what came by itself.
	Backfill string
	// Repair, if set, says that this is no news.
	Repair *Repair
	// Was is the identity under which an earlier version of the source stored what the event came in, if it did. The collector
	// loop takes nothing again that is stored so. It is not kept.
	Was ID
}

// HashID is the identity of an event whose source gave none: a hash of its body.
func HashID(body []byte) ID {
	sum := sha256.Sum256(body)
	return ID(hex.EncodeToString(sum[:]))
}

// MaxID is the length in bytes of the longest ID. An event service that hands out longer ones must not be able to make
// a header that no server takes.
const MaxID = 512

// BoundID is the identity that a source's own id makes: the id itself, or its hash where it is longer than MaxID.
// BoundID(BoundID(id)) is BoundID(id).
func BoundID(id ID) ID {
	if len(id) <= MaxID {
		return id
	}
	return HashID([]byte(id))
}

// BodyRef names an object that holds a body that is too large for a message. The zero BodyRef names none.
type BodyRef struct {
	Object string // "sha256-<hex>"
	Size   int64
}

// NewBodyRef is the reference for body: the name is made of its SHA-256.
func NewBodyRef(body []byte) BodyRef {
	sum := sha256.Sum256(body)
	return BodyRef{Object: "sha256-" + hex.EncodeToString(sum[:]), Size: int64(len(body))}
}

// Message writes the raw event as a message of RAW. If ref is set, the body is left to the object it names. The ID is
// written as BoundID makes it.
func (r *Raw) Message(p Provider, s Source, seq Seq, ref BodyRef) Message {
	h := NewHeaders(10 + len(r.Header))
	h.Set(HeaderID, EncodeHeader(string(BoundID(r.ID))))
	if r.Hashed {
		h.Set(HeaderIDKind, "hash")
	}
	h.Set(HeaderSeq, strconv.FormatUint(uint64(seq), 10))
	h.Set(HeaderReceived, formatTime(r.Received))
	if !r.Time.IsZero() && inFourDigits(r.Time) {
		h.Set(HeaderTime, formatTime(r.Time))
	}
	if r.Format != "" {
		h.Set(HeaderFormat, EncodeHeader(r.Format))
	}
	if r.ContentType != "" {
		h.Set(HeaderContentType, EncodeHeader(r.ContentType))
	}
	if r.Backfill != "" {
		h.Set(HeaderBackfill, EncodeHeader(r.Backfill))
	}
	if r.Repair != nil {
		r.Repair.set(h)
	}
	for name, value := range r.Header {
		if sourceHeader(name) {
			h.Set(name, EncodeHeader(value))
		}
	}
	m := Message{Subject: RawSubject(p, s), Header: h.Header, Body: r.Body}
	if ref.Object != "" {
		SetBodyRef(&m, ref)
	}
	return m
}

// BodyRefOf returns the reference that a message carries in place of its body, or the zero BodyRef.
func BodyRefOf(h Header) BodyRef {
	return bodyRef(h.Get(HeaderBodyObject), h.Get(HeaderBodySize))
}

func bodyRef(object, size string) BodyRef {
	ref := BodyRef{Object: object}
	if size != "" {
		ref.Size, _ = strconv.ParseInt(size, 10, 64)
	}
	return ref
}

// SetBodyRef makes a message refer to an object in place of its body.
func SetBodyRef(m *Message, ref BodyRef) {
	m.Header.Set(HeaderBodyObject, ref.Object)
	m.Header.Set(HeaderBodySize, strconv.FormatInt(ref.Size, 10))
	m.Body = nil
}

// SetWatermark makes a raw message carry the source's watermark behind it.
func SetWatermark(m *Message, at time.Time) { m.Header.Set(HeaderWatermark, formatTime(at)) }

// StoredRaw is a raw event as RAW holds it.
type StoredRaw struct {
	Raw
	Provider  Provider
	Source    Source
	Seq       Seq       // Evt-Seq
	Sequence  StreamSeq // in RAW
	StoredAt  time.Time
	Watermark time.Time // the source's watermark behind this event, where it was the last of a batch
	BodyRef   BodyRef   // set while Body still has to be read from its object
}

// ParseRaw reads a message of RAW back. An error has the kind Invalid. It means that the message was not written by
// stackstream, and names the header, or, if it is a *NewerError, that a newer version has written it.
func ParseRaw(m Stored) (StoredRaw, error) {
	r := StoredRaw{Sequence: m.Sequence, StoredAt: m.Time}
	var of rawHeaders
	of.read(m.Header)
	if of.format != "" {
		if err := CheckFormat(m.Header); err != nil {
			return r, &Error{Kind: Invalid, Op: fmt.Sprintf("read raw message %d", m.Sequence), Err: err}
		}
	}
	var ok bool
	if r.Provider, r.Source, ok = SubjectProvider(m.Subject); !ok || !strings.HasPrefix(m.Subject, prefixRaw) {
		return r, invalidMessage(m, "subject", m.Subject)
	}
	seq, err := strconv.ParseUint(of.seq, 10, 64)
	if err != nil || seq == 0 {
		return r, invalidMessage(m, HeaderSeq, of.seq)
	}
	r.Seq = Seq(seq)
	r.ID = ID(DecodeHeader(of.id))
	if r.ID == "" {
		return r, invalidMessage(m, HeaderID, "")
	}
	r.Hashed = of.idKind == "hash"
	for _, t := range [...]struct {
		name, text string
		at         *time.Time
	}{
		{HeaderReceived, of.received, &r.Received}, {HeaderTime, of.time, &r.Time}, {HeaderWatermark, of.watermark, &r.Watermark},
	} {
		if t.text == "" {
			continue
		}
		if *t.at, err = time.Parse(time.RFC3339Nano, t.text); err != nil {
			return r, invalidMessage(m, t.name, t.text)
		}
	}
	if of.repair {
		if r.Repair, err = repairOf(m.Header); err != nil {
			return r, &Error{Kind: Invalid, Op: fmt.Sprintf("read raw message %d", m.Sequence), Err: err}
		}
	}
	r.Backfill = DecodeHeader(of.backfill)
	r.Format = DecodeHeader(of.body)
	r.ContentType = DecodeHeader(of.contentType)
	r.BodyRef = bodyRef(of.object, of.size)
	r.Body = m.Body
	r.Header = of.source
	return r, nil
}

// rawHeaders are the headers of a raw message, gone through once.
type rawHeaders struct {
	format                                                            string // of the message
	seq, id, idKind, received, time, watermark, backfill, contentType string
	body                                                              string // the format of the body
	object, size                                                      string
	repair                                                            bool
	source                                                            map[string]string // nil if there are none
}

func (of *rawHeaders) read(h Header) {
	for name, values := range h {
		value := ""
		if len(values) > 0 {
			value = values[0]
		}
		switch name {
		case HeaderMessageFormat:
			of.format = value
		case HeaderSeq:
			of.seq = value
		case HeaderID:
			of.id = value
		case HeaderIDKind:
			of.idKind = value
		case HeaderReceived:
			of.received = value
		case HeaderTime:
			of.time = value
		case HeaderWatermark:
			of.watermark = value
		case HeaderBackfill:
			of.backfill = value
		case HeaderFormat:
			of.body = value
		case HeaderContentType:
			of.contentType = value
		case HeaderBodyObject:
			of.object = value
		case HeaderBodySize:
			of.size = value
		case HeaderRedriven, HeaderDropped:
			of.repair = true
		default:
			if sourceHeader(name) {
				if of.source == nil {
					of.source = map[string]string{}
				}
				of.source[name] = DecodeHeader(value)
			}
		}
	}
}

func invalidMessage(m Stored, field, value string) error {
	return &Error{
		Kind: Invalid, Op: fmt.Sprintf("read raw message %d", m.Sequence),
		Err: fmt.Errorf("%s is %q", field, value),
	}
}

// sourceHeader tells the headers of the source from those that Raw and StoredRaw have fields for, those of the server,
// and what could not be a header.
func sourceHeader(name string) bool {
	switch name {
	case HeaderID, HeaderIDKind, HeaderSeq, HeaderReceived, HeaderTime, HeaderFormat, HeaderContentType,
		HeaderWatermark, HeaderBodyObject, HeaderBodySize, HeaderMessageFormat, HeaderBackfill, HeaderRedriven, HeaderDropped,
		HeaderBy, HeaderWhy:
		return false
	case HeaderTraceparent, HeaderTracestate:
		return true
	}
	if len(name) <= len("Evt-") || name[:len("Evt-")] != "Evt-" {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !plainInHeader(c) || c == ':' {
			return false
		}
	}
	return true
}

// inFourDigits tells whether RFC 3339 can write the year of t.
func inFourDigits(t time.Time) bool {
	y := t.UTC().Year()
	return y >= 0 && y <= 9999
}

func formatTime(t time.Time) string {
	if !inFourDigits(t) {
		t = time.Time{}
	}
	return t.UTC().Format(time.RFC3339Nano)
}
