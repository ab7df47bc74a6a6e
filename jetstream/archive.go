package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Archive knows what the streams have of a provider's events that EVENTS_RAW has dropped. It is safe for concurrent use.
type Archive struct{ c *Client }

// Archive is what the streams remember for longer than EVENTS_RAW.
func (c *Client) Archive() *Archive { return &Archive{c} }

// Identities calls yield for the identities of the events and dead letters that were stored at a time or later. Sequence is that
// of the raw event, in the RAW that was there then: it may have been made anew since, so that a sequence says nothing about whether
// the raw event is still there, and all of NORMALIZED is read. Time is zero where the canonical event may have another one than the
// raw event had. A canonical event whose identity is not that of its raw event has that, too; those of before there was such a
// header are known by their own alone.
//
// Bodies are not read, but all headers are: a million take some seconds.
func (a *Archive) Identities(ctx context.Context, p event.Provider, stored time.Time, yield func(event.Seen)) error {
	cursor, err := a.c.Normalized().readNormalizedCursor(ctx, p)
	if err != nil {
		return err
	}
	since := func(of func(event.Stored) event.Seen) func(event.Stored) error {
		return func(m event.Stored) error {
			if !m.Time.Before(stored) {
				yield(of(m))
			}
			return nil
		}
	}
	err = a.read(ctx, event.StreamNormalized, event.NormalizedSubject(p), cursor.Sequence, since(normalizedIdentity))
	if err != nil {
		return err
	}
	return a.read(ctx, event.StreamDead, event.DeadSubject(p), 0, since(deadIdentity))
}

func (a *Archive) read(ctx context.Context, stream, subject string, upTo event.StreamSeq, yield func(event.Stored) error) error {
	op := "read the identities in " + stream
	handle, err := a.c.stream(ctx, stream)
	if err != nil {
		return err
	}
	ctx, release := a.c.failOnRefusal(ctx, isConsumerRequest(stream))
	defer release()
	r := recollection{
		stream: handle, name: stream, reader: "archive", subject: subject, headersOnly: true, upTo: upTo, next: 1, yield: yield,
	}
	if err := r.run(ctx); err != nil {
		return readError(ctx, op, err)
	}
	return nil
}

func normalizedIdentity(m event.Stored) event.Seen {
	s := origin(m.Header)
	s.ID = event.ID(event.DecodeHeader(m.Header.Get("ce-id")))
	if own := m.Header.Get(event.HeaderID); own != "" {
		s.ID = event.ID(event.DecodeHeader(own))
	}
	// A mapping may take the time of an event from elsewhere than the collector takes the one it asks by.
	if !strings.HasPrefix(m.Header.Get(event.HeaderConverter), "http/") {
		s.Time, _ = time.Parse(time.RFC3339Nano, m.Header.Get("ce-time"))
	}
	return s
}

func deadIdentity(m event.Stored) event.Seen {
	s := origin(m.Header)
	s.ID = event.ID(event.DecodeHeader(m.Header.Get(event.HeaderID)))
	s.Time, _ = time.Parse(time.RFC3339Nano, m.Header.Get(event.HeaderTime))
	return s
}

// origin is the raw event that a message was made of.
func origin(h event.Header) event.Seen {
	sequence, _ := strconv.ParseUint(h.Get(event.HeaderRawSeq), 10, 64)
	seq, _ := strconv.ParseUint(h.Get(event.HeaderRawEvtSeq), 10, 64)
	return event.Seen{Source: event.Source(h.Get(event.HeaderRawSource)), Sequence: event.StreamSeq(sequence), Seq: event.Seq(seq)}
}

// Since is from when on the streams have everything of a provider that was ever collected, by the time at which it was; zero if
// they have all there was. What they have is in RAW, or else in NORMALIZED. A RAW that has all its numbers has all there was only
// as long as NORMALIZED does not know of more: there may have been another one before. What was collected under a former name is not
// the provider's: it counts as what the streams do not have.
func (a *Archive) Since(ctx context.Context, p event.Provider) (time.Time, error) {
	renamed, err := a.renamed(ctx, p)
	if err != nil {
		return time.Time{}, err
	}
	since, err := a.since(ctx, p)
	return laterTime(since, renamed), err
}

