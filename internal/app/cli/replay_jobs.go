package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

// jobArg takes the name of a job as the one argument.
func jobArg(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("takes the name of one job; stackstream replay ls lists them")
	}
	if _, err := event.ParseReplayName(args[0]); err != nil {
		return usageError{err}
	}
	return nil
}

func (p Program) replayResumeCommand() *cobra.Command {
	var nats natsFlags
	var record onRecord
	var rate paceValue
	var acceptGap bool
	cmd := &cobra.Command{
		Use:   "resume NAME -c FILE",
		Short: "Go on with a job, exactly behind what it has written",
		Long: `resume works on a job that was interrupted, killed, paused, or stopped at a gap. It goes on exactly behind
what the job has written, in the foreground; another process that still works on it is fenced. The
configuration must give the converters that the job was made with.`,
		Example: `  stackstream replay resume fix-1 -c stackstream.yaml
  stackstream replay resume fix-1 -c stackstream.yaml --rate 2000/s`,
		Args: jobArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if nats.file == "" {
				return usagef("a configuration is needed, for its converters: give it with -c FILE")
			}
			return p.replayResume(cmd.Context(), &nats, &record, event.ReplayName(args[0]), acceptGap, uint64(rate))
		},
	}
	nats.add(cmd)
	record.add(cmd)
	record.reasoned(cmd)
	cmd.Flags().Var(&rate, "rate", "convert at most `N/s` raw events a second from now on; default: as the job has it")
	cmd.Flags().BoolVar(&acceptGap, "accept-gap", false,
		"go on where EVENTS_RAW has dropped events of the range, and count them as lost")
	return cmd
}

func (p Program) replayResume(
	ctx context.Context, nats *natsFlags, record *onRecord, name event.ReplayName, acceptGap bool, rate uint64,
) error {
	replays, client, cfg, err := p.replays(ctx, nats, "")
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	if err := client.CheckReplay(ctx, cfg.Streams); err != nil {
		return err
	}
	job, err := readJob(ctx, client, name)
	if err != nil {
		return err
	}
	if cfg.Providers[job.Provider] == nil {
		return usagef("job %s is about the provider %s, which is not in %s", name, job.Provider, nats.file)
	}
	run := replayRun{
		replays: replays, client: client, name: name, provider: job.Provider, types: job.Types, nats: nats, acceptGap: acceptGap,
	}
	if job.State == event.ReplayPaused {
		// The trace of it; the process below writes the record anew.
		_, err := app.ReplayCommand(ctx, client, name, record.who(p), func(r *event.Replay) (event.Command, error) {
			if r.State == event.ReplayPaused {
				r.State, r.Halted = event.ReplayRunning, nil
			}
			return event.Command{Verb: "resume", Why: record.why}, run.mayGoOn(r)
		})
		if err != nil {
			return err
		}
	}
	return p.runReplay(ctx, run, func(record event.Replay, exists bool) (event.Replay, error) {
		if !exists {
			return record, fmt.Errorf("job %s was removed", name)
		}
		if rate > 0 {
			record.Rate = rate
		}
		return record, run.mayGoOn(&record)
	})
}

// readJob returns a job that is to be there.
func readJob(ctx context.Context, c *jetstream.Client, name event.ReplayName) (jetstream.ReplayJob, error) {
	job, ok, err := c.Replays().Read(ctx, name)
	if err == nil && !ok {
		err = fmt.Errorf("there is no job %q: stackstream replay ls lists them", name)
	}
	return job, err
}

