package event

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Letter is a dead letter as a stream holds it: a raw event that could not be converted, and what is said about it.
type Letter struct {
	// Raw is the raw event; its Body is nil where it was not read or is in an object. Its Repair says that the letter was
	// made of another one that was converted again.
	Raw
	Provider Provider
	// Number is the Evt-Seq that names the letter.
	Number Seq
	DeadLetter
	Converter string
	// Made is the raw event that the letter was made of, Origin the one that a source gave: they differ where a letter was
	// converted again. What is not known is zero.
	Made, Origin RawPlace
	BodyRef      BodyRef
	// Size is how many bytes the body has.
	Size int64
	// Stored are the headers as they are stored.
	Stored Header
	// Stream holds the letter at Sequence since StoredAt.
	Stream   string
	Sequence StreamSeq
	StoredAt time.Time
}

// RawPlace says where a raw event is in RAW.
type RawPlace struct {
	Source   Source    `json:"source,omitempty"`
	Seq      Seq       `json:"seq,omitempty"`
	Sequence StreamSeq `json:"sequence,omitempty"`
}

// ParseLetter reads a message on a provider's subject of dead letters. Of what it says only the number must be right: a dead
// letter may be a message that stackstream did not write. An error has the kind Invalid; it is a *NewerError below that if a
// newer version has written the message.
func ParseLetter(m Stored) (Letter, error) {
	l := Letter{Stored: m.Header, Sequence: m.Sequence, StoredAt: m.Time}
	invalid := func(err error) (Letter, error) {
		return l, &Error{Kind: Invalid, Op: fmt.Sprintf("read dead letter %d on %s", m.Sequence, m.Subject), Err: err}
	}
	var ok bool
	if l.Provider, _, ok = SubjectProvider(m.Subject); !ok || !strings.HasPrefix(m.Subject, prefixDead) {
		return invalid(fmt.Errorf("subject is %q", m.Subject))
	}
	if err := CheckFormat(m.Header); err != nil {
		return invalid(err)
	}
	if l.Number = Seq(numberIn(m.Header, HeaderSeq)); l.Number == 0 {
		return invalid(fmt.Errorf("%s is %q", HeaderSeq, m.Header.Get(HeaderSeq)))
	}
	l.read(m.Header)
	l.Body = m.Body
	l.BodyRef = BodyRefOf(m.Header)
	l.Size = int64(len(m.Body))
	if l.BodyRef.Object != "" {
		l.Size = l.BodyRef.Size
	}
	return l, nil
}

// WithHeaders returns the letter with the headers of which the message had no room for all. Those of the message count.
func (l Letter) WithHeaders(all Header) Letter {
	merged := make(Header, len(all)+len(l.Stored))
	for name, values := range all {
		merged[name] = values
	}
	for name, values := range l.Stored {
		merged[name] = values
	}
	l.read(merged)
	l.Stored = merged
	return l
}

// read reads everything but the number and the body.
func (l *Letter) read(h Header) {
	l.ID = ID(DecodeHeader(h.Get(HeaderID)))
	l.Hashed = h.Get(HeaderIDKind) == "hash"
	l.Time, _ = time.Parse(time.RFC3339Nano, h.Get(HeaderTime))
	l.Received, _ = time.Parse(time.RFC3339Nano, h.Get(HeaderReceived))
	l.Format = DecodeHeader(h.Get(HeaderFormat))
	l.ContentType = DecodeHeader(h.Get(HeaderContentType))
	l.Backfill = DecodeHeader(h.Get(HeaderBackfill))
	l.Reason = Reason(DecodeHeader(h.Get(HeaderReason)))
	l.Detail = DecodeHeader(h.Get(HeaderDetail))
	l.Converter = DecodeHeader(h.Get(HeaderConverter))
	l.Made = placeIn(h, HeaderRawSource, HeaderRawEvtSeq, HeaderRawSeq)
	l.Origin = l.Made
	l.Repair = nil
	if l.Made.Source == SourceRedrive {
		l.Repair, _ = repairOf(h)
		l.Origin = placeIn(h, HeaderOriginSource, HeaderOriginEvtSeq, HeaderOriginSeq)
	}
	l.Header = nil
	for name := range h {
		if sourceHeader(name) && !letterHeader(name) {
			if l.Header == nil {
				l.Header = map[string]string{}
			}
			l.Header[name] = DecodeHeader(h.Get(name))
		}
	}
}

// Again is the raw event that has the letter converted again, or dropped. body is the letter's, whole; what is dropped needs
// none.
func (l *Letter) Again(drop bool, by, why string, body []byte) Raw {
	raw := l.Raw
	raw.Body = body
	if raw.ID == "" {
		raw.ID, raw.Hashed = HashID(body), true
	}
	if drop {
		raw.Body, raw.Header = nil, nil
	}
	raw.Repair = &Repair{
		Letter: l.Number, Drop: drop, By: by, Why: why,
		Source: l.Origin.Source, Seq: l.Origin.Seq, Sequence: l.Origin.Sequence,
	}
	return raw
}

// letterHeader tells the headers that a dead letter has besides those of its raw event.
func letterHeader(name string) bool {
	switch name {
	case HeaderRawSource, HeaderRawSeq, HeaderRawEvtSeq, HeaderOriginSource, HeaderOriginSeq, HeaderOriginEvtSeq,
		HeaderReason, HeaderDetail, HeaderConverter, HeaderAllObject:
		return true
	}
	return false
}

// placeIn reads the headers with these names.
func placeIn(h Header, source, seq, sequence string) RawPlace {
	p := RawPlace{Seq: Seq(numberIn(h, seq)), Sequence: StreamSeq(numberIn(h, sequence))}
	if s := h.Get(source); checkToken(s) == nil {
		p.Source = Source(s)
	}
	return p
}

// numberIn is the number that a header has, 0 if it has none.
func numberIn(h Header, name string) uint64 {
	n, _ := strconv.ParseUint(h.Get(name), 10, 64)
	return n
}
