package event

import (
	"fmt"
	"strconv"
	"time"
)

// Repair says that a raw event is no news of a source but what an operator did about a dead letter. It goes through RAW like
// any other, behind a cursor of its own, and so is done once and in the order of RAW.
type Repair struct {
	// Letter is the number of the dead letter in NORMALIZED.
	Letter Seq
	// Drop: the letter is to stay dead. Otherwise it is converted again.
	Drop    bool
	By, Why string
	// Source, Seq and Sequence say which raw event the letter was made of, as far as that is known.
	Source   Source
	Seq      Seq
	Sequence StreamSeq
}

// SourceRedrive is the source through which what is done about dead letters comes into RAW.
const SourceRedrive Source = "redrive"

// What became of a dead letter.
const (
	LetterRedriven = "redriven" // it was converted
	LetterDead     = "dead"     // it was converted again and is a new dead letter
	LetterDropped  = "dropped"  // nothing is to be done about it
)

// LetterState records what became of a dead letter. Such records are appended, in the same atomic batch as what was made of
// the letter; the newest counts.
type LetterState struct {
	Letter Seq    `json:"letter"`
	State  string `json:"state"`
	// Seq is the number of the first event, or of the new dead letter, that was made of it.
	Seq       Seq       `json:"seq,omitempty"`
	Converter string    `json:"converter,omitempty"`
	By        string    `json:"by,omitempty"`
	Why       string    `json:"why,omitempty"`
	At        time.Time `json:"at"`
}

// Drops tells whether the raw event says that a dead letter is to stay dead.
func (r *Raw) Drops() bool { return r.Repair != nil && r.Repair.Drop }

// set writes the repair into the headers of a raw message. Who does not know it must not take the message for news.
func (r *Repair) set(h *Headers) {
	h.Set(HeaderMessageFormat, "2")
	name := HeaderRedriven
	if r.Drop {
		name = HeaderDropped
	}
	h.Set(name, strconv.FormatUint(uint64(r.Letter), 10))
	for name, value := range map[string]string{
		HeaderBy: EncodeHeader(r.By), HeaderWhy: EncodeHeader(r.Why), HeaderRawSource: string(r.Source),
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	for name, value := range map[string]uint64{HeaderRawSeq: uint64(r.Sequence), HeaderRawEvtSeq: uint64(r.Seq)} {
		if value != 0 {
			h.Set(name, strconv.FormatUint(value, 10))
		}
	}
}

// repairOf reads it back, nil if there is none.
func repairOf(h Header) (*Repair, error) {
	redriven, dropped := h.Get(HeaderRedriven), h.Get(HeaderDropped)
	if redriven == "" && dropped == "" {
		return nil, nil //nolint:nilnil // none, and nothing wrong with that
	}
	r := &Repair{
		Drop: dropped != "", By: DecodeHeader(h.Get(HeaderBy)), Why: DecodeHeader(h.Get(HeaderWhy)),
		Source: Source(h.Get(HeaderRawSource)),
	}
	name, text := HeaderRedriven, redriven
	if r.Drop {
		name, text = HeaderDropped, dropped
	}
	letter, err := strconv.ParseUint(text, 10, 64)
	if err != nil || letter == 0 || redriven != "" && dropped != "" {
		return nil, fmt.Errorf("%s is %q", name, text)
	}
	r.Letter = Seq(letter)
	if r.Source != "" && checkToken(string(r.Source)) != nil {
		return nil, fmt.Errorf("%s is %q", HeaderRawSource, r.Source)
	}
	seq, _ := strconv.ParseUint(h.Get(HeaderRawEvtSeq), 10, 64)
	sequence, _ := strconv.ParseUint(h.Get(HeaderRawSeq), 10, 64)
	r.Seq, r.Sequence = Seq(seq), StreamSeq(sequence)
	return r, nil
}
