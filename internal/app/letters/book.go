package letters

import "stackstream/event"

// The states that a dead letter is in. The last three are what the normalizer has recorded.
const (
	Open     = "open"   // nothing was done about it
	Queued   = "queued" // something is to be done about it, and the normalizer has not come to that yet
	Redriven = event.LetterRedriven
	Dead     = event.LetterDead
	Dropped  = event.LetterDropped
)

// States lists them.
func States() []string { return []string{Open, Queued, Redriven, Dead, Dropped} }

// Book knows what was done about the dead letters of a provider. It has a few bytes for each of them about which something was.
type Book struct{ fates map[event.Seq]fate }

// fate is what was done about a letter.
type fate struct {
	seq  event.Seq // of the newest state
	done uint8
	last uint8 // the newest state, as the one bit that stands for it, 0 if there is none
}

const (
	sentRedrive = 1 << iota // RAW holds it
	sentDrop
	isRedriven
	isDead
	isDropped
)

// NewBook is empty.
func NewBook() *Book { return &Book{fates: map[event.Seq]fate{}} }

// Sent takes a raw event by which something is done about a letter.
func (b *Book) Sent(letter event.Seq, drop bool) {
	f := b.fates[letter]
	if drop {
		f.done |= sentDrop
	} else {
		f.done |= sentRedrive
	}
	b.fates[letter] = f
}

// Became takes what became of a letter; the newest comes last.
func (b *Book) Became(s event.LetterState) {
	f := b.fates[s.Letter]
	switch s.State {
	case event.LetterRedriven:
		f.last = isRedriven
	case event.LetterDead:
		f.last = isDead
	default:
		f.last = isDropped
	}
	f.done |= f.last
	f.seq = s.Seq
	b.fates[s.Letter] = f
}

// State is the state that a letter is in, and the number of what was made of it.
func (b *Book) State(letter event.Seq) (string, event.Seq) {
	f, known := b.fates[letter]
	switch {
	case !known:
		return Open, 0
	case f.done&sentRedrive != 0 && f.done&(isRedriven|isDead) == 0, f.done&sentDrop != 0 && f.done&isDropped == 0:
		return Queued, 0
	case f.last == isRedriven:
		return Redriven, f.seq
	case f.last == isDead:
		return Dead, f.seq
	default:
		return Dropped, 0
	}
}

// May tells whether a letter may be redriven or dropped. Either is done once at most: what became of it when it was converted is
// an event, or a new letter with a number of its own. Only what was dropped may still be redriven.
func (b *Book) May(letter event.Seq, drop bool) bool {
	f := b.fates[letter]
	if drop {
		return f.done == 0
	}
	pending := f.done&sentDrop != 0 && f.done&isDropped == 0
	return f.done&(sentRedrive|isRedriven|isDead) == 0 && !pending
}

// recorded tells whether the normalizer has recorded anything about a letter.
func (b *Book) recorded(letter event.Seq) bool { return b.fates[letter].last != 0 }
