//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// options of a run.
type options struct {
	seed     uint64
	time     time.Duration
	most     time.Duration
	events   int
	faults   int
	rate     int
	backlog  int
	lanes    int
	gap      time.Duration
	lease    time.Duration
	disk     int64
	race     bool
	rereads  int
	only     []string
	byHand   bool
	dir      string
	report   string
	notified []string // providers whose services notify over AMQP
	polled   []string // providers whose events are polled
}

var (
	flagSeed    = flag.Uint64("seed", 1, "chooses what is done to what and when, and what is handed out")
	flagTime    = flag.Duration("time", 100*time.Second, "how long it goes on at least")
	flagMost    = flag.Duration("most", 0, "how long harm goes on at most, whatever has not come yet; 0: no limit")
	flagEvents  = flag.Int("events", 0, "how many events it hands out at least")
	flagFaults  = flag.Int("faults", 0, "how many faults there are at least")
	flagRate    = flag.Int("rate", 1500, "how many events are handed out in a second at most; 0: as many as go")
	flagBacklog = flag.Int("backlog", 5000, "how many events of a provider may be handed out and not yet collected")
	flagLanes   = flag.Int("lanes", 3, "how many faults may go on at the same time")
	flagGap     = flag.Duration("gap", 1500*time.Millisecond, "pause between two faults, on average")
	flagLease   = flag.Duration("lease", 10*time.Second, "the leases' time to live, streams.lease_ttl")
	flagDisk    = flag.Int64("disk", 4, "size in GiB of the disk that may be filled, at least; it takes only what is written")
	flagRace    = flag.Bool("race-detector", false, "build the programs with the race detector")
	flagRereads = flag.Int("rereads", 8, "how often each stream is read again at the end at most, until each of its replicas was read")
	flagOnly    = flag.String("only", "", "kinds of faults, separated by commas; empty: all")
	flagByHand  = flag.Bool("by-hand", false, "do nothing to anybody, start again who ended, and say where everything is: the harm is yours")
	flagDir     = flag.String("dir", "", "keeps everything that is written; empty: a temporary directory that is removed")
	flagReport  = flag.String("report", "", "file for the report, as JSON")
)

func fromFlags() options {
	o := options{
		seed: *flagSeed, time: *flagTime, most: *flagMost, events: *flagEvents, faults: *flagFaults, rate: *flagRate, backlog: *flagBacklog,
		lanes: *flagLanes, gap: *flagGap, lease: *flagLease, disk: max(*flagDisk<<30, int64(*flagEvents)*8<<10), race: *flagRace, rereads: *flagRereads, byHand: *flagByHand, dir: *flagDir, report: *flagReport,
		notified: []string{"alpha", "beta"}, polled: []string{"gamma", "delta"},
	}
	if *flagOnly != "" {
		o.only = strings.Split(*flagOnly, ",")
	}
	return o
}

