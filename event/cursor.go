package event

import (
	"encoding/json"
	"strings"
	"time"
)

// Cursor is a source's own account of how far it has read. Only the source reads it; nil means it never ran.
type Cursor = json.RawMessage

// From is where a source is to go on.
type From struct {
	// Cursor is what the source last handed over with a batch that became durable; nil on its first run.
	Cursor Cursor
	// Newest is the newest source time among the provider's events in RAW, of whichever source; zero if there is none.
	// A first run starts from it. A time that lay in the future when the event was received counts as that moment.
	Newest time.Time
	// Floor is what the source last promised with a durable batch: no event older than this is handed over again. A
	// source that reads back behind its cursor does not read further than this, whatever its settings say now.
	Floor time.Time
	// Watermark is the last one that the source handed over with a batch that became durable.
	Watermark time.Time
}

// Progress is what a committed batch says about its source.
type Progress struct {
	Cursor Cursor `json:"cursor,omitempty"`
	// Watermark: every event the source showed up to this time has been collected. It never moves backwards.
	Watermark time.Time `json:"watermark,omitzero"`
	// Newest is the newest source time among the events committed so far, as From has it.
	Newest time.Time `json:"newest,omitzero"`
	// Floor: the source promised not to hand over again any event with an older source time. It never moves backwards.
	Floor time.Time `json:"floor,omitzero"`
	// DedupeFrom is the stream sequence in RAW from which identities must be remembered, because the source may show
	// those events again. 0 means from the beginning.
	DedupeFrom StreamSeq `json:"dedupe_from,omitempty"`
	// Retired: the source has nothing left to read and is no longer configured.
	Retired bool `json:"retired,omitempty"`
}

// RawCursor stands behind the raw events of one source, written in the same atomic batch as they are.
type RawCursor struct {
	Progress
	// Position is the Seq of the last raw event committed.
	Position Seq `json:"position"`
	// Received is when that event was received.
	Received time.Time `json:"received,omitzero"`
	// Batch is the ID of the Batch that wrote this; Owner says which process, for people.
	Batch string `json:"batch"`
	Owner string `json:"owner,omitempty"`
	// WrittenAt is the writer's clock, for people.
	WrittenAt time.Time `json:"written_at"`
	// Paused: an operator has stopped this source.
	Paused *Pause `json:"paused,omitempty"`
	// Commanded is when a command last changed this record.
	Commanded time.Time `json:"commanded,omitzero"`
	// Rewound: an operator has had the source read again.
	Rewound *Rewound `json:"rewound,omitempty"`
	// Former are names that the provider had before, the oldest first, as long as the source may show events again that are in
	// RAW under them.
	Former []Former `json:"former,omitempty"`
	// Sequence is the stream sequence of this record, 0 if it was never written. It is not part of the record.
	Sequence StreamSeq `json:"-"`
	// Shared is the stream sequence of the Shared record that was found beside it, by a writer that shares. Nor is this.
	Shared StreamSeq `json:"-"`
}

// Rewound says from where on a source reads again what lies behind a time.
type Rewound struct {
	// Position is the last event that was collected before.
	Position Seq `json:"position"`
	// To: what is up to it in RAW may lack events that are later than this.
	To time.Time `json:"to"`
}

// Emptied tells whether nothing is left of the cursor but its number: it was removed, with its provider or for another name.
func (c *RawCursor) Emptied() bool { return len(c.Cursor) == 0 && c.Retired }

// Rewind has the record say that the source, whose Cursor the caller has moved back, reads again from a time on. identities is
// the first event in RAW that it may show again, 0 if that is not known, and normalized how far its events are normalized.
func (c *RawCursor) Rewind(to time.Time, identities StreamSeq, normalized Seq) {
	if c.Floor.After(to) {
		c.Floor = to
	}
	if identities > 0 {
		c.DedupeFrom = min(c.DedupeFrom, identities)
	}
	if c.Watermark.After(to) {
		c.Claim(to, normalized)
	}
}