// renamed is when a provider took over from one of another name; zero if it did not.
func (a *Archive) renamed(ctx context.Context, p event.Provider) (last time.Time, err error) {
	err = a.c.eachMessage(ctx, event.StreamRaw, event.RawCommandsSubject(p, ""), func(m event.Stored) error {
		var done event.Command
		var choice event.Choice
		if err := event.DecodeRecord(m, &done); err != nil {
			return err
		}
		if done.Verb == event.VerbRename && json.Unmarshal(done.After, &choice) == nil && choice.Renamed() == "" {
			last = laterTime(last, done.At)
		}
		return nil
	})
	return last, err
}

// since does not know of former names.
func (a *Archive) since(ctx context.Context, p event.Provider) (time.Time, error) {
	cursors, err := a.c.Memory().Cursors(ctx, p)
	if err != nil {
		return time.Time{}, err
	}
	info, err := a.c.streamInfo(ctx, event.StreamRaw, event.RawSubjects(p))
	if err != nil {
		return time.Time{}, err
	}
	done, err := a.c.NormalizedCursor(ctx, p)
	if err != nil {
		return time.Time{}, err
	}
	var newest time.Time
	whole := true
	for source, c := range cursors {
		whole = whole && info.State.Subjects[event.RawSubject(p, source)] >= uint64(c.Position)
		newest = laterTime(newest, c.Received)
	}
	for _, at := range done.Sources {
		newest = laterTime(newest, at.Received)
	}
	raw, inRaw, err := a.first(ctx, event.StreamRaw, event.RawSubjects(p))
	if err != nil {
		return time.Time{}, err
	}
	normalized, inNormalized, err := a.firstNormalized(ctx, p)
	switch {
	case err != nil:
		return time.Time{}, err
	case whole && done.Position == 0:
		return time.Time{}, nil
	case inNormalized && normalized.Header.Get(event.HeaderSeq) == "1":
		return time.Time{}, nil
	case inNormalized && inRaw && normalized.Time.Before(raw.Time):
		return normalized.Time, nil
	case inRaw:
		return raw.Time, nil
	case inNormalized:
		return normalized.Time, nil
	}
	return newest, nil // all is gone: nothing later was collected
}

// firstNormalized is the oldest event or dead letter of a provider in NORMALIZED.
func (a *Archive) firstNormalized(ctx context.Context, p event.Provider) (event.Stored, bool, error) {
	e, isEvent, err := a.first(ctx, event.StreamNormalized, event.NormalizedSubject(p))
	if err != nil {
		return event.Stored{}, false, err
	}
	dead, isDead, err := a.first(ctx, event.StreamNormalized, event.DeadSubject(p))
	if err != nil || !isDead || isEvent && e.Sequence < dead.Sequence {
		return e, isEvent, err
	}
	return dead, true, nil
}

// first is the oldest message of a stream on the subjects that filter matches.
func (a *Archive) first(ctx context.Context, stream, filter string) (event.Stored, bool, error) {
	handle, err := a.c.stream(ctx, stream)
	if err != nil {
		return event.Stored{}, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	m, err := handle.GetMsg(ctx, 1, natsjs.WithGetMsgSubject(filter))
	switch {
	case errors.Is(err, natsjs.ErrMsgNotFound):
		return event.Stored{}, false, nil
	case err != nil:
		return event.Stored{}, false, readError(ctx, "read the oldest message of "+stream, err)
	}
	return event.Stored{
		Message:  event.Message{Subject: m.Subject, Header: event.Header(m.Header)},
		Sequence: event.StreamSeq(m.Sequence), Time: m.Time,
	}, true, nil
}

func laterTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
