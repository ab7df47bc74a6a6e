package model_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"stackstream/event"
)

// checker looks at each batch when it is stored, as a subscriber may at any time, and at the end at the whole.
type checker struct {
	w        *world
	services map[event.Source]*service

	index   map[event.ID]int // of each event among its source's
	durable map[event.ID]bool
	raw     map[event.Source]*collected
	wanted  []wanted // what NORMALIZED has to hold of RAW, in order

	positions  event.Seq // messages in NORMALIZED
	normalized int       // of wanted
	cursor     event.NormalizedCursor
}

// collected is what RAW has of one source.
type collected struct {
	events int
	last   int // index of the last
	cursor event.RawCursor
	read   int // what the source's own cursor says
}

// wanted is one message that NORMALIZED has to hold.
type wanted struct {
	id     string // "" for a dead letter
	rawID  event.ID
	rawSeq event.StreamSeq
	source event.Source
	seq    event.Seq
	last   bool // of its raw event
}

func newChecker(w *world, services ...*service) *checker {
	c := &checker{
		w: w, services: map[event.Source]*service{}, index: map[event.ID]int{}, durable: map[event.ID]bool{},
		raw: map[event.Source]*collected{},
	}
	for _, s := range services {
		c.services[s.source] = s
		c.raw[s.source] = &collected{last: -1}
		for i, e := range s.events {
			c.index[e.ID] = i
		}
	}
	return c
}

func (c *checker) acknowledged(id event.ID) {
	if !c.durable[id] && c.w.err == nil {
		c.w.err = fmt.Errorf("%s is acknowledged upstream and not durable", id)
	}
}

// storedRaw looks at a batch of RAW: events of one source, each once and in the source's order, numbered without a gap, and
// the cursor behind them, which says exactly what is before it and never moves back.
func (c *checker) storedRaw(batch []event.Stored) {
	last := batch[len(batch)-1]
	if err := c.rawBatch(batch[:len(batch)-1], last); err != nil {
		c.w.fail("RAW at %d: %w", last.Sequence, err)
	}
}

func (c *checker) rawBatch(events []event.Stored, m event.Stored) error {
	if m.Subject == event.ChoiceSubject(cloud) && len(events) == 0 {
		return nil
	}
	_, source, _ := event.SubjectProvider(m.Subject)
	s := c.raw[source]
	if s == nil || m.Subject != event.RawCursorSubject(cloud, source) {
		return fmt.Errorf("the batch ends with %s, which is no cursor", m.Subject)
	}
	var marked time.Time
	for _, e := range events {
		raw, err := event.ParseRaw(e)
		switch {
		case err != nil:
			return err
		case raw.Source != source:
			return fmt.Errorf("an event of %s in a batch of %s", raw.Source, source)
		case c.durable[raw.ID]:
			return fmt.Errorf("%s comes twice", raw.ID)
		case raw.Seq != event.Seq(s.events+1):
			return fmt.Errorf("%s is number %d, after %d events", raw.ID, raw.Seq, s.events)
		case c.index[raw.ID] <= s.last:
			return fmt.Errorf("%s comes after number %d", raw.ID, s.last)
		case raw.BodyRef.Object != "" && c.w.bodies[raw.BodyRef.Object] == nil:
			return fmt.Errorf("%s refers to a body that is not there", raw.ID)
		}
		c.durable[raw.ID] = true
		s.events++
		s.last = c.index[raw.ID]
		marked = raw.Watermark
		c.want(raw)
	}
	var now event.RawCursor
	if err := event.DecodeRecord(m, &now); err != nil {
		return err
	}
	was := s.cursor
	read := s.read
	if now.Cursor != nil {
		_ = json.Unmarshal(now.Cursor, &read)
	}
	switch {
	case now.Position != event.Seq(s.events):
		return fmt.Errorf("the cursor is at %d, after %d events", now.Position, s.events)
	case now.Watermark.Before(was.Watermark), now.Floor.Before(was.Floor), now.Newest.Before(was.Newest), read < s.read:
		return fmt.Errorf("the cursor moves back: %+v, before %+v", now, was)
	}
	for i, e := range c.services[source].events {
		switch {
		case c.durable[e.ID]:
		case i < read:
			return fmt.Errorf("the source's cursor is %d, and %s is not collected", read, e.ID)
		case !e.Time.After(now.Watermark), !e.Time.After(marked):
			return fmt.Errorf("the watermark is %s, and %s is not collected", now.Watermark, e.ID)
		}
	}
	s.cursor, s.read = now, read
	return nil
}

