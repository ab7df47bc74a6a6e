package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"stackstream/event"
	"stackstream/internal/app/show"
	"stackstream/replay"
)

// replayDiff compares a range with what is there.
func (p Program) replayDiff(ctx context.Context, o *replayOptions) error {
	replays, client, _, err := p.replays(ctx, &o.nats, o.provider)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	c, span, pending, err := replays.Comparison(ctx, o.want())
	if err != nil {
		return err
	}
	p.sayDropped(span)
	if pending > 0 {
		fmt.Fprintf(p.Stderr, "%s raw events of the range are not normalized yet: they are left out\n", show.Count(pending))
	}
	job := event.Replay{Sources: span.Sources}
	progress := show.NewProgress(p.Stderr, "diff", isTerminal(p.Stderr), time.Now)
	progress.Begin(0, job.Total())
	c.Waiting = func(err error) { progress.Wait(err.Error()) }
	c.Progress = func(t replay.Tally) {
		progress.Wait("")
		progress.Update(t.Raw, show.Count(t.Changed+t.Revived+t.Died)+" differ")
	}
	lines := json.NewEncoder(p.Stdout)
	lines.SetEscapeHTML(false)
	shown := uint64(0)
	c.Each = func(d replay.Difference) error {
		if o.json {
			return lines.Encode(d)
		}
		if d.Kind == replay.Missing || shown == uint64(o.limit) {
			return nil
		}
		shown++
		progress.End()
		return show.Difference(p.Stdout, &d, p.colour(p.Stdout))
	}
	tally, err := c.Compare(ctx)
	progress.End()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted after %s raw events", show.Count(tally.Raw))
	case err != nil:
		return err
	}
	if o.json {
		return lines.Encode(struct {
			Kind string `json:"kind"`
			replay.Tally
		}{"tally", tally})
	}
	if shown > 0 {
		fmt.Fprintln(p.Stdout)
	}
	return show.Tally(p.Stdout, &tally)
}
