package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Records reads everything about a provider that says where it stands, and changes nothing. The normalizer's cursor is read
// before those of the sources, so that the lag is never shown too small. Patience and Sources are left to the caller.
func (c *Client) Records(ctx context.Context, p event.Provider, holders Holders) (event.Records, error) {
	r := event.Records{Provider: p, Collectors: map[event.Source]event.Holder{}, Now: time.Now()}
	var err error
	if r.Choice, err = c.Choices().ReadChoice(ctx, p); err != nil {
		return r, err
	}
	if r.Normalized, err = c.Normalized().readNormalizedCursor(ctx, p); err != nil {
		return r, err
	}
	if r.Raw, err = c.Memory().Cursors(ctx, p); err != nil {
		return r, err
	}
	lag := false
	for name, cursor := range r.Raw {
		r.Collectors[name] = holders.Of(event.RoleCollector, "collector."+string(p)+"."+string(name))
		lag = lag || cursor.Position > r.Normalized.Sources[name].Position
	}
	r.Normalizer = holders.Of(event.RoleNormalizer, "normalizer."+string(p))
	err = c.Feed().Check(ctx, p, r.Normalized)
	switch event.KindOf(err) {
	case event.Regressed, event.Expired:
		r.Trouble = err
	default:
		if err != nil {
			return r, err
		}
	}
	if lag {
		m, ok, err := c.Raw().firstFrom(ctx, event.RawSubjects(p), r.Normalized.RawSeq+1)
		if unlessRefused(err) != nil {
			return r, err
		}
		if ok {
			r.Waiting = m.Time
		}
	}
	return r, nil
}

// firstFrom returns the first message on a subject from a sequence on; ok is false if there is none.
func (l *Log) firstFrom(ctx context.Context, subject string, from event.StreamSeq) (m event.Stored, ok bool, err error) {
	op := "read " + subject
	handle, err := l.streamHandle(ctx)
	if err != nil {
		return m, false, err
	}
	ctx, release := l.c.failOnRefusal(ctx, func(refused string) bool {
		return refused == "$JS.API.DIRECT.GET."+l.stream || refused == "$JS.API.STREAM.MSG.GET."+l.stream
	})
	defer release()
	brief, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	raw, err := handle.GetMsg(brief, uint64(max(from, 1)), natsjs.WithGetMsgSubject(subject))
	switch {
	case errors.Is(err, natsjs.ErrMsgNotFound):
		return m, false, nil
	case err != nil:
		return m, false, readError(ctx, op, err)
	}
	return event.Stored{
		Message:  event.Message{Subject: raw.Subject, Header: event.Header(raw.Header), Body: raw.Data},
		Sequence: event.StreamSeq(raw.Sequence), Time: raw.Time,
	}, true, nil
}

// Providers returns every provider that has a record, in order.
func (c *Client) Providers(ctx context.Context) ([]event.Provider, error) {
	found := map[event.Provider]bool{}
	for stream, filter := range map[string]string{
		event.StreamRaw: "events.cursor.raw.>", event.StreamNormalized: "events.cursor.normalized.*",
	} {
		subjects, err := c.subjects(ctx, stream, filter)
		if err != nil {
			return nil, err
		}
		for _, subject := range subjects {
			if p, _, ok := event.SubjectProvider(subject); ok {
				found[p] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// RawAge is how long EVENTS_RAW keeps events, and how many bytes of how many it has.
func (c *Client) RawAge(ctx context.Context) (age time.Duration, used, most int64, err error) {
	handle, err := c.stream(ctx, event.StreamRaw)
	if err != nil {
		return 0, 0, 0, err
	}
	info := handle.CachedInfo()
	return info.Config.MaxAge, int64(info.State.Bytes), info.Config.MaxBytes, nil
}

// Commanded is a command and what it was about.
type Commanded struct {
	Provider event.Provider `json:"provider"`
	// Source is "" for what concerns the choice of source, or the normalizer.
	Source event.Source `json:"source,omitempty"`
	// Record is what was changed: "collecting" (the choice), "source" or "normalizing".
	Record string `json:"record"`
	event.Command
}

// Commands returns the commands that were recorded for a provider, or for all if p is "", oldest first.
func (c *Client) Commands(ctx context.Context, p event.Provider) ([]Commanded, error) {
	name := string(p)
	if name == "" {
		name = "*"
	}
	var all []Commanded
	for stream, filter := range map[string]string{
		event.StreamRaw:        event.RawCommandsSubject(event.Provider(name), "*"),
		event.StreamNormalized: event.NormalizedCommandsSubject(event.Provider(name)),
	} {
		err := c.eachMessage(ctx, stream, filter, func(m event.Stored) error {
			command := Commanded{Record: "normalizing"}
			of, s, ok := event.CommandsOf(m.Subject)
			if !ok {
				return nil
			}
			command.Provider, command.Source = of, s
			switch {
			case stream == event.StreamRaw && s == "":
				command.Record = "collecting"
			case stream == event.StreamRaw:
				command.Record = "source"
			}
			if err := event.DecodeRecord(m, &command.Command); err != nil {
				return err
			}
			all = append(all, command)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b Commanded) int { return a.At.Compare(b.At) })
	return all, nil
}

// eachMessage calls yield for what a stream has now on the subjects that filter matches, in order.
func (c *Client) eachMessage(ctx context.Context, stream, filter string, yield func(event.Stored) error) error {
	op := "read " + filter
	handle, err := c.stream(ctx, stream)
	if err != nil {
		return err
	}
	ctx, release := c.failOnRefusal(ctx, isConsumerRequest(stream))
	defer release()
	consumer, err := handle.OrderedConsumer(ctx, natsjs.OrderedConsumerConfig{FilterSubjects: []string{filter}})
	if err != nil {
		return readError(ctx, op, err)
	}
	left := consumer.CachedInfo().NumPending
	for began := time.Now(); left > 0; {
		batch, err := consumer.Fetch(int(min(left, memoryPull)), natsjs.FetchMaxWait(readTimeout))
		if err != nil {
			return readError(ctx, op, err)
		}
		came := false
		for msg := range batch.Messages() {
			came = true
			meta, err := msg.Metadata()
			if err != nil {
				return unavailable(op, err)
			}
			if err := yield(stored(msg, meta)); err != nil {
				return err
			}
			left = meta.NumPending
		}
		err = batch.Error()
		if !came && errors.Is(err, nats.ErrNoResponders) && time.Since(began) < readTimeout {
			// A server that has just been given a consumer need not be known yet to the one we are connected to.
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		if err != nil {
			return readError(ctx, op, err)
		}
		if !came {
			return unavailable(op, fmt.Errorf("%d messages do not come", left))
		}
	}
	return nil
}
