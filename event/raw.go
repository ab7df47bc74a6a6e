package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// Raw is one event as its source gave it.
type Raw struct {
	ID     ID
	Hashed bool // ID is a hash of the body: the source gave none
	// Time is the source's own time of the event where it is known without conversion, else zero.
	Time time.Time
	// Received is when the collector got it. The collector loop sets it where a source does not.
	Received time.Time
	// Format names what Body is ("ceilometer", "oslo"); the normalizer chooses its converter by it.
	Format      string
	ContentType string
	// Header has what else the source needs to say (exchange, routing key, traceparent). Names begin with "Evt-", but
	// for traceparent. Values are any text.
	Header map[string]string
	// Body is the event verbatim.
	Body []byte
}

// HashID is the identity of an event whose source gave none: a hash of its body.
func HashID(body []byte) ID {
	sum := sha256.Sum256(body)
	return ID(hex.EncodeToString(sum[:]))
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

// Message writes the raw event as a message of RAW. If ref is set, the body is left to the object it names.
func (r *Raw) Message(p Provider, s Source, seq Seq, ref BodyRef) Message {
	h := make(Header, 8+len(r.Header))
	h.Set(HeaderID, EncodeHeader(string(r.ID)))
	if r.Hashed {
		h.Set(HeaderIDKind, "hash")
	}
	h.Set(HeaderSeq, strconv.FormatUint(uint64(seq), 10))
	h.Set(HeaderReceived, formatTime(r.Received))
	if !r.Time.IsZero() {
		h.Set(HeaderTime, formatTime(r.Time))
	}
	if r.Format != "" {
		h.Set(HeaderFormat, EncodeHeader(r.Format))
	}
	if r.ContentType != "" {
		h.Set(HeaderContentType, EncodeHeader(r.ContentType))
	}
	for name, value := range r.Header {
		h.Set(name, EncodeHeader(value))
	}
	m := Message{Subject: RawSubject(p, s), Header: h, Body: r.Body}
	if ref.Object != "" {
		ref.set(h)
		m.Body = nil
	}
	return m
}

func (b BodyRef) set(h Header) {
	h.Set(HeaderBodyObject, b.Object)
	h.Set(HeaderBodySize, strconv.FormatInt(b.Size, 10))
}

// BodyRefOf returns the reference that a message carries in place of its body, or the zero BodyRef.
func BodyRefOf(h Header) BodyRef {
	size, _ := strconv.ParseInt(h.Get(HeaderBodySize), 10, 64)
	return BodyRef{Object: h.Get(HeaderBodyObject), Size: size}
}

// SetBodyRef makes a message refer to an object in place of its body.
func SetBodyRef(m *Message, ref BodyRef) {
	ref.set(m.Header)
	m.Body = nil
}

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

// ParseRaw reads a message of RAW back. An error means that the message was not written by stackstream: it has the kind
// Invalid and names the header.
func ParseRaw(m Stored) (StoredRaw, error) {
	r := StoredRaw{Sequence: m.Sequence, StoredAt: m.Time}
	var ok bool
	if r.Provider, r.Source, ok = SubjectProvider(m.Subject); !ok || r.Source == "" {
		return r, invalidMessage(m, "subject", m.Subject)
	}
	seq, err := strconv.ParseUint(m.Header.Get(HeaderSeq), 10, 64)
	if err != nil || seq == 0 {
		return r, invalidMessage(m, HeaderSeq, m.Header.Get(HeaderSeq))
	}
	r.Seq = Seq(seq)
	r.ID = ID(DecodeHeader(m.Header.Get(HeaderID)))
	if r.ID == "" {
		return r, invalidMessage(m, HeaderID, "")
	}
	r.Hashed = m.Header.Get(HeaderIDKind) == "hash"
	for name, at := range map[string]*time.Time{
		HeaderReceived: &r.Received, HeaderTime: &r.Time, HeaderWatermark: &r.Watermark,
	} {
		text := m.Header.Get(name)
		if text == "" {
			continue
		}
		if *at, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return r, invalidMessage(m, name, text)
		}
	}
	r.Format = DecodeHeader(m.Header.Get(HeaderFormat))
	r.ContentType = DecodeHeader(m.Header.Get(HeaderContentType))
	r.BodyRef = BodyRefOf(m.Header)
	r.Body = m.Body
	for name := range m.Header {
		if !ownRawHeader(name) {
			if r.Header == nil {
				r.Header = map[string]string{}
			}
			r.Header[name] = DecodeHeader(m.Header.Get(name))
		}
	}
	return r, nil
}

func invalidMessage(m Stored, field, value string) error {
	return &Error{
		Kind: Invalid, Op: fmt.Sprintf("read raw message %d", m.Sequence),
		Err: fmt.Errorf("%s is %q", field, value),
	}
}

// ownRawHeader tells the headers that StoredRaw has fields for, and those of the server, from those of the source.
func ownRawHeader(name string) bool {
	switch name {
	case HeaderID, HeaderIDKind, HeaderSeq, HeaderReceived, HeaderTime, HeaderFormat, HeaderContentType,
		HeaderWatermark, HeaderBodyObject, HeaderBodySize:
		return true
	}
	return len(name) < 4 || (name[:4] != "Evt-" && name != HeaderTraceparent)
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
