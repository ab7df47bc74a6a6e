package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	"stackstream/event"
)

// Normalized writes the canonical events and the dead letters of one provider to NORMALIZED, each numbered, in the order
// of RAW and once, with the cursor behind them. It is fenced: a writer that another one has overtaken stores nothing. It
// is not safe for concurrent use.
type Normalized struct {
	writer
	provider event.Provider
	subjects subjects
	cursor   event.NormalizedCursor
}

// subjects are where what is made of raw events goes. What becomes of dead letters is not recorded where states is "".
type subjects struct{ events, dead, states string }

// NewNormalized makes a writer for a provider. It must be opened before use.
func NewNormalized(log Log, bodies Bodies, p event.Provider, opts Options) *Normalized {
	return &Normalized{
		writer:   newWriter(log, bodies, event.NormalizedCursorSubject(p), event.Fence{}, opts),
		provider: p,
		subjects: subjects{event.NormalizedSubject(p), event.DeadSubject(p), event.DeadStateSubject(p)},
	}
}

// Open reads where the provider stands; one that was never normalized has the zero cursor. It asks once and returns what
// the Log returned, or event.Paused. It must be called first and again after every error of Commit.
func (n *Normalized) Open(ctx context.Context) (event.NormalizedCursor, error) {
	var c event.NormalizedCursor
	if err := n.open(ctx, &c); err != nil {
		return event.NormalizedCursor{}, err
	}
	if err := c.Paused.Err(); err != nil {
		n.opened = false
		return event.NormalizedCursor{}, err
	}
	c.Sequence = n.expect
	n.cursor = c
	return n.copy(), nil
}

// Commit stores the events and dead letters of the outcomes, in order and once, together with the cursor behind them,
// and returns that cursor. raw is the stream the outcomes come from. Without outcomes it stores nothing.
//
// Outcomes that are more than one batch are stored in several, each with its own cursor; what became of one raw event is
// always in one batch. RawSeq moves behind every outcome; the position of a source only behind one that has events or a
// dead letter, and a number. A raw event that gives more events than a batch takes, or an event that can't be written, becomes
// a dead letter, whole.
//
// Commit waits while the stream or the object store is full or can't be reached, as long as ctx lasts. Its errors are
// event.Fenced (another writer has written), event.Invalid, and ctx's. After any of them the caller does not know how
// many of the outcomes are stored, and the writer is closed: Open tells.
func (n *Normalized) Commit(
	ctx context.Context, outcomes []event.Outcome, raw event.RawStream,
) (c event.NormalizedCursor, err error) {
	if err := n.mustBeOpen(); err != nil {
		return event.NormalizedCursor{}, err
	}
	defer func() { n.end(err) }()
	for len(outcomes) > 0 {
		taken, err := n.commit(ctx, outcomes, raw)
		if err != nil {
			return event.NormalizedCursor{}, err
		}
		outcomes = outcomes[taken:]
	}
	return n.copy(), nil
}

// copy is the cursor for a caller, who may do with it what he likes.
func (n *Normalized) copy() event.NormalizedCursor {
	c := n.cursor
	c.Sources = maps.Clone(c.Sources)
	return c
}

// commit stores one batch of as many outcomes as it takes, and returns how many that are.
func (n *Normalized) commit(ctx context.Context, outcomes []event.Outcome, raw event.RawStream) (int, error) {
	p, taken := n.build(outcomes, n.maxBody)
	outcomes = outcomes[:taken]
	next := n.next(outcomes, raw)
	next.Position += event.Seq(p.numbered())
	rebuild := func(maxBody int) piece {
		again := piece{messages: make([]event.Message, 0, len(p.messages))}
		for i := range outcomes {
			n.add(&again, &outcomes[i], maxBody)
		}
		return again
	}
	seq, err := n.write(ctx, p, rebuild, func(batch string) any {
		next.Batch, next.WrittenAt = batch, time.Now().UTC()
		return next
	})
	if err != nil {
		return 0, err
	}
	next.Sequence = seq
	n.cursor = next
	return taken, nil
}

