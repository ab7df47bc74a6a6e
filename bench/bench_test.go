//go:build bench

package bench

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// options of a run.
type options struct {
	What      []string      `json:"what"`
	Short     bool          `json:"short"`
	Rounds    int           `json:"rounds"`
	Events    int           `json:"events"`
	Servers   int           `json:"servers"`
	Latency   time.Duration `json:"latency"`
	Share     float64       `json:"share"`
	Sizes     []int         `json:"sizes"`
	Body      int           `json:"body"`
	Providers []int         `json:"providers"`
	Idle      time.Duration `json:"idle"`
	profile   string
	dir       string
	json      string
}

var (
	flagWhat      = flag.String("what", "throughput,latency,start", "what is measured; also: growth, providers, fairness")
	flagShort     = flag.Bool("short", false, "little of everything, in about a minute: shows that it works, and nothing else")
	flagRounds    = flag.Int("rounds", 5, "how often ceilings and pipeline take turns")
	flagEvents    = flag.Int("events", 60_000, "how many events each of them has in each round")
	flagServers   = flag.Int("servers", 1, "how many nats-servers there are: 1, or 3, which hold everything three times")
	flagLatency   = flag.Duration("latency", time.Minute, "for how long events are handed over at each pace")
	flagShare     = flag.Float64("share", 0.7, "the faster of the two paces, as a share of what the pipeline can do")
	flagSizes     = flag.String("sizes", "10000,100000,1000000", "growth: how many events the streams have when the cost of one is looked at")
	flagBody      = flag.Int("body", 300, "growth: how many bytes a notification has")
	flagProviders = flag.String("providers", "1,100,1000", "providers: how many one collector and one normalizer have; fairness: the last")
	flagIdle      = flag.Duration("idle", time.Minute, "providers, fairness: for how long they are looked at")
	flagProfile   = flag.String("profile", "", "directory for profiles of collector and normalizer")
	flagDir       = flag.String("dir", "", "keeps everything that is written; empty: a temporary directory that is removed")
	flagJSON      = flag.String("json", "", "file for the figures, as JSON")
)

func fromFlags(t *testing.T) options {
	t.Helper()
	numbers := func(name, text string) (out []int) {
		for field := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(field)
			if err != nil || n < 1 {
				t.Fatalf("-%s: %q is no number above 0", name, field)
			}
			out = append(out, n)
		}
		return out
	}
	o := options{
		What: strings.Split(*flagWhat, ","), Short: *flagShort, Rounds: *flagRounds, Events: *flagEvents,
		Servers: *flagServers, Latency: *flagLatency, Share: *flagShare, Sizes: numbers("sizes", *flagSizes), Body: *flagBody,
		Providers: numbers("providers", *flagProviders), Idle: *flagIdle,
		profile: fromRoot(*flagProfile), dir: fromRoot(*flagDir), json: fromRoot(*flagJSON),
	}
	if o.Servers != 1 && o.Servers != 3 {
		t.Fatalf("-servers: %d, want 1 or 3", o.Servers)
	}
	for _, what := range o.What {
		if !slices.Contains([]string{"throughput", "latency", "start", "growth", "providers", "fairness"}, what) {
			t.Fatalf("-what: there is no %q", what)
		}
	}
	if o.Short {
		o.Rounds, o.Events, o.Latency, o.Idle = 1, 3000, 3*time.Second, 5*time.Second
		o.Sizes, o.Providers = []int{3000, 6000}, []int{1, 20}
	}
	return o
}

// fromRoot is a path that was told by who runs make, in the directory above that of this test.
func fromRoot(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join("..", path)
}

// measured are all sections, in the order in which they are run.
var measured = []struct {
	name string
	run  func(t *testing.T, w *world, r *report)
}{
	{"throughput", throughput},
	{"latency", latency},
	{"start", starts},
	{"growth", growth},
	{"providers", providers},
	{"fairness", fairness},
}

func TestBench(t *testing.T) {
	opt := fromFlags(t)
	w := newWorld(t, opt)
	r := newReport(t, w)
	for _, section := range measured {
		if slices.Contains(opt.What, section.name) {
			t.Run(section.name, func(t *testing.T) { section.run(t, w, r) })
		}
	}
	if t.Failed() {
		return // half of the figures are worse than none
	}
	if err := r.write(os.Stdout); err != nil {
		t.Fatal(err)
	}
	if opt.json != "" {
		if err := r.writeJSON(opt.json); err != nil {
			t.Fatal(err)
		}
	}
}
