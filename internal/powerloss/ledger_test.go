package powerloss

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/event"
	"stackstream/jetstream"
)

// ledger is what the streams hold, read from outside.
type ledger struct {
	client                *jetstream.Client
	raw, normalized, dead []event.Stored
	bodies                map[string][]byte // those of objects that were read before
}

func (l *ledger) read(ctx context.Context) error {
	for stream, into := range map[string]*[]event.Stored{
		event.StreamRaw: &l.raw, event.StreamNormalized: &l.normalized, event.StreamDead: &l.dead,
	} {
		var err error
		if *into, err = readStream(ctx, l.client.Conn(), stream); err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
	}
	return nil
}

// readStream reads all that a stream holds by asking for it directly, which leaves no trace in the store.
func readStream(ctx context.Context, nc *nats.Conn, stream string) ([]event.Stored, error) {
	var all []event.Stored
	inbox := nc.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answers.Unsubscribe() }()
	for next, more := uint64(1), true; more; {
		ask := fmt.Sprintf(`{"seq":%d,"batch":1000,"next_by_subj":">"}`, next)
		if err := nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, []byte(ask)); err != nil {
			return nil, err
		}
		for {
			m, err := answers.NextMsgWithContext(ctx)
			if err != nil {
				return nil, err
			}
			if status := m.Header.Get("Status"); status == "404" {
				return all, nil
			} else if status == "204" {
				more = m.Header.Get("Nats-Num-Pending") != "0"
				break
			} else if status != "" {
				return nil, fmt.Errorf("the server answers %s %s", status, m.Header.Get("Description"))
			}
			seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
			if err != nil {
				return nil, err
			}
			at, _ := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
			all = append(all, event.Stored{
				Message:  event.Message{Subject: m.Header.Get("Nats-Subject"), Header: event.Header(m.Header), Body: m.Data},
				Sequence: event.StreamSeq(seq), Time: at,
			})
			next = seq + 1
		}
	}
	return all, nil
}

// errHole says that a batch which nobody was told to be durable is there without its first events. nats-server (2.15.2)
// writes the messages of an atomic batch into the stream before it syncs any of them. If the batch goes on in a new file,
// and the disk has what was written there but not all that was written to the file before, the server finds a last
// message that belongs to a batch, adds what comes after that, and misses nothing. Nothing that was acknowledged is lost by
// it, and the normalizer stops at the hole and says so.
var errHole = errors.New("a batch that was not acknowledged has lost its beginning")

// owed is what a provider's event service has been promised.
type owed struct {
	raw        int       // so many events were acknowledged
	normalized event.Seq // so many were known to be normalized
}

// check finds fault unless the streams have, of each provider, the first events in order and once, as many as are owed at
// least, with cursors that say just that.
func (l *ledger) check(ctx context.Context, s *scene, debts map[event.Provider]owed) error {
	if err := l.read(ctx); err != nil {
		return err
	}
	var all []error
	var hole error
	for _, p := range s.providers {
		n, err := l.checkRaw(ctx, p, s.events[p], debts[p].raw)
		if err == nil {
			err = l.checkNormalized(ctx, p, s.events[p][:n], debts[p].normalized)
		}
		switch {
		case errors.Is(err, errHole):
			hole = fmt.Errorf("%s: %w", p, err)
		case err != nil:
			all = append(all, fmt.Errorf("%s: %w", p, err))
		}
	}
	if len(all) > 0 {
		return errors.Join(all...)
	}
	return hole
}

// on are the messages of a stream on a subject.
func on(stream []event.Stored, subjects ...string) []event.Stored {
	var found []event.Stored
	for _, m := range stream {
		for _, s := range subjects {
			if m.Subject == s {
				found = append(found, m)
			}
		}
	}
	return found
}

// checkRaw returns how many raw events there are.
func (l *ledger) checkRaw(ctx context.Context, p event.Provider, want []event.Raw, owed int) (int, error) {
	got := on(l.raw, event.RawSubject(p, kind))
	if len(got) < owed {
		return 0, fmt.Errorf("RAW has %d events, %d were acknowledged", len(got), owed)
	}
	var ids []event.ID
	for i, m := range got {
		r, err := event.ParseRaw(m)
		if err != nil {
			return 0, err
		}
		if r.Seq > event.Seq(i+1) && i >= owed {
			return 0, fmt.Errorf("event %d of RAW has the number %d, %d were acknowledged: %w", i+1, r.Seq, owed, errHole)
		}
		if r.Seq != event.Seq(i+1) {
			return 0, fmt.Errorf("event %d of RAW has the number %d", i+1, r.Seq)
		}
		if ids = append(ids, r.ID); i >= len(want) {
			continue
		}
		if err := l.checkBody(ctx, m, want[i].Body); err != nil {
			return 0, fmt.Errorf("event %d of RAW: %w", i+1, err)
		}
	}
	if err := sameOrder(ids, want); err != nil {
		return 0, fmt.Errorf("RAW: %w", err)
	}
	var cursor event.RawCursor
	at, err := last(l.raw, event.RawCursorSubject(p, kind), &cursor)
	switch {
	case err != nil:
		return 0, err
	case cursor.Position > event.Seq(len(got)):
		return 0, fmt.Errorf("RAW has %d events, %d were acknowledged, its cursor says %d: %w", len(got), owed, cursor.Position,
			errHole)
	case cursor.Position != event.Seq(len(got)):
		return 0, fmt.Errorf("RAW has %d events, its cursor says %d", len(got), cursor.Position)
	case len(got) > 0 && at < got[len(got)-1].Sequence:
		return 0, fmt.Errorf("the cursor of RAW is at %d, before the last event, at %d", at, got[len(got)-1].Sequence)
	}
	return len(got), nil
}

