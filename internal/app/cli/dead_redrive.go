package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/letters"
	"stackstream/internal/app/show"
	"stackstream/internal/setting"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// repairOptions say how something is done about dead letters.
type repairOptions struct {
	nats    natsFlags
	which   letterFlags
	drop    bool
	why     string
	wait    time.Duration
	dryRun  bool
	yes     bool
	json    bool
	waiting string // --wait as it was given
}

func (p Program) deadRedriveCommand() *cobra.Command {
	o := repairOptions{}
	cmd := &cobra.Command{
		Use:   "redrive --why TEXT",
		Short: "Have dead letters converted again",
		Long: `redrive has dead letters converted again by the normalizers that run, after a converter or a mapping was
mended. It says how many letters that are, asks, and puts them into EVENTS_RAW as events of the source
"redrive"; the normalizers convert them in their turn, each once. What becomes of a letter is an event on
events.normalized.<provider>, marked Evt-Redriven and out of time order, or a new dead letter with a
number of its own. redrive waits for that, and reports it.

What is collected meanwhile goes on as before: only what is new on the stream comes to subscribers. The
letters stay where they are, with a record of what became of each.

It may be interrupted, or killed, at any moment, and be run again, and several may run at a time: a letter
is never converted again twice. Once a letter is in EVENTS_RAW nobody has to wait for it.

First give the normalizers the mended converter or mapping (a new version, or a new configuration and a
restart). Try it before, with -c and --dry-run: the letters are then converted by this process, with the
configuration FILE, and nothing is written. Collectors and normalizers must all be of a version that has
this command: an older one stops at what it does not know, and says so.

Letters whose bodies are gone are left out, unless --reason body-lost or --number asks for them. Letters
that were dropped are taken with --state dropped. Exit code 1: some are dead again, or still wait.`,
		Example: `  stackstream dead redrive --provider prod --reason malformed --dry-run
  stackstream dead redrive --provider prod --converter 'http/*' --dry-run -c stackstream.yaml
  stackstream dead redrive --provider prod --converter 'http/*' --why 'mapping of user mended'
  stackstream dead redrive --number 17,20-29 --provider prod --why 'try again' --yes --wait 0`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.repair(cmd, &o) },
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false,
		"change nothing: say which letters are meant, and with -c what its converters make of them")
	return cmd
}

