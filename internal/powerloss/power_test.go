package powerloss

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	"stackstream/internal/crashfs"
	"stackstream/jetstream"
)

var (
	seed    = flag.Uint64("seed", 1, "seed of everything left to chance")
	cutsPer = flag.Int("cuts", 40, "how many cuts each of the tests makes; 0: each fsync's with everything that may be left")
)

// roomy are streams as they are everywhere; tight ones have blocks of 32 KiB, of which a run fills several.
func roomy() jetstream.Layout { return jetstream.DefaultLayout(1) }

func tight() jetstream.Layout {
	l := jetstream.DefaultLayout(1)
	for _, s := range []*jetstream.StreamLimits{&l.Raw, &l.Normalized, &l.Dead} {
		s.MaxBytes = 128 << 10
	}
	return l
}

// choose makes the cuts of a test.
func (r *recording) choose(m crashfs.Model, n int) []cut {
	random := rand.New(rand.NewPCG(*seed, 3))
	var all []cut
	for _, moment := range r.cuts(random) {
		for _, take := range crashfs.Takes() {
			all = append(all, cut{moment: moment, choice: crashfs.Choice{Model: m, Take: take, Seed: random.Uint64()}})
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if n > 0 && len(all) > n {
		all = all[:n]
	}
	for i := range all {
		all[i].goOn = n == 0 || i%4 == 0
	}
	return all
}

func recordings(t *testing.T, open opener) map[string]*recording {
	return map[string]*recording{
		"large bodies":   record(t, newScene(*seed, 60, 2000, true), roomy(), open),
		"several blocks": record(t, newScene(*seed, 30, 300, false), tight(), open),
	}
}

func TestWhatWasAcknowledgedSurvivesACutOfThePower(t *testing.T) {
	for name, r := range recordings(t, open) {
		t.Run(name, func(t *testing.T) {
			sum := r.survey(t, r.choose(crashfs.Journal, *cutsPer))
			t.Logf("%d operations; %s", len(r.history), sum)
			if err := sum.err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The power fails again while the server recovers, or later in the second run.
func TestTwoCutsInARow(t *testing.T) {
	first := record(t, newScene(*seed, 30, 300, false), tight(), open)
	random := rand.New(rand.NewPCG(*seed, 4))
	for range 3 {
		c := cut{moment: random.IntN(len(first.history)), choice: crashfs.Choice{Take: crashfs.Subset, Seed: random.Uint64()}}
		t.Run(c.String(), func(t *testing.T) {
			r := first.again(t, c)
			sum := r.survey(t, r.choose(crashfs.Journal, *cutsPer))
			t.Logf("%d operations; %s", len(r.history), sum)
			if err := sum.err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A server that syncs every so often has not what it acknowledged. That the other tests would notice is shown here.
func TestAServerThatDoesNotSyncLosesWhatWasAcknowledged(t *testing.T) {
	r := record(t, newScene(*seed, 60, 300, false), roomy(), openLazy)
	random := rand.New(rand.NewPCG(*seed, 5))
	lost := 0
	for i := range 10 {
		c := cut{moment: len(r.history) - random.IntN(len(r.history)/2), choice: crashfs.Choice{Seed: random.Uint64()}}
		if i%2 == 0 {
			c.choice.Take = crashfs.Everything
		}
		err := r.try(t, c, r.history.Image(c.moment, c.choice))
		switch noticed := err != nil && strings.Contains(err.Error(), "were acknowledged"); {
		case c.choice.Take == crashfs.Everything && err != nil:
			t.Errorf("%s: %v", c, err)
		case c.choice.Take == crashfs.Nothing && noticed:
			lost++
		}
	}
	if lost == 0 {
		t.Error("nothing is found to be lost")
	}
	t.Logf("acknowledged events are lost in %d of 5 images", lost)
}

func TestStrict(t *testing.T) {
	for name, r := range recordings(t, open) {
		t.Run(name, func(t *testing.T) {
			sum := r.survey(t, r.choose(crashfs.Strict, *cutsPer))
			t.Logf("%d operations; %s", len(r.history), sum)
			if err := sum.err(); err != nil {
				t.Error(err)
			}
		})
	}
}
