package deploytest

import (
	"context"
	"testing"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/replay"
	"stackstream/subscribe"
)

// replays does what stackstream replay does, with the events that the pipeline has put there: it compares them, makes a job of
// them, lists, reads and removes it.
func replays(t *testing.T, c *cluster) {
	const cloud, name = event.Provider("my-cloud"), event.ReplayName("fix")
	client := c.client(t, "replay")
	if err := client.CheckReplay(within(t), config.Default().Streams); err != nil {
		t.Fatal(err)
	}
	reader := c.plain(t, "subscriber", "_INBOX_subscriber")
	plain, err := reader.SubscribeSync("events.replay.*.*")
	if err != nil {
		t.Fatal(err)
	}
	all, err := app.NewReplays(client, config.Default(), "test")
	if err != nil {
		t.Fatal(err)
	}
	want := app.ReplayRange{Provider: cloud}
	comparison, _, _, err := all.Comparison(within(t), want)
	if err != nil {
		t.Fatal(err)
	}
	comparison.Each = func(replay.Difference) error { return nil }
	tally, err := comparison.Compare(within(t))
	if err != nil || tally.Raw == 0 || tally.Same+tally.StillDead != tally.Raw {
		t.Errorf("compared: %+v (%v)", tally, err)
	}
	record, _, err := all.New(within(t), want)
	if err != nil {
		t.Fatal(err)
	}
	job := all.Job(name, cloud, nil, nil, nil)
	if record, err = job.Start(within(t), func(event.Replay, bool) (event.Replay, error) { return record, nil }); err == nil {
		record, err = job.Run(within(t), record)
	}
	if err != nil || record.Counts.Raw != tally.Raw {
		t.Fatalf("the job: %+v (%v)", record.Counts, err)
	}
	if _, err := app.ReplayCommand(within(t), client, name, "test", func(*event.Replay) (event.Command, error) {
		return event.Command{Verb: "look"}, nil
	}); err != nil {
		t.Errorf("a command: %v", err)
	}
	if m, err := plain.NextMsg(limit); err != nil || m.Subject != event.ReplaySubject(name, cloud) {
		t.Errorf("a plain subscriber is given %+v (%v)", m, err)
	}
	ctx, enough := context.WithCancel(within(t))
	defer enough()
	err = subscribe.Tail(ctx, client.Conn(), subscribe.TailOptions{Replay: name}, func(context.Context, subscribe.Event) error {
		enough()
		return nil
	})
	if err != nil {
		t.Errorf("tail: %v", err)
	}
	if jobs, err := client.Replays().List(within(t)); err != nil || len(jobs) != 1 || jobs[0].HeldEvents+jobs[0].HeldDead == 0 {
		t.Errorf("the jobs are %+v (%v)", jobs, err)
	}
	if err := client.Replays().Remove(within(t), name); err != nil {
		t.Errorf("remove: %v", err)
	}
}