// build makes a batch of as many outcomes as it takes, and says how many: at least one, and all that have no events.
func (n *Normalized) build(outcomes []event.Outcome, maxBody int) (piece, int) {
	p := piece{messages: make([]event.Message, 0, min(len(outcomes), n.limits.Events))}
	for i := range outcomes {
		before := p
		n.add(&p, &outcomes[i], maxBody)
		if before.size() > 0 && p.size() > before.size() && (p.size() > n.limits.Events || p.bytes > n.limits.Bytes) {
			return before, i
		}
	}
	return p, len(outcomes)
}

// next is the cursor behind outcomes, but for the position.
func (n *Normalized) next(outcomes []event.Outcome, raw event.RawStream) event.NormalizedCursor {
	c := n.copy()
	c.Owner = n.owner
	c.RawCreated = raw.Created
	if c.Sources == nil {
		c.Sources = map[event.Source]event.SourcePosition{}
	}
	for i := range outcomes {
		o := &outcomes[i]
		r := &o.Raw
		c.RawSeq = max(c.RawSeq, r.Sequence)
		if r.Seq == 0 || r.Source == "" || len(o.Events) == 0 && o.Dead == nil && r.Repair == nil {
			continue
		}
		at := c.Sources[r.Source]
		if r.Seq > at.Position {
			at.Position, at.Received = r.Seq, r.Received
			if !r.Watermark.IsZero() {
				at.Watermark = r.Watermark // it goes back only where a source was rewound
			}
		}
		c.Sources[r.Source] = at
	}
	return c
}

// add adds what became of one raw event to p, and of the dead letter that it repairs. How many messages that are does not
// depend on maxBody.
func (n *Normalized) add(p *piece, o *event.Outcome, maxBody int) {
	before := p.numbered()
	if !o.Raw.Drops() {
		n.addOutcome(p, o, maxBody)
	}
	if o.Raw.Repair != nil && n.subjects.states != "" && (o.Raw.Drops() || p.numbered() > before) {
		n.addState(p, o, before)
	}
}

func (n *Normalized) addOutcome(p *piece, o *event.Outcome, maxBody int) {
	dead := o.Dead
	if dead == nil && len(o.Events) > maxEvents {
		dead = &event.DeadLetter{
			Reason: event.ReasonTooMany,
			Detail: fmt.Sprintf("%d events; an atomic batch takes %d", len(o.Events), maxEvents),
		}
	}
	if dead == nil {
		before := *p
		err := n.addEvents(p, o, maxBody)
		if err == nil {
			return
		}
		*p = before
		dead = &event.DeadLetter{Reason: event.ReasonUnwritable, Detail: err.Error()}
	}
	n.addDead(p, o, *dead, maxBody)
}

// following is the number of the message that is added to p next.
func (n *Normalized) following(p *piece) string {
	return strconv.FormatUint(uint64(n.cursor.Position)+uint64(p.numbered())+1, 10)
}

func (n *Normalized) addEvents(p *piece, o *event.Outcome, maxBody int) error {
	for i := range o.Events {
		e := &o.Events[i]
		body, err := e.Encode()
		if err != nil {
			return fmt.Errorf("encode event %d: %w", i+1, err)
		}
		room := 16
		if o.Trace.Parent != "" {
			room += 4
		}
		h := event.NewHeaders(room)
		h.Set(event.HeaderSeq, n.following(p))
		cloudEvent(h, n.provider, o, i)
		origin(h, &o.Raw)
		h.Set(event.HeaderConverter, event.EncodeHeader(o.Converter))
		if o.Redacted > 0 {
			h.Set(event.HeaderRedacted, strconv.Itoa(o.Redacted))
		}
		if o.Mended > 0 {
			h.Set(event.HeaderMended, strconv.Itoa(o.Mended))
		}
		if o.Raw.Repair != nil {
			h.Set(event.HeaderRedriven, strconv.FormatUint(uint64(o.Raw.Repair.Letter), 10))
		}
		if o.Raw.Backfill != "" {
			h.Set(event.HeaderBackfill, event.EncodeHeader(o.Raw.Backfill))
		}
		m := event.Message{Subject: n.subjects.events, Header: h.Header, Body: body}
		if len(body) > maxBody {
			if err := p.shorten(&m, e, maxBody, n.limits.MaxBody); err != nil {
				return fmt.Errorf("event %d: %w", i+1, err)
			}
		}
		p.add(m)
	}
	return nil
}

