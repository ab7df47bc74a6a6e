package publisher

import (
	"time"

	"stackstream/event"
)

// Options are the settings of a writer. The zero Options work.
type Options struct {
	// Owner says in the cursor which process wrote it, for people.
	Owner  string
	Limits Limits
	Hooks  Hooks
}

// Limits bound a batch and a message. A zero field means its default.
type Limits struct {
	// Events and Bytes (of bodies) end a batch, whichever comes first; one event above Bytes goes alone. The defaults
	// are 500 and 1 MiB; more than 900 events are never put into one batch, because the server takes 1,000 messages.
	Events int
	Bytes  int
	// MaxBody is the largest body that a message carries, in bytes; a larger one goes to Bodies. It must be the
	// server's max_payload less Reserve. The default is 8 MiB.
	MaxBody int
}

// Reserve is what a message needs besides its body, in bytes: half of it for the headers written here, the rest for
// those that the batch and the server add.
const Reserve = 64 << 10

const (
	defaultEvents  = 500
	defaultBytes   = 1 << 20
	defaultMaxBody = 8 << 20

	// maxEvents keeps a batch with its cursor below the 1,000 messages that the server takes.
	maxEvents = 900
	// maxHeader bounds the headers of a message; the server refuses a message with 64 KiB of them.
	maxHeader = Reserve / 2
)

func (l Limits) withDefaults() Limits {
	if l.Events <= 0 {
		l.Events = defaultEvents
	}
	l.Events = min(l.Events, maxEvents)
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	if l.MaxBody <= 0 {
		l.MaxBody = defaultMaxBody
	}
	return l
}

// Hooks are told what a writer does. Any may be nil. They are called by the goroutine that commits and must not block.
type Hooks struct {
	// Result is called with the outcome of each attempt to write a batch: kind is 0 for a committed one, and
	// event.Unknown also where the error had no kind. A batch that turns out to be committed only when the cursor is
	// read again is reported once more with kind 0, so that the events of kind 0 add up to what was stored.
	Result func(kind event.Kind, events, bytes int, took time.Duration)
	// Reread is called before the cursor is read to learn what became of a batch.
	Reread func()
	// Waiting is called before each pause with the reason of the pause.
	Waiting func(err error)
	// Resumed is called once after Waiting, when the writer waits no more for whatever reason.
	Resumed func()
}

func (h *Hooks) result(kind event.Kind, p *piece, took time.Duration) {
	if h.Result != nil {
		h.Result(kind, len(p.messages), p.bytes, took)
	}
}

func (h *Hooks) reread() {
	if h.Reread != nil {
		h.Reread()
	}
}

func (h *Hooks) waiting(err error) {
	if h.Waiting != nil {
		h.Waiting(err)
	}
}

func (h *Hooks) resumed() {
	if h.Resumed != nil {
		h.Resumed()
	}
}
