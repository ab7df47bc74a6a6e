package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/letters"
	"stackstream/internal/app/show"
	"stackstream/publisher"
)

// repairing is a command at work.
type repairing struct {
	Program
	*repairOptions
	dead     *deadLetters
	jobs     []*repairJob
	told     string // on standard error, last
	awaiting *awaiting
}

// repairJob is what is done about the letters of one provider.
type repairJob struct {
	letters.Job
	picked letters.Picked
	result repairResult
}

// repairResult is what was done, for programs.
type repairResult struct {
	Provider event.Provider `json:"provider"`
	// Letters were meant, Sent is how many of them this command put into EVENTS_RAW, Others somebody else meanwhile.
	Letters int `json:"letters"`
	Sent    int `json:"sent"`
	Others  int `json:"others,omitempty"`
	// Queued had been put there before.
	Queued int `json:"queued,omitempty"`
	// Lost have no body any more, Gone are letters that EVENTS_DEAD dropped meanwhile, Done were done before.
	Lost int `json:"lost,omitempty"`
	Gone int `json:"gone,omitempty"`
	Done int `json:"done,omitempty"`
	// What became of those that were sent or queued: events, a record that they are dropped, new dead letters, nothing yet.
	Redriven int             `json:"redriven"`
	Dropped  int             `json:"dropped"`
	Dead     int             `json:"dead"`
	Waiting  int             `json:"waiting"`
	Why      string          `json:"waiting_because,omitempty"`
	Groups   []letters.Group `json:"dead_again,omitempty"`
	// Trial is what a configuration makes of the letters, with --dry-run.
	Trial *repairTrial `json:"trial,omitempty"`
}

// repairTrial is what the converters of a configuration make of the letters of one provider.
type repairTrial struct {
	Converted int               `json:"converted"`
	Dead      int               `json:"dead"`
	Lost      int               `json:"lost"`
	Refused   []letters.Refusal `json:"refused,omitempty"`
}

func (p Program) repair(cmd *cobra.Command, o *repairOptions) error {
	filter, name, settings, err := o.read(p)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	dead, err := p.openLetters(ctx, &o.nats, settings, name)
	if err != nil {
		return err
	}
	defer p.close(ctx, dead.client)
	r := &repairing{Program: p, repairOptions: o, dead: dead}
	r.awaiting = newAwaiting(r.note)
	if err := r.pick(ctx, filter); err != nil {
		return err
	}
	letters, queued := r.count()
	switch {
	case o.dryRun:
		return r.dry(ctx, letters)
	case letters == 0 && queued == 0:
		return r.report()
	case letters > 0:
		if err := p.agree(ctx, r.question(letters), o.yes); err != nil {
			return err
		}
	}
	if err := r.send(ctx); err != nil {
		return err
	}
	if err := r.await(ctx); err != nil {
		return err
	}
	return r.report()
}