// Claim sets the watermark. What is normalized up to then is not claimed for more until what comes next is.
func (c *RawCursor) Claim(at time.Time, normalized Seq) {
	if at.Before(c.Watermark) {
		rewound := Rewound{Position: c.Position, To: at}
		if before := c.Rewound; before != nil && normalized <= before.Position {
			rewound.To = earlier(at, before.To)
		}
		c.Rewound = &rewound
	}
	c.Watermark = at
}

// Former is a name that a provider had before.
type Former struct {
	Provider Provider `json:"provider"`
	// Until is a stream sequence in RAW: what was stored before it under that name is meant, and nothing later.
	Until StreamSeq `json:"until"`
}

// StillFormer are the former names under which events are remembered from a stream sequence on.
func StillFormer(names []Former, dedupeFrom StreamSeq) []Former {
	for len(names) > 0 && names[0].Until <= dedupeFrom {
		names = names[1:]
	}
	if len(names) == 0 {
		return nil
	}
	return names
}

// NormalizedCursor stands behind the normalized events and dead letters of one provider, written in the same atomic
// batch as they are.
type NormalizedCursor struct {
	// RawSeq is the stream sequence in RAW of the last raw event that is dealt with.
	RawSeq StreamSeq `json:"raw_seq"`
	// RawCreated is when the RAW stream was created: another time means another stream.
	RawCreated time.Time `json:"raw_created,omitzero"`
	// Position is the Seq of the last event or dead letter in NORMALIZED.
	Position Seq `json:"position"`
	// Sources has the last raw event dealt with of each source.
	Sources map[Source]SourcePosition `json:"sources,omitempty"`

	Batch     string    `json:"batch"`
	Owner     string    `json:"owner,omitempty"`
	WrittenAt time.Time `json:"written_at"`
	// Paused: an operator has stopped normalizing for this provider.
	Paused *Pause `json:"paused,omitempty"`
	// Commanded is when a command last changed this record.
	Commanded time.Time `json:"commanded,omitzero"`
	Sequence  StreamSeq `json:"-"`
}

// SourcePosition is how far the raw events of one source are normalized.
type SourcePosition struct {
	Position  Seq       `json:"position"`
	Received  time.Time `json:"received,omitzero"`
	Watermark time.Time `json:"watermark,omitzero"`
}

// Choice records which kind of source collects for a provider. Exactly one does at a time.
type Choice struct {
	Kind string    `json:"kind"`
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"`
	// Batch is the attempt that wrote this, where that may have to be found out.
	Batch string `json:"batch,omitempty"`
	// Paused: an operator has stopped every source of the provider.
	Paused *Pause `json:"paused,omitempty"`
	// Removed: an operator has removed the provider, for which nobody worked. It counts until somebody does again.
	Removed *Removed `json:"removed,omitempty"`
	// Sequence is the stream sequence of this record, 0 if it was never written.
	Sequence StreamSeq `json:"-"`
}

// Removed says who has removed a provider, and when.
type Removed struct {
	By string    `json:"by,omitempty"`
	At time.Time `json:"at"`
}

// RenamedTo is why a provider has no choice any more that was renamed.
func RenamedTo(p Provider) string { return "renamed to " + string(p) }

// RenamedFrom is why a provider has the choice that another one had, of which it is the new name.
func RenamedFrom(p Provider) string { return "renamed from " + string(p) }

// Renamed is the name that has taken over, "" for a provider that was not renamed.
func (c Choice) Renamed() Provider {
	to, renamed := strings.CutPrefix(c.Why, RenamedTo(""))
	if !renamed || c.Kind != "" {
		return ""
	}
	return Provider(to)
}

// Left is the name that has taken over, as long as the pause holds by which nobody collects under the old one; "" for any other.
func (c Choice) Left() Provider {
	if c.Paused == nil || c.Paused.Why != c.Why {
		return ""
	}
	return c.Renamed()
}

// Taking is the provider from which this one is taking over, as its new name: a rename that is not done. "" for any other.
func (c Choice) Taking() Provider {
	if c.Paused == nil {
		return ""
	}
	return c.Paused.Taking
}

// Seen is an identity that RAW holds.
type Seen struct {
	ID       ID
	Source   Source
	Time     time.Time // zero where the source gave none
	Received time.Time
	Seq      Seq
	Sequence StreamSeq
}