func (l *ledger) checkNormalized(ctx context.Context, p event.Provider, raw []event.Raw, owed event.Seq) error {
	got := on(l.normalized, event.NormalizedSubject(p), event.DeadSubject(p))
	if event.Seq(len(got)) < owed {
		return fmt.Errorf("NORMALIZED has %d events, %d were committed", len(got), owed)
	}
	if len(got) > len(raw) {
		return fmt.Errorf("NORMALIZED has %d events, RAW %d", len(got), len(raw))
	}
	for i, m := range got {
		n, _ := strconv.ParseUint(m.Header.Get(event.HeaderSeq), 10, 64)
		if event.Seq(n) > event.Seq(i+1) && event.Seq(i) >= owed {
			return fmt.Errorf("event %d of NORMALIZED has the number %d, %d were committed: %w", i+1, n, owed, errHole)
		}
		if n := m.Header.Get(event.HeaderSeq); n != strconv.Itoa(i+1) || m.Header.Get(event.HeaderRawEvtSeq) != n {
			return fmt.Errorf("event %d of NORMALIZED has the number %s and is made of the raw event %s", i+1, n,
				m.Header.Get(event.HeaderRawEvtSeq))
		}
		if err := l.checkOutcome(ctx, p, m, &raw[i]); err != nil {
			return fmt.Errorf("event %d of NORMALIZED: %w", i+1, err)
		}
	}
	var cursor event.NormalizedCursor
	if _, err := last(l.normalized, event.NormalizedCursorSubject(p), &cursor); err != nil {
		return err
	}
	at := cursor.Sources[kind].Position
	if n := event.Seq(len(got)); cursor.Position > n && at == cursor.Position {
		return fmt.Errorf("NORMALIZED has %d events, %d were committed, its cursor says %d: %w", n, owed, at, errHole)
	} else if cursor.Position != n || at != n {
		return fmt.Errorf("NORMALIZED has %d events, its cursor says %d, made of %d raw ones", n, cursor.Position, at)
	}
	if n := len(l.raw); n > 0 && cursor.RawSeq > l.raw[n-1].Sequence {
		return fmt.Errorf("the cursor of NORMALIZED is at %d of RAW, which ends at %d", cursor.RawSeq, l.raw[n-1].Sequence)
	}
	return nil
}

// checkOutcome finds fault unless m is what becomes of the raw event.
func (l *ledger) checkOutcome(ctx context.Context, p event.Provider, m event.Stored, raw *event.Raw) error {
	if dead(raw) {
		if m.Subject != event.DeadSubject(p) {
			return fmt.Errorf("%s is on %s and no dead letter", raw.ID, m.Subject)
		}
		return l.checkBody(ctx, m, raw.Body)
	}
	body, err := l.body(ctx, m)
	if err != nil {
		return err
	}
	var e event.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	var sent struct{ Payload json.RawMessage }
	if err := json.Unmarshal(raw.Body, &sent); err != nil {
		return err
	}
	if e.MessageID != string(raw.ID) || !bytes.Equal(e.Payload, sent.Payload) {
		return fmt.Errorf("it is not what was sent as %s", raw.ID)
	}
	return nil
}

func (l *ledger) checkBody(ctx context.Context, m event.Stored, want []byte) error {
	body, err := l.body(ctx, m)
	if err == nil && !bytes.Equal(body, want) {
		err = errors.New("the body is not what was sent")
	}
	return err
}

func (l *ledger) body(ctx context.Context, m event.Stored) ([]byte, error) {
	ref := event.BodyRefOf(m.Header)
	if ref.Object == "" {
		return m.Body, nil
	}
	if body, known := l.bodies[ref.Object]; known {
		return body, nil
	}
	body, err := l.client.Bodies().GetBody(ctx, ref)
	if err != nil {
		return nil, err
	}
	if l.bodies == nil {
		l.bodies = map[string][]byte{}
	}
	l.bodies[ref.Object] = body
	return body, nil
}

// last decodes the last message on a subject, if there is one, and returns its sequence.
func last(stream []event.Stored, subject string, into any) (event.StreamSeq, error) {
	found := on(stream, subject)
	if len(found) == 0 {
		return 0, nil
	}
	m := found[len(found)-1]
	return m.Sequence, event.DecodeRecord(m, into)
}

// waitForDead waits until DEAD has each dead letter: the server itself fills it, when it gets to it.
func (l *ledger) waitForDead(ctx context.Context, s *scene) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		err := l.checkDead(s)
		if err == nil {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return err
		}
		if err := l.read(ctx); err != nil {
			return err
		}
	}
}

// checkDead finds fault unless DEAD has each dead letter of NORMALIZED once and in order.
func (l *ledger) checkDead(s *scene) error {
	for _, p := range s.providers {
		var ids []event.ID
		for _, m := range on(l.dead, event.DeadSubject(p)) {
			ids = append(ids, event.ID(event.DecodeHeader(m.Header.Get(event.HeaderID))))
		}
		var want []event.Raw
		for _, e := range s.events[p] {
			if dead(&e) {
				want = append(want, e)
			}
		}
		if len(ids) != len(want) {
			return fmt.Errorf("%s: DEAD has %d dead letters instead of %d", p, len(ids), len(want))
		}
		if err := sameOrder(ids, want); err != nil {
			return fmt.Errorf("%s: DEAD: %w", p, err)
		}
	}
	return nil
}