// pick selects the letters of every provider, and says which they are.
func (r *repairing) pick(ctx context.Context, filter *letters.Filter) error {
	var groups letters.Groups
	for _, name := range r.dead.names {
		j := &repairJob{Job: letters.Job{
			Provider: r.dead.provider(name), Writer: r.writer(name), Drop: r.drop, By: r.who(r.Program), Why: r.why,
		}}
		j.Again = r.awaiting.again
		if err := j.Open(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var err error
		if j.picked, err = j.Pick(ctx, filter); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		j.result = repairResult{
			Provider: name, Letters: len(j.picked.Places), Queued: len(j.picked.Queued), Lost: j.picked.Lost, Done: j.picked.Done,
		}
		groups.Merge(j.picked.Groups)
		r.jobs = append(r.jobs, j)
	}
	out := r.Stdout
	if r.json {
		out = r.Stderr
	}
	return r.describe(out, groups.List(), filter)
}

// writer makes the one that puts raw events of the source redrive into RAW.
func (r *repairing) writer(name event.Provider) letters.Writer {
	client := r.dead.client
	return publisher.NewRaw(client.Raw(), client.Bodies(), name, event.SourceRedrive, event.Fence{}, publisher.Options{
		Owner:  "stackstream dead, " + r.operator(),
		Limits: publisher.Limits{MaxBody: int(client.Conn().MaxPayload()) - publisher.Reserve},
		Hooks: publisher.Hooks{
			Waiting: func(err error) { r.note("%s waits: %v", name, err) },
			Resumed: func() { r.told = "" },
		},
	})
}

// note tells something on standard error, once.
func (r *repairing) note(format string, args ...any) {
	if text := show.Clean(fmt.Sprintf(format, args...)); text != r.told {
		r.told = text
		fmt.Fprintln(r.Stderr, text)
	}
}

func (r *repairing) count() (picked, queued int) {
	for _, j := range r.jobs {
		picked += len(j.picked.Places)
		queued += len(j.picked.Queued)
	}
	return picked, queued
}

// describe says which letters are meant, and which are not.
func (r *repairing) describe(out io.Writer, groups []letters.Group, filter *letters.Filter) error {
	var queued, lost, done int
	for _, j := range r.jobs {
		queued += len(j.picked.Queued)
		lost += j.picked.Lost
		done += j.picked.Done
	}
	if len(groups) > 0 {
		if err := showGroups(out, groups, nil); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(out, r.dead.none(filter))
	}
	for _, more := range []struct {
		n    int
		text string
	}{
		{queued, "On the way already, and waited for"},
		{lost, "Left out because their bodies are gone, so that there is nothing to convert (see dead drop --reason body-lost)"},
		{done, "Left out because they were converted again or dropped before"},
	} {
		if more.n > 0 {
			fmt.Fprintf(out, "%s: %s.\n", more.text, numbered(more.n, "letter"))
		}
	}
	return nil
}

func (r *repairing) question(letters int) string {
	if r.drop {
		return fmt.Sprintf("Record that nothing is to be done about %s?", numbered(letters, "dead letter"))
	}
	return fmt.Sprintf("Have %s converted again? What works out is published, marked Evt-Redriven.", numbered(letters, "dead letter"))
}

func numbered(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// dry says what would be done, and what the converters of a configuration make of the letters.
func (r *repairing) dry(ctx context.Context, letters int) error {
	if r.nats.file == "" || r.drop || letters == 0 {
		if r.json {
			return r.report()
		}
		return r.say("Nothing was changed.")
	}
	cfg, err := r.load(r.nats.file)
	if err != nil {
		return err
	}
	converters, err := app.Converters(cfg)
	if err != nil {
		return err
	}
	refused := false
	for _, j := range r.jobs {
		if len(j.picked.Places) == 0 {
			continue
		}
		trial, err := j.Try(ctx, j.picked.Places, converters, r.progress(j, "tried"))
		if err != nil {
			return err
		}
		refused = refused || len(trial.Refused) > 0
		again := len(j.picked.Places) - trial.Converted - trial.Lost
		if r.json {
			j.result.Trial = &repairTrial{Converted: trial.Converted, Dead: again, Lost: trial.Lost, Refused: trial.Refused}
			continue
		}
		fmt.Fprintf(r.Stdout, "\n%s: %d would be converted by %s, %d would be dead again, %d have no body any more.\n",
			j.Name, trial.Converted, r.nats.file, again, trial.Lost)
		if len(trial.Refused) == 0 {
			continue
		}
		rows := [][]string{{"REASON", "LETTERS", "FIRST", "WHY"}}
		for _, refusal := range trial.Refused {
			rows = append(rows, []string{
				string(refusal.Reason), fmt.Sprint(refusal.Letters), fmt.Sprint(refusal.First), brief(refusal.Detail),
			})
		}
		if err := show.Table(r.Stdout, rows); err != nil {
			return err
		}
	}
	if r.json {
		err = r.report()
	} else {
		err = r.say("\nNothing was changed.")
	}
	if err != nil || !refused {
		return err
	}
	return errReported
}

// tellEvery is how often progress is told.
const tellEvery = 5 * time.Second

// progress tells now and then how many letters are dealt with.
func (r *repairing) progress(j *repairJob, what string) func(int) {
	last := time.Now()
	return func(dealt int) {
		if time.Since(last) > tellEvery {
			last = time.Now()
			r.note("%s: %s %d of %d", j.Name, what, dealt, len(j.picked.Places))
		}
	}
}

// send puts what was picked into RAW.
func (r *repairing) send(ctx context.Context) error {
	for _, j := range r.jobs {
		if len(j.picked.Places) == 0 {
			continue
		}
		sent, err := j.Send(ctx, j.picked, r.progress(j, "sent"))
		j.picked.Queued = append(j.picked.Queued, sent.Letters...)
		j.result.Sent, j.result.Others = len(sent.Letters), sent.Others
		j.result.Lost += sent.Lost
		j.result.Gone = sent.Gone
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		return fmt.Errorf("%s: %w: %d of %d letters are in EVENTS_RAW and will be dealt with; run the same command again for the "+
			"others, none is taken twice", j.Name, err, len(sent.Letters), len(j.picked.Places))
	}
	return nil
}

// await waits until the normalizer has dealt with what is in RAW, and finds out what became of it.
func (r *repairing) await(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	for _, j := range r.jobs {
		if len(j.picked.Queued) == 0 {
			continue
		}
		why := ""
		if r.wait > 0 {
			stall := stalled{client: r.dead.client, provider: j.Name, since: time.Now()}
			_, err := j.Await(limited, func(left event.Seq, at event.NormalizedCursor) {
				if why = stall.why(limited, at); why != "" {
					r.note("%s: %d still to be done: %s", j.Name, left, why)
				}
			})
			if err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted while waiting, and nothing is lost by that: what was sent is in EVENTS_RAW, and the " +
				"normalizers deal with it; `stackstream dead ls --state queued` shows what they have not come to yet")
		}
		outcome, err := j.Outcome(ctx, j.picked.Queued)
		if err != nil {
			return err
		}
		j.result.Redriven, j.result.Dropped, j.result.Waiting = outcome.Redriven, outcome.Dropped, outcome.Waiting
		j.result.Dead, j.result.Groups = len(outcome.Dead), outcome.Groups.List()
		if outcome.Waiting > 0 && r.wait > 0 {
			if j.result.Why = why; why == "" {
				j.result.Why = "the normalizer is at it"
			}
		}
	}
	return nil
}

// report says what was done.
func (r *repairing) report() error {
	failed := false
	results := make([]repairResult, 0, len(r.jobs))
	for _, j := range r.jobs {
		failed = failed || j.result.Dead > 0 || j.result.Waiting > 0 && r.wait > 0
		results = append(results, j.result)
	}
	if r.json {
		if err := r.printJSON(results); err != nil {
			return err
		}
	} else {
		for i := range results {
			if err := r.reportOn(&results[i]); err != nil {
				return err
			}
		}
	}
	if failed {
		return errReported
	}
	return nil
}

func (r *repairing) reportOn(of *repairResult) error {
	if of.Sent+of.Others+of.Queued+of.Gone == 0 {
		return nil
	}
	outcome := fmt.Sprintf("%d redriven, %d dead again", of.Redriven, of.Dead)
	if r.drop {
		outcome = fmt.Sprintf("%d dropped", of.Dropped)
		if of.Redriven+of.Dead > 0 {
			outcome += fmt.Sprintf(", %d redriven by somebody else, %d dead again", of.Redriven, of.Dead)
		}
	} else if of.Dropped > 0 {
		outcome += fmt.Sprintf(", %d dropped by somebody else", of.Dropped)
	}
	fmt.Fprintf(r.Stdout, "\n%s: %s, %d waiting.\n", of.Provider, outcome, of.Waiting)
	for _, more := range []struct {
		n    int
		text string
	}{
		{of.Others, "sent by another command meanwhile"},
		{of.Gone, "not found any more: EVENTS_DEAD has dropped them, or a server lags (run it again to see)"},
	} {
		if more.n > 0 {
			fmt.Fprintf(r.Stdout, "%s: %s.\n", numbered(more.n, "letter"), more.text)
		}
	}
	if len(of.Groups) > 0 {
		fmt.Fprintf(r.Stdout, "Those that are dead again are new letters (stackstream dead ls --provider %s):\n", of.Provider)
		if err := showGroups(r.Stdout, of.Groups, nil); err != nil {
			return err
		}
	}
	if of.Waiting > 0 && of.Why != "" {
		fmt.Fprintf(r.Stdout, "What waits is in EVENTS_RAW and will be dealt with: %s.\n", of.Why)
	} else if of.Waiting > 0 {
		fmt.Fprintln(r.Stdout, "What waits is in EVENTS_RAW and will be dealt with: see stackstream dead ls --state queued.")
	}
	return nil
}
