package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stackstream/event"
	"stackstream/internal/app/config"
	"stackstream/jetstream"
	"stackstream/normalizer"
	"stackstream/normalizer/httpevent"
	"stackstream/publisher"
	"stackstream/replay"
	"stackstream/subscribe"
)

// Replays works on jobs that convert raw events once more, with the converters of a configuration.
type Replays struct {
	client     *jetstream.Client
	conversion normalizer.Conversion
	config     *config.Config
	by         string
}

// NewReplays takes who to name as the one at work.
func NewReplays(c *jetstream.Client, cfg *config.Config, by string) (*Replays, error) {
	all, err := Converters(cfg)
	if err != nil {
		return nil, err
	}
	return &Replays{
		client: c, config: cfg, by: by,
		conversion: normalizer.Conversion{Converters: all, Bodies: c.Bodies()},
	}, nil
}

// ReplayRange is which raw events are asked for.
type ReplayRange struct {
	Provider     event.Provider
	Since, Until jetstream.Bound
	Types        []string
}

// ErrNoRaw says that a range has no raw events.
var ErrNoRaw = errors.New("no raw events")

// span looks the range up. The error names what there is.
func (r *Replays) span(ctx context.Context, want ReplayRange) (jetstream.RawSpan, error) {
	span, ok, err := r.client.RawSpan(ctx, want.Provider, want.Since, want.Until)
	if err != nil || ok {
		return span, err
	}
	all, ok, err := r.client.RawSpan(ctx, want.Provider, jetstream.Bound{}, jetstream.Bound{})
	switch {
	case err != nil:
		return span, err
	case !ok:
		return span, fmt.Errorf("%s has %w of %s", event.StreamRaw, ErrNoRaw, want.Provider)
	}
	return span, fmt.Errorf("%s has %w of %s in that range; it has some from sequence %d (%s) to %d",
		event.StreamRaw, ErrNoRaw, want.Provider, all.From, all.First.UTC().Format(time.RFC3339), all.To)
}

// New is the record of a job that is to be made, and the part of RAW that it is about.
func (r *Replays) New(ctx context.Context, want ReplayRange) (event.Replay, jetstream.RawSpan, error) {
	span, err := r.span(ctx, want)
	if err != nil {
		return event.Replay{}, span, err
	}
	record := event.Replay{
		Provider: want.Provider, From: span.From, To: span.To, RawCreated: span.Created, RawSeq: span.From - 1,
		Sources: span.Sources, Types: want.Types, MadeBy: r.by, MadeAt: time.Now().UTC(), State: event.ReplayRunning,
	}
	record.Converters, record.Rules = r.versions(want.Provider)
	return record, span, nil
}

// versions are the converters that a provider's raw events may need, and a sign of the settings that they share.
func (r *Replays) versions(p event.Provider) (names map[string]string, rules string) {
	names = map[string]string{}
	for format, c := range r.conversion.Converters {
		if !strings.Contains(format, "/") || format == httpevent.Format(p) {
			names[format] = c.Name()
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", r.config.Normalizer))
	return names, hex.EncodeToString(sum[:4])
}

// CheckSame returns an error if a job was made with other converters than those at hand: half of what it makes would be
// different from the other half.
func (r *Replays) CheckSame(record *event.Replay) error {
	names, rules := r.versions(record.Provider)
	for _, format := range slices.Sorted(maps.Keys(names)) {
		if was, known := record.Converters[format]; known && was != names[format] {
			return fmt.Errorf("it was made with the converter %s, and this configuration and program have %s", was, names[format])
		}
	}
	if record.Rules != rules {
		return errors.New("it was made with other settings of normalizer")
	}
	return nil
}

// Job is a job that can be worked on.
func (r *Replays) Job(name event.ReplayName, p event.Provider, types []string, waiting func(error), resumed func()) *replay.Job {
	limits := publisher.Limits{MaxBody: int(r.client.Conn().MaxPayload()) - publisher.Reserve}
	j := &replay.Job{
		Committer: publisher.NewReplay(r.client.Replay(), r.client.Bodies(), name, p, publisher.Options{
			Owner: ClientName(), Limits: limits, Hooks: publisher.Hooks{Waiting: waiting, Resumed: resumed},
		}),
		Raw: func(record *event.Replay) replay.Range {
			return r.client.RawRange(record.Provider, record.RawCreated, record.RawSeq+1, record.To)
		},
		Conversion: r.conversion,
		Waiting:    waiting,
	}
	if len(types) > 0 {
		j.Match = subscribe.MatchTypes(types)
	}
	return j
}

// Comparison compares a range with what NORMALIZED has of it. Raw events that are not normalized yet are left out: pending says
// how many that are.
func (r *Replays) Comparison(
	ctx context.Context, want ReplayRange,
) (c *replay.Comparison, span jetstream.RawSpan, pending uint64, err error) {
	if span, err = r.span(ctx, want); err != nil {
		return nil, span, 0, err
	}
	cursor, err := r.client.NormalizedCursor(ctx, want.Provider)
	if err != nil {
		return nil, span, 0, err
	}
	span.To = min(span.To, cursor.RawSeq)
	for source, s := range span.Sources {
		if done := max(cursor.Sources[source].Position, s.First-1); s.First > 0 && s.Last > done {
			pending += uint64(s.Last - done)
			s.Last = done
			span.Sources[source] = s
		}
	}
	if span.To < span.From {
		return nil, span, pending, fmt.Errorf("nothing of that range is normalized yet: the normalizer of %s is at sequence %d of %s",
			want.Provider, cursor.RawSeq, event.StreamRaw)
	}
	c = &replay.Comparison{
		Provider: want.Provider, From: span.From, To: span.To, Conversion: r.conversion,
		Raw: r.client.RawRange(want.Provider, span.Created, span.From, span.To),
		// What is normalized was stored after what it was made of; a new leader's clock may be behind that of the one before.
		Normalized: r.client.NormalizedRange(want.Provider, span.First.Add(-time.Minute), cursor.Sequence),
	}
	if len(want.Types) > 0 {
		c.Match = subscribe.MatchTypes(want.Types)
	}
	return c, span, pending, nil
}

// ReplayCommand changes the record of a job by an operator's command and leaves a trace of it. Who works on the job is fenced.
func ReplayCommand(
	ctx context.Context, c *jetstream.Client, name event.ReplayName, by string, change func(*event.Replay) (event.Command, error),
) (event.Replay, error) {
	return publisher.Command(ctx, c.Replay(), event.ReplayCursorSubject(name), event.ReplayCommandsSubject(name),
		publisher.Options{Owner: by}, func(record *event.Replay, exists bool) (event.Command, error) {
			if !exists {
				return event.Command{}, fmt.Errorf("there is no job %q: stackstream replay ls lists them", name)
			}
			return change(record)
		})
}