// want adds what NORMALIZED has to hold of a raw event.
func (c *checker) want(raw event.StoredRaw) {
	body := string(raw.Body)
	if raw.BodyRef.Object != "" {
		body = string(c.w.bodies[raw.BodyRef.Object])
	}
	ids := outputs(raw.ID, body)
	if len(ids) == 0 {
		ids = []string{""}
	}
	for i, id := range ids {
		c.wanted = append(c.wanted, wanted{
			id: id, rawID: raw.ID, rawSeq: raw.Sequence, source: raw.Source, seq: raw.Seq, last: i == len(ids)-1,
		})
	}
}

// storedNormalized looks at a batch of NORMALIZED: what becomes of RAW, in its order, each once, numbered without a gap,
// all of a raw event in one batch, and the cursor behind it.
func (c *checker) storedNormalized(batch []event.Stored) {
	last := batch[len(batch)-1]
	if err := c.normalizedBatch(batch[:len(batch)-1], last); err != nil {
		c.w.fail("NORMALIZED at %d: %w", last.Sequence, err)
	}
}

func (c *checker) normalizedBatch(messages []event.Stored, m event.Stored) error {
	if m.Subject != event.NormalizedCursorSubject(cloud) {
		return fmt.Errorf("the batch ends with %s, which is no cursor", m.Subject)
	}
	var now event.NormalizedCursor
	if err := event.DecodeRecord(m, &now); err != nil {
		return err
	}
	for _, e := range messages {
		if c.normalized == len(c.wanted) {
			return fmt.Errorf("%s is more than RAW gives", e.Header.Get("ce-id"))
		}
		want := c.wanted[c.normalized]
		id, subject := e.Header.Get("ce-id"), event.NormalizedSubject(cloud)
		if want.id == "" {
			id, subject = "", event.DeadSubject(cloud)
		}
		c.positions++
		switch {
		case id != want.id || e.Subject != subject || e.Header.Get(event.HeaderRawSeq) != strconv.Itoa(int(want.rawSeq)):
			return fmt.Errorf("%s %s of raw event %s comes where %+v should", e.Subject, e.Header.Get("ce-id"),
				e.Header.Get(event.HeaderRawSeq), want)
		case e.Header.Get(event.HeaderSeq) != strconv.Itoa(int(c.positions)):
			return fmt.Errorf("%s is number %s, after %d", id, e.Header.Get(event.HeaderSeq), c.positions-1)
		}
		c.normalized++
	}
	was := c.cursor
	c.cursor = now
	switch {
	case now.Position != c.positions:
		return fmt.Errorf("the cursor is at %d, after %d messages", now.Position, c.positions)
	case now.RawSeq < was.RawSeq:
		return fmt.Errorf("the cursor moves back: %+v, before %+v", now, was)
	case c.normalized > 0 && !c.wanted[c.normalized-1].last:
		return fmt.Errorf("only part of what becomes of %s is there", c.wanted[c.normalized-1].rawID)
	}
	return c.covered(now, was)
}

// covered compares the cursor of NORMALIZED with what is before it.
func (c *checker) covered(now, was event.NormalizedCursor) error {
	dealt := map[event.Source]event.Seq{}
	for _, want := range c.wanted[:c.normalized] {
		dealt[want.source] = want.seq
	}
	for source, at := range now.Sources {
		s := c.raw[source]
		switch {
		case at.Position != dealt[source]:
			return fmt.Errorf("source %s is said to be at %d, and is at %d", source, at.Position, dealt[source])
		case at.Position < was.Sources[source].Position, at.Watermark.Before(was.Sources[source].Watermark):
			return fmt.Errorf("source %s moves back: %+v, before %+v", source, at, was.Sources[source])
		case at.Watermark.After(s.cursor.Watermark):
			return fmt.Errorf("source %s is normalized up to %s, collected up to %s", source, at.Watermark, s.cursor.Watermark)
		}
	}
	if c.normalized < len(c.wanted) && now.RawSeq >= c.wanted[c.normalized].rawSeq {
		return fmt.Errorf("the cursor is at raw event %d, and %s is not normalized", now.RawSeq, c.wanted[c.normalized].rawID)
	}
	return nil
}

// collectedAll and normalizedAll tell whether nothing is left to do.
func (c *checker) collectedAll() bool {
	return len(c.durable) == len(c.index)
}

func (c *checker) normalizedAll() bool { return c.normalized == len(c.wanted) }
