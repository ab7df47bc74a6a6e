// Package letters selects dead letters and has something done about them: converts them again, or drops them.
//
// What is done about a letter goes through RAW, as a raw event of the source "redrive" that says which letter is meant, and
// the normalizer does it in the order of RAW. So it is done exactly once, and whoever asked for it may be gone by then. A
// letter is sent at most once: before something is sent, it is known which letters RAW has already, and about which the
// normalizer has recorded what became of them; and the cursor of the source refuses what is sent by somebody who does not
// know the newest. A letter that could not be converted again is a new letter, and that one may be sent.
package letters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"stackstream/event"
)

// Streams reads dead letters and what was done about them.
type Streams interface {
	// Each hands over every letter of a provider in order, without its body.
	Each(ctx context.Context, p event.Provider, yield func(event.Letter) error) error
	// States hands over what became of letters, in order.
	States(ctx context.Context, p event.Provider, yield func(event.LetterState) error) error
	// Sent hands over what RAW holds of the source "redrive" from a stream sequence on, at least up to another.
	Sent(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.StoredRaw) error) error
	// Whole hands over letters of one stream with their bodies from a stream sequence on, until yield returns false.
	Whole(ctx context.Context, p event.Provider, stream string, from event.StreamSeq, yield func(event.Letter) bool) error
	// Normalized is how far the provider is normalized.
	Normalized(ctx context.Context, p event.Provider) (event.NormalizedCursor, error)
}

// Writer writes raw events of the source "redrive" of a provider.
type Writer interface {
	Open(ctx context.Context) (event.RawCursor, error)
	Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error)
}

// Bodies reads what was too large for a message.
type Bodies interface {
	// GetBody returns an object's content. One that is gone is event.Expired.
	GetBody(ctx context.Context, ref event.BodyRef) ([]byte, error)
}

// Provider has the dead letters of one provider.
type Provider struct {
	Name    event.Provider
	Streams Streams
	Bodies  Bodies
	// Again, if set, is asked about an error that may pass, and makes a pause: nil means that it is to be tried again.
	Again func(ctx context.Context, err error) error

	book *Book
}

// patiently does f until it works or Again gives up. f may have done a part of it before.
func (p *Provider) patiently(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || p.Again == nil || event.KindOf(err) != event.Unavailable {
			return err
		}
		if err = p.Again(ctx, err); err != nil {
			return err
		}
	}
}

// Read reads what was done about the letters. It must be called before all else.
func (p *Provider) Read(ctx context.Context) error {
	return p.patiently(ctx, func() error {
		p.book = NewBook()
		err := p.Streams.Sent(ctx, p.Name, 0, 0, func(raw event.StoredRaw) error {
			p.book.Sent(raw.Repair.Letter, raw.Repair.Drop)
			return nil
		})
		if err != nil {
			return err
		}
		return p.states(ctx)
	})
}

// states takes what became of the letters.
func (p *Provider) states(ctx context.Context) error {
	return p.Streams.States(ctx, p.Name, func(s event.LetterState) error {
		p.book.Became(s)
		return nil
	})
}

// errEnough ends a reading that has what it wants.
var errEnough = errors.New("enough")

// Each calls yield with the letters that the filter wants, once each, without their bodies, and with the state of each.
func (p *Provider) Each(ctx context.Context, f *Filter, yield func(l *event.Letter, state string) error) error {
	type identity struct {
		number event.Seq
		made   event.RawPlace
	}
	var last identity // yielded
	began := false
	return p.patiently(ctx, func() error {
		passed := !began
		err := p.each(ctx, f, func(l *event.Letter, state string) error {
			id := identity{l.Number, l.Made}
			if !passed {
				passed = id == last
				return nil
			}
			if err := yield(l, state); err != nil {
				return err
			}
			last, began = id, true
			return nil
		})
		if err == nil && !passed {
			return fmt.Errorf("letter %d of %s, which was read last, is not there any more: run it again", last.number, p.Name)
		}
		return err
	})
}

