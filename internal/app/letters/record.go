package letters

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"stackstream/event"
)

// Record is a dead letter for programs: a line of an export, and what show --json prints.
type Record struct {
	Provider  event.Provider `json:"provider"`
	Number    event.Seq      `json:"number"`
	StoredAt  time.Time      `json:"stored_at"`
	State     string         `json:"state"`
	Reason    event.Reason   `json:"reason"`
	Detail    string         `json:"detail"`
	Converter string         `json:"converter,omitempty"`
	ID        event.ID       `json:"id"`
	Hashed    bool           `json:"hashed,omitempty"` // the id is a hash of the body
	Source    event.Source   `json:"source,omitempty"`
	Format    string         `json:"format,omitempty"`
	// ContentType is that of the body.
	ContentType string    `json:"content_type,omitempty"`
	Received    time.Time `json:"received,omitzero"`
	Time        time.Time `json:"time,omitzero"` // the source's, where it was known without conversion
	Backfill    string    `json:"backfill,omitempty"`
	// Redriven is the letter that this one was made of when By had that converted again, and Why.
	Redriven event.Seq `json:"redriven,omitempty"`
	By       string    `json:"by,omitempty"`
	Why      string    `json:"why,omitempty"`
	// Made is the raw event that the letter was made of, Origin the one that the source gave.
	Made   event.RawPlace `json:"raw"`
	Origin event.RawPlace `json:"origin"`
	// In is where the letter is.
	In map[string]event.StreamSeq `json:"in"`
	// States is what became of it, the newest last.
	States []event.LetterState `json:"states,omitempty"`
	Size   int64               `json:"size"`
	// Headers are as they are stored: values are percent-encoded.
	Headers map[string]string `json:"headers"`

	Body Body `json:"-"`
}

// Body is the body of a letter.
type Body struct {
	Bytes []byte
	// Lost says why there is none.
	Lost error
	// Unread: nobody asked for it.
	Unread bool
}

// plain is a Record without its methods.
type plain Record

// MarshalJSON writes the body as "body" where it is text, and as "body_base64" where it is not; either gives back its bytes. One
// that is gone is "body_lost".
func (r Record) MarshalJSON() ([]byte, error) {
	out := struct {
		plain
		Body   *string `json:"body,omitempty"`
		Base64 *string `json:"body_base64,omitempty"`
		Lost   string  `json:"body_lost,omitempty"`
	}{plain: plain(r)}
	switch {
	case r.Body.Unread:
	case r.Body.Lost != nil:
		out.Lost = r.Body.Lost.Error()
	case utf8.Valid(r.Body.Bytes):
		text := string(r.Body.Bytes)
		out.Body = &text
	default:
		text := base64.StdEncoding.EncodeToString(r.Body.Bytes)
		out.Base64 = &text
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads back what MarshalJSON writes.
func (r *Record) UnmarshalJSON(text []byte) error {
	in := struct {
		*plain
		Body   *string `json:"body"`
		Base64 *string `json:"body_base64"`
		Lost   string  `json:"body_lost"`
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	switch {
	case in.Body != nil:
		r.Body.Bytes = []byte(*in.Body)
	case in.Base64 != nil:
		bytes, err := base64.StdEncoding.DecodeString(*in.Base64)
		if err != nil {
			return fmt.Errorf("body_base64: %w", err)
		}
		r.Body.Bytes = bytes
	case in.Lost != "":
		r.Body.Lost = fmt.Errorf("%s", in.Lost)
	default:
		r.Body.Unread = true
	}
	return nil
}

// NewRecord makes a record of a letter that has no body at hand.
func NewRecord(l *event.Letter, state string) Record {
	r := Record{
		Provider: l.Provider, Number: l.Number, StoredAt: l.StoredAt.UTC(), State: state, Reason: l.Reason, Detail: l.Detail,
		Converter: l.Converter, ID: l.ID, Hashed: l.Hashed, Source: l.Origin.Source, Format: l.Format, ContentType: l.ContentType,
		Received: l.Received, Time: l.Time, Backfill: l.Backfill, Made: l.Made, Origin: l.Origin, Size: l.Size,
		In: map[string]event.StreamSeq{l.Stream: l.Sequence}, Headers: map[string]string{}, Body: Body{Unread: true},
	}
	if l.Repair != nil {
		r.Redriven, r.By, r.Why = l.Repair.Letter, l.Repair.By, l.Repair.Why
	}
	for name := range l.Stored {
		r.Headers[name] = l.Stored.Get(name)
	}
	return r
}

// historyOf is of how many letters the history is in memory at a time: it has to be read from its beginning each time.
const historyOf = 100_000

// Records makes records of letters with their bodies. copied tells where a letter of EVENTS_DEAD is in EVENTS_NORMALIZED.
func (p *Provider) Records(
	ctx context.Context, places []Place, copied func(event.Header) event.StreamSeq, yield func(*Record) error,
) error {
	for some := range slices.Chunk(places, historyOf) {
		var states map[event.Seq][]event.LetterState
		err := p.patiently(ctx, func() (err error) {
			states, err = p.history(ctx, some)
			return err
		})
		if err != nil {
			return err
		}
		err = p.Whole(ctx, some, func(chunk []Whole) error {
			for i := range chunk {
				l := &chunk[i]
				state, _ := p.book.State(l.Number)
				r := NewRecord(&l.Letter, state)
				if at := copied(l.Stored); at > 0 {
					r.In[event.StreamNormalized] = at
				}
				r.States = states[l.Number]
				r.Body = Body{Bytes: l.Body, Lost: l.Lost}
				if err := yield(&r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// history has all that became of letters. It reads it only where the book knows of any.
func (p *Provider) history(ctx context.Context, places []Place) (map[event.Seq][]event.LetterState, error) {
	found := map[event.Seq][]event.LetterState{}
	for _, at := range places {
		if p.book.recorded(at.Number) {
			found[at.Number] = nil
		}
	}
	if len(found) == 0 {
		return found, nil
	}
	err := p.Streams.States(ctx, p.Name, func(s event.LetterState) error {
		if of, wanted := found[s.Letter]; wanted {
			found[s.Letter] = append(of, s)
		}
		return nil
	})
	return found, err
}
