package powerloss

import (
	"errors"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	"stackstream/event"
	"stackstream/internal/crashfs"
	"stackstream/jetstream"
)

var (
	seed = flag.Uint64("seed", 1, "seed of everything left to chance")
	cuts = flag.Int("cuts", 60, "how many cuts each of the tests makes at most; there are thousands")
)

// roomy are streams as they are everywhere; tight ones have blocks of 32,000 bytes, of which a run fills several.
func roomy() jetstream.Layout { return jetstream.DefaultLayout(1) }

func tight() jetstream.Layout {
	l := jetstream.DefaultLayout(1)
	for _, s := range []*jetstream.StreamLimits{&l.Raw, &l.Normalized, &l.Dead} {
		s.MaxBytes = 120_000 // a quarter of it is the size of a block, but 32,000 at least
	}
	return l
}

// choose makes the cuts of a test: right at the moments at which something was promised, with nothing but what was durable,
// and then anywhere, with anything. Every fourth goes on to the end.
func (r *recording) choose(most int) []cut {
	random := rand.New(rand.NewPCG(*seed, 3))
	at := func(moment int, take crashfs.Take) cut {
		return cut{moment: moment, choice: crashfs.Choice{Take: take, Seed: random.Uint64()}}
	}
	shuffled := func(cuts []cut, most int) []cut {
		random.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
		return cuts[:min(most, len(cuts))]
	}
	var first, all []cut
	for _, moment := range r.promises() {
		first = append(first, at(moment, crashfs.Nothing))
	}
	for _, moment := range r.cuts(random) {
		for _, take := range crashfs.Takes() {
			all = append(all, at(moment, take))
		}
	}
	first = shuffled(first, most/2)
	first = append(first, shuffled(all, most-len(first))...)
	for i := range first {
		first[i].goOn = i%4 == 0
	}
	return first
}

// expectAllSurvives tries cuts of the run, so many at most.
func (r *recording) expectAllSurvives(t *testing.T, most int) {
	t.Helper()
	sum := r.survey(t.Context(), r.choose(most))
	t.Logf("%d operations; %s", len(r.history), sum)
	if err := sum.err(); err != nil {
		t.Error(err)
	}
}

func TestWhatWasAcknowledgedSurvivesACutOfThePower(t *testing.T) {
	for name, s := range map[string]struct {
		scene  *scene
		layout jetstream.Layout
	}{
		"large bodies":   {newScene(*seed, 40, 2000, true), roomy()},
		"several blocks": {newScene(*seed, 40, 300, false), tight()},
	} {
		t.Run(name, func(t *testing.T) { record(t, s.scene, s.layout, open).expectAllSurvives(t, *cuts) })
	}
}

// The power fails again while the server recovers, or later in the second run.
func TestTwoCutsInARow(t *testing.T) {
	first := record(t, newScene(*seed, 40, 300, false), tight(), open)
	random := rand.New(rand.NewPCG(*seed, 4))
	for range 3 {
		// Not any pages: with those a batch may have lost its beginning (errHole), and the pipeline stops there.
		c := cut{moment: random.IntN(len(first.history)), choice: crashfs.Choice{Take: crashfs.Torn, Seed: random.Uint64()}}
		t.Run(c.String(), func(t *testing.T) { first.again(t, c).expectAllSurvives(t, *cuts/3) })
	}
}

// A server that syncs every so often has not what it acknowledged. That the other tests would notice is shown here: at the
// moments at which something was acknowledged, and with nothing but what was durable. With everything nothing is lost.
func TestAServerThatDoesNotSyncLosesWhatWasAcknowledged(t *testing.T) {
	r := record(t, newScene(*seed, 60, 300, false), roomy(), openLazy)
	moments := r.promises()
	moments = moments[max(0, len(moments)-10):]
	lost := 0
	for _, moment := range moments {
		for _, take := range []crashfs.Take{crashfs.Nothing, crashfs.Everything} {
			c := cut{moment: moment, choice: crashfs.Choice{Take: take}}
			err := r.try(t.Context(), c, r.history.Image(c.moment, c.choice))
			switch {
			case take == crashfs.Everything && err != nil:
				t.Errorf("%s: %v", c, err)
			case take == crashfs.Nothing && loses(err):
				lost++
			}
		}
	}
	if lost == 0 {
		t.Error("nothing is found to be lost")
	}
	t.Logf("acknowledged events are lost in %d of %d images", lost, len(moments))
}

// loses tells whether what was acknowledged is not there.
func loses(err error) bool {
	return err != nil && !errors.Is(err, errHole) &&
		(strings.Contains(err.Error(), "were acknowledged") || strings.Contains(err.Error(), "were committed"))
}

// On a file system that keeps names only when directories are synced, which ext4 and xfs are not, what was acknowledged is
// lost: the server does not sync the directories it makes, nor those in which it begins a new file. The promise is
// not made for such a file system, and the harness sees the difference.
func TestNamesAreOnlyAsDurableAsTheFileSystemMakesThem(t *testing.T) {
	r := record(t, newScene(*seed, 40, 300, false), tight(), open)
	end := len(r.history)
	for take, lost := range map[crashfs.Take]bool{crashfs.Nothing: true, crashfs.Everything: false} {
		c := cut{moment: end, choice: crashfs.Choice{Model: crashfs.Strict, Take: take}}
		err := r.try(t.Context(), c, r.history.Image(c.moment, c.choice))
		if loses(err) != lost {
			t.Errorf("%s: %v", c, err)
		}
	}
}

// What errHole says can be seen where a batch goes on in a second file: right before the first one is synced.
func TestABatchInTwoFilesMayLoseItsBeginning(t *testing.T) {
	r := recordWith(t, newScene(*seed, 24, 800, false), tight(), open, func(q *queue) { q.whole = true })
	files, moment := map[string]crashfs.Node{}, 0
	for i := range r.history {
		o := &r.history[i]
		if path := r.history.Path(o.Node, i+1); o.Kind == crashfs.Create && strings.Contains(path, event.StreamRaw+"/msgs/") {
			files[o.Name] = o.Node
		}
		if o.Kind == crashfs.Fsync && files["2.blk"] != 0 && o.Node == files["1.blk"] {
			moment = i
			break
		}
	}
	if moment == 0 {
		t.Fatal("no batch of RAW is in two files")
	}
	var cuts []cut
	for i := range uint64(60) {
		cuts = append(cuts, cut{moment: moment, choice: crashfs.Choice{Take: crashfs.Subset, Seed: i}})
	}
	sum := r.survey(t.Context(), cuts)
	t.Log(sum)
	if err := sum.err(); err != nil {
		t.Error(err)
	}
	if sum.holes == 0 {
		t.Error("no batch has lost its beginning: if nats-server has mended it, errHole can go")
	}
}