// shorten leaves the canonical event to an object and keeps of it, in the message, what fits: all but the payload, or
// else what every event has. max is what fits, and hardMax what makes it fail.
func (p *piece) shorten(m *event.Message, e *event.Event, max, hardMax int) error {
	ref := event.NewBodyRef(m.Body)
	short := *e
	short.Payload = []byte("null")
	short.BodyObject = &event.BodyObject{Bucket: event.BucketBodies, Name: ref.Object, Size: ref.Size}
	body, err := short.Encode()
	if err != nil {
		return err
	}
	if len(body) > max {
		short = event.Event{
			MessageID: e.MessageID, EventType: e.EventType, Timestamp: e.Timestamp, Payload: short.Payload,
			Provider: e.Provider, Source: e.Source, BodyObject: short.BodyObject,
		}
		if body, err = short.Encode(); err != nil {
			return err
		}
		if len(body) > hardMax {
			return fmt.Errorf("has %d bytes without its payload", len(body))
		}
	}
	p.objects = append(p.objects, object{ref, m.Body})
	event.SetBodyRef(m, ref)
	m.Body = body
	return nil
}

// maxDetail bounds the text of an error in a header, in bytes before encoding, which makes three of one: room for a
// stack, and a part of maxHeader.
const maxDetail = 4096

// addDead adds the raw event as RAW has it, with what is said about it.
func (n *Normalized) addDead(p *piece, o *event.Outcome, dead event.DeadLetter, maxBody int) {
	r := &o.Raw
	m := r.Message(n.provider, r.Source, r.Seq, r.BodyRef)
	m.Subject = n.subjects.dead
	delete(m.Header, event.HeaderMessageFormat) // that it repairs a letter is no matter of how to read this one
	if r.ID == "" {
		delete(m.Header, event.HeaderID)
	}
	if !r.Watermark.IsZero() {
		event.SetWatermark(&m, r.Watermark)
	}
	m.Header.Set(event.HeaderSeq, n.following(p))
	origin(m.Header, r)
	m.Header.Set(event.HeaderReason, event.EncodeHeader(string(dead.Reason)))
	m.Header.Set(event.HeaderDetail, event.EncodeHeader(cut(dead.Detail, maxDetail)))
	if o.Converter != "" {
		m.Header.Set(event.HeaderConverter, event.EncodeHeader(o.Converter))
	}
	p.fit(&m, maxBody)
	p.add(m)
}

// origin says which raw event a message was made from: as much as is known of one that stackstream did not write, and of the
// one before where that is a dead letter's.
func origin(h interface{ Set(name, value string) }, r *event.StoredRaw) {
	h.Set(event.HeaderRawSeq, strconv.FormatUint(uint64(r.Sequence), 10))
	if r.Source != "" {
		h.Set(event.HeaderRawSource, string(r.Source))
	}
	if r.Seq != 0 {
		h.Set(event.HeaderRawEvtSeq, strconv.FormatUint(uint64(r.Seq), 10))
	}
	if r.Repair == nil {
		return
	}
	if r.Repair.Source != "" {
		h.Set(event.HeaderOriginSource, string(r.Repair.Source))
	}
	if r.Repair.Seq != 0 {
		h.Set(event.HeaderOriginEvtSeq, strconv.FormatUint(uint64(r.Repair.Seq), 10))
	}
	if r.Repair.Sequence != 0 {
		h.Set(event.HeaderOriginSeq, strconv.FormatUint(uint64(r.Repair.Sequence), 10))
	}
}

// addState records what became of the dead letter that a raw event repairs: before is how many messages with a number there
// were until then.
func (n *Normalized) addState(p *piece, o *event.Outcome, before int) {
	repair := o.Raw.Repair
	state := event.LetterState{
		Letter: repair.Letter, State: event.LetterDropped, Converter: o.Converter, By: repair.By, Why: repair.Why,
		At: o.Raw.StoredAt.UTC(),
	}
	if !repair.Drop {
		state.State, state.Seq = event.LetterRedriven, n.cursor.Position+event.Seq(before)+1
		if p.messages[len(p.messages)-1].Subject == n.subjects.dead {
			state.State = event.LetterDead
		}
	}
	// Strings, numbers and a time that a server gave always have a JSON form.
	body, _ := json.Marshal(state)
	p.addUnnumbered(event.Message{Subject: n.subjects.states, Header: event.Header{}, Body: body})
}