// roleVariable makes the binary of the tests one of the programs of the world.
const roleVariable = "STACKSTREAM_CHAOS_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == subscriber {
		os.Exit(subscribeUntilKilled(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// Everything that services handed out is in the streams once and in order, subscribers saw what is committed and nothing
// else, and no watermark said too much, whatever was done to whom.
func TestChaos(t *testing.T) {
	opt := fromFlags()
	t.Logf("seed %d; the same again: make chaos SEED=%d", opt.seed, opt.seed)
	w := newWorld(t, opt)
	w.watch = newWatch(w)
	read, endRead := context.WithCancel(context.Background())
	defer endRead()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer endRead()
	readers := w.read(read)
	subscribers := w.subscribe(read)
	watching.Go(func() { w.watch.run(read) })

	traffic, endTraffic := context.WithCancel(context.Background())
	defer endTraffic()
	given := make(chan error, 1)
	go func() { given <- w.traffic.run(traffic, read) }()
	w.await("events of every provider", 2*time.Minute, func() bool {
		return !slices.ContainsFunc(w.providers(), func(p string) bool { return w.watch.collected(p) == 0 })
	})
	w.say("all providers are collected from; harm begins")

	harm := time.Now()
	progress, endProgress := context.WithCancel(read)
	watching.Go(func() { w.progress(progress) })
	// Who interrupts the run wants its verdict.
	asked, stopAsking := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stopAsking()
	schedule := newSchedule(w)
	enough := func() bool {
		n, by := w.faults.count()
		each := opt.byHand || !slices.ContainsFunc(schedule.kinds, func(k kind) bool { return by[k.name] == 0 })
		late := opt.most > 0 && time.Since(harm) >= opt.most
		return t.Failed() || asked.Err() != nil || late || time.Since(harm) >= opt.time && w.traffic.sum("") >= opt.events && n >= opt.faults && each
	}
	if opt.byHand {
		w.offer(read)
		for !enough() && sleep(read, time.Second) {
		}
	} else {
		schedule.run(read, enough)
	}
	w.say("harm ends; what is on its way arrives")
	healed := time.Now()
	endTraffic()
	select {
	case err := <-given:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Minute):
		t.Fatalf("what was begun to be handed out is not confirmed\n%s", w.explain())
	}
	settled := w.settle()
	endProgress()

	readers.finish(w)
	subscribers.finish(w)
	w.finalCursors()
	verdict := w.check.Verdict()
	r := w.newReport(verdict, subscribers, harm, healed, settled)
	t.Log("\n" + r.text())
	if opt.report != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(opt.report, append(text, '\n'), 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if !verdict.OK() {
		t.Errorf("the promise is broken: seed %d", opt.seed)
	}
	for name, p := range w.process {
		for _, what := range p.ended() {
			t.Errorf("%s: %s", name, what)
		}
		if what := p.broke(); what != "" {
			t.Errorf("%s printed: %s", name, what)
		}
	}
}

// settle waits until everything that was handed out is dealt with and nothing is wrong any more. It returns when that was.
func (w *world) settle() time.Time {
	w.await("everything to be dealt with", 10*time.Minute, func() bool {
		return !slices.ContainsFunc(w.providers(), func(p string) bool {
			return w.watch.collected(p) < w.traffic.sum(p) || w.watch.dealt(p) < w.traffic.sum(p)
		})
	})
	settled := time.Now()
	sleep(w.t.Context(), 5*time.Second) // for what might come once more
	for i := range collectors {
		w.await(collector(i)+" to be ready", 2*time.Minute, func() bool { return w.ready(w.t.Context(), collector(i)) == "" })
	}
	for i := range normalizers {
		w.await(normalizer(i)+" to be ready", 2*time.Minute, func() bool { return w.ready(w.t.Context(), normalizer(i)) == "" })
	}
	w.await("all replicas to be current", 5*time.Minute, func() bool { return w.replicas(w.t.Context()) == "" })
	return settled
}

// await waits for something that has to come, and fails the run if it does not.
func (w *world) await(what string, limit time.Duration, check func() bool) {
	w.t.Helper()
	begun := time.Now()
	for !check() {
		if time.Since(begun) > limit {
			w.t.Fatalf("waited %v for %s\n%s", limit, what, w.explain())
		}
		sleep(w.t.Context(), 100*time.Millisecond)
	}
}

// explain says where everything stands.
func (w *world) explain() string {
	var b strings.Builder
	for _, p := range w.providers() {
		fmt.Fprintf(&b, "%s: handed out %d, collected %d, dealt with %d\n", p, w.traffic.sum(p), w.watch.collected(p), w.watch.dealt(p))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for host := range w.admin {
		if w.process[host].pid() != 0 {
			fmt.Fprintf(&b, "%s: %s\n", host, w.ready(ctx, host))
		}
	}
	fmt.Fprintf(&b, "replicas: %s\ngoing on: %s\nlogs: %s\n", w.replicas(ctx), w.faults.now(), w.dir)
	return b.String()
}

// say writes a line of the story, with the time since the beginning, to the log of the run and to a file.
func (w *world) say(format string, args ...any) {
	line := fmt.Sprintf("%7.1fs ", time.Since(w.begun).Seconds()) + fmt.Sprintf(format, args...)
	fmt.Println(line)
	if f, err := os.OpenFile(filepath.Join(w.dir, "story.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
		fmt.Fprintln(f, line)
		_ = f.Close()
	}
}

// progress tells now and then how far things are.
func (w *world) progress(ctx context.Context) {
	before, every := 0, 10*time.Second
	for sleep(ctx, every) {
		collected, dealt := 0, 0
		for _, p := range w.providers() {
			collected += w.watch.collected(p)
			dealt += w.watch.dealt(p)
		}
		n, _ := w.faults.count()
		w.say("handed out %d, collected %d (%d/s), dealt with %d, %d faults; now: %s", w.traffic.sum(""), collected,
			(collected-before)/int(every/time.Second), dealt, n, w.faults.now())
		before = collected
	}
}

// finalCursors shows the checker the cursors as they are at the end.
func (w *world) finalCursors() { w.watch.look(w.t.Context()) }
