package jetstream

import (
	"context"
	"encoding/json"

	"stackstream/event"
)

// Choices keeps in EVENTS_RAW which kind of source collects for each provider. It is safe for concurrent use.
type Choices struct{ raw *Log }

// Choices is where choices are kept.
func (c *Client) Choices() *Choices { return &Choices{raw: c.Raw()} }

// ReadChoice returns the choice of a provider, the zero Choice if none was made. It may miss one that was made a moment
// ago: what is then written under the older one is refused.
func (c *Choices) ReadChoice(ctx context.Context, p event.Provider) (event.Choice, error) {
	var choice event.Choice
	m, ok, err := c.raw.ReadCursor(ctx, event.ChoiceSubject(p), 0)
	if err != nil || !ok {
		return choice, err
	}
	if err := event.DecodeRecord(m, &choice); err != nil {
		return choice, err
	}
	choice.Sequence = m.Sequence
	return choice, nil
}

// WriteChoice replaces the choice that has the sequence choice.Sequence, 0 for the first, and returns it with its new
// one. event.Fenced: another choice was made meanwhile. event.Unknown: this one may have been made; read it again.
func (c *Choices) WriteChoice(ctx context.Context, p event.Provider, choice event.Choice) (event.Choice, error) {
	body, err := json.Marshal(choice)
	if err != nil {
		return choice, invalid("write choice", err)
	}
	seq, err := c.raw.Append(ctx, event.Batch{
		Cursor: event.Message{Subject: event.ChoiceSubject(p), Body: body},
		Expect: choice.Sequence,
	})
	if err != nil {
		return choice, err
	}
	choice.Sequence = seq
	return choice, nil
}