func (p Program) replayListCommand() *cobra.Command {
	var nats natsFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the jobs",
		Long: `ls shows every job: how it fares, how many raw events it has dealt with, and what it has made. A job that
was killed can't say so: it is shown as one that has given no sign for a while.`,
		Example: "  stackstream replay ls\n  stackstream replay ls --json | jq -r '.[] | select(.state == \"done\") | .name'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withNATS(cmd.Context(), &nats, func(ctx context.Context, c *jetstream.Client) error {
				var jobs []jetstream.ReplayJob
				err := p.awaiting().try(ctx, func() (err error) {
					jobs, err = c.Replays().List(ctx)
					return err
				})
				if err != nil {
					return err
				}
				if asJSON {
					return p.printJSON(jobs)
				}
				return show.Replays(p.Stdout, jobs, time.Now())
			})
		},
	}
	nats.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func (p Program) replayShowCommand() *cobra.Command {
	var nats natsFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a job, and how to read what it has made",
		Long: `show tells what a job is to do, how it fares, what it has made so far and how much of that is still kept,
and how to read it.`,
		Example: "  stackstream replay show fix-1\n  stackstream replay show fix-1 --json | jq .counts",
		Args:    jobArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withNATS(cmd.Context(), &nats, func(ctx context.Context, c *jetstream.Client) error {
				job, err := readJob(ctx, c, event.ReplayName(args[0]))
				if err != nil {
					return err
				}
				if asJSON {
					return p.printJSON(job)
				}
				return show.Replay(p.Stdout, &job, time.Now())
			})
		},
	}
	nats.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func (p Program) replayPauseCommand() *cobra.Command {
	return p.replayHaltCommand("pause", event.ReplayPaused, &cobra.Command{
		Use:   "pause NAME",
		Short: "Stop a job until somebody resumes it",
		Long: `pause stops a job. The process that works on it is fenced with the next thing it writes, says who has
paused the job and why, and ends; what it has written stays. Nobody can go on with the job but with
"stackstream replay resume NAME". Interrupted, it has happened or not: "replay show" says which.`,
		Example: "  stackstream replay pause fix-1 --why 'the disk is busy'",
	})
}

func (p Program) replayCancelCommand() *cobra.Command {
	return p.replayHaltCommand("cancel", event.ReplayCancelled, &cobra.Command{
		Use:   "cancel NAME",
		Short: "End a job for good",
		Long: `cancel ends a job before it is done. The process that works on it is fenced and ends. What the job has
written stays until it is too old, or until "stackstream replay rm NAME"; nobody can go on with it. Interrupted,
it has happened or not: "replay show" says which.`,
		Example: "  stackstream replay cancel fix-1 --why 'wrong range'",
	})
}

// replayHaltCommand completes a command that stops a job.
func (p Program) replayHaltCommand(verb string, state event.ReplayState, cmd *cobra.Command) *cobra.Command {
	var nats natsFlags
	var record onRecord
	cmd.Args = jobArg
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.withNATS(cmd.Context(), &nats, func(ctx context.Context, c *jetstream.Client) error {
			name := event.ReplayName(args[0])
			halted, err := app.ReplayCommand(ctx, c, name, record.who(p), func(r *event.Replay) (event.Command, error) {
				switch r.State {
				case event.ReplayDone, event.ReplayCancelled:
					return event.Command{}, fmt.Errorf("job %s is %s already", name, r.State)
				}
				r.State, r.Halted = state, &event.Pause{By: record.who(p), Why: record.why, At: time.Now().UTC()}
				return event.Command{Verb: verb, Why: record.why}, nil
			})
			if err != nil {
				return err
			}
			return p.say(fmt.Sprintf("Job %s is %s at %s of %s raw events.", name, halted.State,
				show.Count(halted.Counts.Raw+halted.Counts.Lost), show.Count(halted.Total())))
		})
	}
	nats.add(cmd)
	record.add(cmd)
	record.reasoned(cmd)
	return cmd
}

func (p Program) replayRemoveCommand() *cobra.Command {
	var nats natsFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a job and all that it has written",
		Long: `rm removes a job's events, dead letters and record from EVENTS_REPLAY, at once and for good. Nothing else
is touched, and the job can be made again. A job that is not done has to be cancelled first. Interrupted,
rm can be given again.`,
		Example: "  stackstream replay rm fix-1\n  stackstream replay rm fix-1 --yes",
		Args:    jobArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withNATS(cmd.Context(), &nats, func(ctx context.Context, c *jetstream.Client) error {
				return p.replayRemove(ctx, c, event.ReplayName(args[0]), yes)
			})
		},
	}
	nats.add(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (p Program) replayRemove(ctx context.Context, c *jetstream.Client, name event.ReplayName, yes bool) error {
	job, err := readJob(ctx, c, name)
	if err != nil {
		return err
	}
	switch job.State {
	case event.ReplayDone, event.ReplayCancelled:
	default:
		return fmt.Errorf("job %s is %s (%s wrote %s): cancel it first with `stackstream replay cancel %s`", name, job.State, job.Owner,
			job.WrittenAt.UTC().Format(time.RFC3339), name)
	}
	fmt.Fprintf(p.Stderr, "This removes job %s with %s events and %s dead letters that it has written to %s.\n", name,
		show.Count(job.HeldEvents), show.Count(job.HeldDead), event.StreamReplay)
	if err := p.agree(ctx, "Go on?", yes); err != nil {
		return err
	}
	if err := c.Replays().Remove(ctx, name); err != nil {
		return err
	}
	return p.say(fmt.Sprintf("Job %s is removed.", name))
}
