package subscribe

import (
	"fmt"

	"stackstream/event"
)

// Gap is a place where events or dead letters of a provider are missing from the stream.
type Gap struct {
	Provider event.Provider
	// From and To are the missing numbers, both included. From is 0 when it is not known where the gap begins, nor
	// whether there is one: the stream has dropped what followed the durable's position, and it can't be told whether
	// this provider had events there.
	From, To event.Seq
	// Before is the stream sequence of the event or dead letter that follows the gap.
	Before event.StreamSeq
}

func (g Gap) String() string {
	if g.From == 0 {
		return fmt.Sprintf("events of %s up to number %d may be missing before stream sequence %d: the stream has dropped "+
			"what followed the last position", g.Provider, g.To, g.Before)
	}
	return fmt.Sprintf("events %d to %d of %s are missing before stream sequence %d", g.From, g.To, g.Provider, g.Before)
}

// GapError stops a Subscriber that has no OnGap. It has the kind event.Expired.
type GapError struct{ Gap Gap }

func (e *GapError) Error() string { return e.Gap.String() + "; set OnGap to go on in spite of it" }

// Unwrap makes errors.Is(err, event.Expired) hold.
func (e *GapError) Unwrap() error { return event.Expired }

// numbers follows the contiguous numbers of every provider.
type numbers struct {
	last map[event.Provider]event.Seq
	// uncertain: the stream has dropped messages behind the position where reading began.
	uncertain bool
}

// check says whether something is missing before m. An error means that the numbers went back.
func (n *numbers) check(m *message) (Gap, bool, error) {
	last, known := n.last[m.provider]
	switch {
	case !known && n.uncertain && m.seq > 1:
		return Gap{Provider: m.provider, To: m.seq - 1, Before: m.sequence}, true, nil
	case !known || m.seq == last+1:
		return Gap{}, false, nil
	case m.seq > last:
		return Gap{Provider: m.provider, From: last + 1, To: m.seq - 1, Before: m.sequence}, true, nil
	default:
		return Gap{}, false, &event.Error{
			Kind: event.Regressed, Op: fmt.Sprintf("read message %d of %s", m.sequence, event.StreamNormalized),
			Err: fmt.Errorf("number %d of %s comes after number %d", m.seq, m.provider, last),
		}
	}
}

func (n *numbers) take(m *message) {
	if n.last == nil {
		n.last = map[event.Provider]event.Seq{}
	}
	n.last[m.provider] = m.seq
}