func (p Program) deadDropCommand() *cobra.Command {
	o := repairOptions{drop: true}
	cmd := &cobra.Command{
		Use:   "drop --why TEXT",
		Short: "Say that nothing is to be done about dead letters",
		Long: `drop records that nothing is to be done about dead letters: they are no longer open, and who said so, when
and why stays beside them. Nothing is deleted: they can be shown and exported as long as EVENTS_DEAD keeps
them, and "dead redrive --state dropped" still has them converted again.

It goes the same way as redrive: through EVENTS_RAW, and the normalizers record it in their turn. drop says
how many letters are meant, asks, and waits until that is done. It may be interrupted and run again.
Collectors and normalizers must all be of a version that has this command.`,
		Example: `  stackstream dead drop --provider prod --reason body-lost --why 'bodies expired, nothing to convert'
  stackstream dead drop --provider prod --number 17 --why 'sent by mistake'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.repair(cmd, &o) },
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "change nothing: say which letters are meant")
	return cmd
}

func (o *repairOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	configFlag(cmd, &o.nats.file)
	flags.StringVar(&o.nats.url, "nats", "",
		"NATS server `URL` (default: what the configuration says, else $NATS_URL, then nats://127.0.0.1:4222)")
	flags.StringVar(&o.nats.creds, "creds", "", "NATS credentials `FILE`")
	_ = cmd.MarkFlagFilename("creds", "creds")
	o.which.add(cmd, letters.Open)
	flags.StringVar(&o.why, "why", "", "`TEXT` that says why, for the record of what was done")
	flags.StringVar(&o.waiting, "wait", "5m", "wait so `LONG` until the normalizers have done it; 0 does not wait")
	flags.BoolVar(&o.yes, "yes", false, "do not ask")
	flags.BoolVar(&o.json, "json", false, "print what was done as a JSON array, an object for each provider")
}

// maxWhy bounds the reason: it goes with every letter, in a header.
const maxWhy = 500

// read checks what the flags say.
func (o *repairOptions) read(p Program) (*letters.Filter, event.Provider, jetstream.Config, error) {
	var settings jetstream.Config
	filter, name, err := o.which.read()
	if err != nil {
		return nil, "", settings, err
	}
	switch o.why = strings.TrimSpace(o.why); {
	case o.why == "" && !o.dryRun:
		return nil, "", settings, usagef("--why is needed: it stands beside every letter, for whoever asks later")
	case len(o.why) > maxWhy:
		return nil, "", settings, usagef("--why has %d bytes; it goes with every letter, so %d must do", len(o.why), maxWhy)
	}
	if o.wait, err = setting.ParseDuration(o.waiting); err != nil {
		return nil, "", settings, usagef("--wait: %w", err)
	}
	flags := o.nats
	if flags.url != "" || flags.creds != "" {
		flags.file = "" // the configuration is for the converters then
	}
	settings, err = flags.settings(p)
	return filter, name, settings, err
}

// repairing is a command at work.
type repairing struct {
	Program
	*repairOptions
	dead    *deadLetters
	jobs    []*repairJob
	told    string // on standard error, last
	waiting bool   // for the stream, and has said so
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
}

func (p Program) repair(cmd *cobra.Command, o *repairOptions) error {
	filter, name, settings, err := o.read(p)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	dead, err := p.openLetters(ctx, settings, name)
	if err != nil {
		return err
	}
	defer p.close(ctx, dead.client)
	r := &repairing{Program: p, repairOptions: o, dead: dead}
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
		if err := p.agree(r.question(letters), o.yes); err != nil {
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
			Provider: r.dead.provider(name), Writer: r.writer(name), Drop: r.drop, By: r.operator(), Why: r.why,
		}}
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
		fmt.Fprintln(out, none(filter))
	}
	for _, more := range []struct {
		n    int
		text string
	}{
		{queued, "on the way already: something was done about them, and the normalizer has not come to it yet"},
		{lost, "left out: their bodies are gone, so that there is nothing to convert (dead drop --reason body-lost)"},
		{done, "left out: they were converted again or dropped before"},
	} {
		if more.n > 0 {
			fmt.Fprintf(out, "%s more %s.\n", numbered(more.n, "letter"), more.text)
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
		fmt.Fprintf(r.Stdout, "\n%s: %d would be converted by %s, %d would be dead again, %d have no body any more.\n",
			j.Name, trial.Converted, r.nats.file, len(j.picked.Places)-trial.Converted-trial.Lost, trial.Lost)
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
	if err := r.say("\nNothing was changed."); err != nil || !refused {
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
		{of.Gone, "gone: EVENTS_DEAD dropped them meanwhile"},
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
		fmt.Fprintln(r.Stdout, "What waits is in EVENTS_RAW and will be dealt with: `stackstream dead ls --state queued` shows what is left.")
	}
	return nil
}

// stalled finds out why the normalizer does not come to something.
type stalled struct {
	client   *jetstream.Client
	provider event.Provider
	last     event.StreamSeq // of its cursor
	since    time.Time
	asked    time.Time
	text     string
}

// notMoving is for how long a normalizer writes nothing until that is told.
const notMoving = 5 * time.Second

func (s *stalled) why(ctx context.Context, at event.NormalizedCursor) string {
	if at.Sequence != s.last {
		s.last, s.since = at.Sequence, time.Now()
	}
	switch {
	case at.Paused != nil:
		return fmt.Sprintf("normalizing %s is %v", s.provider, at.Paused.Err())
	case time.Since(s.since) > notMoving:
		return fmt.Sprintf("no normalizer has written anything for %s since %s: is one running, and of this version? Its /readyz says "+
			"what it waits for", s.provider, s.since.UTC().Format("15:04:05Z"))
	case time.Since(s.asked) < tellEvery:
		return s.text
	}
	s.asked, s.text = time.Now(), ""
	marks, err := s.client.Watermarks(ctx, s.provider)
	if err != nil {
		return ""
	}
	before := uint64(0)
	for _, m := range marks {
		if m.Source != event.SourceRedrive {
			before += m.LagEvents
		}
	}
	if before > 0 {
		s.text = fmt.Sprintf("the normalizer is behind, %d raw events of other sources are not normalized", before)
	}
	return s.text
}
