package replay

import (
	"context"
	"fmt"
	"testing"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/publisher"
)

// failing is a Log whose process dies at its n-th batch: before it is stored, or when it is stored and nobody knows.
type failing struct {
	publisher.Log
	n      int
	stored bool
	die    context.CancelFunc
}

func (f *failing) Append(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
	if f.n--; f.n != 0 {
		return f.Log.Append(ctx, b)
	}
	if f.stored {
		if _, err := f.Log.Append(ctx, b); err != nil {
			return 0, err
		}
	}
	f.die()
	return 0, context.Canceled
}

// At every batch that a job writes, the first record and the last one too, its process may die, and the next one goes on.
func TestAJobGoesOnBehindEveryBatch(t *testing.T) {
	const events, writes = 1700, 6 // the record that makes it, four batches and the record that ends it
	c, file := world(t, events)
	cfg, err := config.Reader{Env: func(string) (string, bool) { return "", false }, Kinds: app.Kinds()}.File(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := app.NewReplays(c, cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	want := app.ReplayRange{Provider: cloud}
	made, _, err := all.New(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	work := func(ctx context.Context, name event.ReplayName, log publisher.Log) error {
		job := all.Job(name, cloud, nil, nil, nil)
		job.Committer = publisher.NewReplay(log, c.Bodies(), name, cloud, publisher.Options{Owner: "test"})
		record, err := job.Start(ctx, func(record event.Replay, exists bool) (event.Replay, error) {
			if exists {
				return record, nil
			}
			return made, nil
		})
		if err == nil {
			_, err = job.Run(ctx, record)
		}
		return err
	}
	for n := 1; n <= writes; n++ {
		for _, stored := range []bool{false, true} {
			name := event.ReplayName(fmt.Sprintf("at-%d-%v", n, stored))
			ctx, die := context.WithCancel(t.Context())
			log := &failing{Log: c.Replay(), n: n, stored: stored, die: die}
			if err := work(ctx, name, log); err == nil || ctx.Err() == nil {
				t.Fatalf("%s: the process does not die (%v)", name, err)
			}
			if err := work(t.Context(), name, c.Replay()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			verify(t, c, name, events)
			job, ok, err := c.Replays().Read(t.Context(), name)
			if err != nil || !ok || job.State != event.ReplayDone || job.Counts.Raw != events || job.Counts.Events != events {
				t.Errorf("%s: %+v (%v)", name, job, err)
			}
			die()
		}
	}
}