// each is Each that gives up when the server is away.
func (p *Provider) each(ctx context.Context, f *Filter, yield func(l *event.Letter, state string) error) error {
	taken := uint64(0)
	err := p.Streams.Each(ctx, p.Name, func(l event.Letter) error {
		state, _ := p.book.State(l.Number)
		if !f.Wants(&l) || f.State != "" && f.State != state {
			return nil
		}
		if err := yield(&l, state); err != nil {
			return err
		}
		if taken++; taken == f.Limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// Place says where a letter is.
type Place struct {
	Number   event.Seq
	Stream   string
	Sequence event.StreamSeq
}

// PlaceOf is the place of a letter.
func PlaceOf(l *event.Letter) Place { return Place{l.Number, l.Stream, l.Sequence} }

const (
	// chunkLetters and chunkBytes (of bodies) are what is read at once: what makes one batch.
	chunkLetters = 500
	chunkBytes   = 1 << 20
)

// Whole is a letter with its body and all its headers.
type Whole struct {
	event.Letter
	// Lost says why there is no body.
	Lost error
}

// Whole reads letters, which must be in order, with their bodies, a chunk at a time: as many as there are in a batch. Those that
// are gone meanwhile are left out. An error of yield ends it.
func (p *Provider) Whole(ctx context.Context, places []Place, yield func([]Whole) error) error {
	for len(places) > 0 {
		var chunk []Whole
		var n int
		err := p.patiently(ctx, func() (err error) {
			chunk, n, err = p.chunk(ctx, places)
			return err
		})
		if err != nil {
			return err
		}
		if err := yield(chunk); err != nil {
			return err
		}
		places = places[n:]
	}
	return nil
}

// chunk reads the first letters of places, and says how many places it has dealt with.
func (p *Provider) chunk(ctx context.Context, places []Place) (chunk []Whole, n int, err error) {
	stream, bytes := places[0].Stream, int64(0)
	full := func() bool {
		return n == len(places) || places[n].Stream != stream || n == chunkLetters || bytes >= chunkBytes
	}
	err = p.Streams.Whole(ctx, p.Name, stream, places[0].Sequence, func(l event.Letter) bool {
		for !full() && places[n].Sequence < l.Sequence {
			n++ // gone
		}
		if !full() && places[n].Sequence == l.Sequence {
			if len(chunk) > 0 && bytes+l.Size > chunkBytes {
				bytes = chunkBytes
				return false
			}
			bytes += l.Size
			n++
			chunk = append(chunk, Whole{Letter: l})
		}
		return !full()
	})
	if err != nil {
		return nil, 0, err
	}
	for len(chunk) == 0 && !full() {
		n++ // the stream ends before it
	}
	for i := range chunk {
		if err := p.complete(ctx, &chunk[i]); err != nil {
			return nil, 0, err
		}
	}
	return chunk, max(n, 1), nil
}

// maxNested is how often all headers may be found to be too large, each time with the name of the object before among them.
const maxNested = 4

// headers fetches the headers that the message had no room for.
func (p *Provider) headers(ctx context.Context, l *Whole) error {
	name := l.Stored.Get(event.HeaderAllObject)
	for range maxNested {
		if name == "" {
			return nil
		}
		text, err := p.Bodies.GetBody(ctx, event.BodyRef{Object: name})
		if event.KindOf(err) == event.Expired {
			return nil // what the message has is what there is
		}
		if err != nil {
			return fmt.Errorf("headers of letter %d: %w", l.Number, err)
		}
		var all event.Header
		if err := json.Unmarshal(text, &all); err != nil {
			return nil //nolint:nilerr // no headers: likewise
		}
		l.Letter = l.WithHeaders(all)
		if inner := all.Get(event.HeaderAllObject); inner != name {
			name = inner
		} else {
			name = ""
		}
	}
	return nil
}

// complete fetches what is in objects.
func (p *Provider) complete(ctx context.Context, l *Whole) error {
	if err := p.headers(ctx, l); err != nil {
		return err
	}
	if l.BodyRef.Object == "" {
		if l.Reason == event.ReasonBodyLost && len(l.Body) == 0 {
			l.Lost = errors.New("its body was lost before it was normalized")
		}
		return nil
	}
	body, err := p.Bodies.GetBody(ctx, l.BodyRef)
	if event.KindOf(err) == event.Expired {
		l.Lost = err
		return nil
	}
	if err != nil {
		return fmt.Errorf("body of letter %d: %w", l.Number, err)
	}
	l.Body = body
	return nil
}
