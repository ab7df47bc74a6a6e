package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

// withoutFormats is the last version whose records have no format.
const withoutFormats = "8f96aa9"

// earlier builds the programs of an earlier version, and says where they are.
func earlier(t *testing.T, commit string) string {
	t.Helper()
	source, programs := t.TempDir(), t.TempDir()
	for _, step := range []struct {
		dir  string
		args []string
	}{
		{"../..", []string{"git", "archive", "--format=tar", "-o", filepath.Join(source, "source.tar"), commit}},
		{source, []string{"tar", "-xf", "source.tar"}},
		{source, []string{"go", "build", "-o", programs, "./cmd/collector", "./cmd/normalizer"}},
	} {
		cmd := exec.CommandContext(t.Context(), step.args[0], step.args[1:]...)
		cmd.Dir = step.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s\nThis test needs git and the history back to %s: in a shallow clone, git fetch --unshallow",
				strings.Join(step.args, " "), err, out, commit)
		}
	}
	return programs
}

// Collectors and normalizers of this version and of an earlier one work on the same streams of a cluster. What is at work
// is killed, or stopped until the other version has written and then let go on, so that the cursors change hands in both
// directions again and again. The streams and the subscribers have each event once and in order.
func TestTwoVersionsSideBySide(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(seed, 11))
	programs := [2]string{bin, earlier(t, withoutFormats)} // this one, the earlier one
	sky := newCloud(t, seed+11)
	cluster, file := startServers(t, func(nats string) string { return sky.configFile(t, nats) })
	// The earlier version does not know the setting: it is in the file of who provisions alone.
	quick := sky.configFile(t, "  url: ["+strings.Join(cluster.urls, ", ")+"]\nstreams: {lease_ttl: 2s}")
	if code := start(t, "stackstream", "provision", "--apply", "-c", quick).wait(); code != 0 {
		t.Fatalf("provision --apply exits with %d", code)
	}
	nc := connect(t, strings.Join(cluster.urls, ","))
	plain, durable := plainSubscriber(t, nc), durableSubscriber(t, nc)
	halves := []half{
		{program: "collector", stream: event.StreamRaw, cursor: event.RawCursorSubject("prod", "panko")},
		{program: "normalizer", stream: event.StreamNormalized, cursor: event.NormalizedCursorSubject("prod")},
	}
	begin := func(h *half, version int) {
		h.of[version] = startAt(t, filepath.Join(programs[version], h.program), "-c", file)
	}
	for i := range halves {
		for version := range programs {
			begin(&halves[i], version)
		}
	}

	ctx, enough := context.WithCancel(t.Context())
	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		for n := uint64(0); ctx.Err() == nil; n++ {
			sky.emit(ctx, 200, 2*time.Second, seed+n)
		}
	}()
	defer func() { enough(); <-emitted }()
	all := func() []*process {
		return []*process{halves[0].of[0], halves[0].of[1], halves[1].of[0], halves[1].of[1]}
	}
	taken := map[string]int{}
	const rounds = 4
	for round := range rounds {
		<-time.After(time.Duration(random.Int64N(int64(time.Second))))
		zombies := round%2 == 1
		var from [2]int
		for i := range halves {
			h := &halves[i]
			if from[i] = 0; atWork(t, nc, h.stream, h.cursor, h.of[:]) == h.of[1] {
				from[i] = 1
			}
			if zombies {
				h.of[from[i]].pause()
			} else {
				h.of[from[i]].kill()
			}
		}
		begun := time.Now()
		for i := range halves {
			h := &halves[i]
			eventually(t, time.Minute, "the other "+h.program+" to write", func() bool {
				return owns(t, nc, h.stream, h.cursor, h.of[1-from[i]])
			}, func() string { return whereabouts(nc, durable, all()) })
			way := fmt.Sprintf("%s to the %s version", h.program, [2]string{"earlier", "present"}[from[i]])
			taken[way]++
			t.Logf("%s after %v", way, time.Since(begun).Round(time.Millisecond))
			if zombies {
				h.of[from[i]].resume()
			} else {
				begin(h, from[i])
			}
		}
	}
	enough()
	<-emitted
	want := sky.ids()
	waitForAll(t, 2*time.Minute, nc, durable, len(want), all()...)
	expectReady(t, all()...)
	expect(t, "plain subscriber", checkOnce(want, plain.seen()))
	verify(t, sky, want, nc, plain, durable)
	for _, h := range halves {
		for _, to := range []string{"earlier", "present"} {
			if way := fmt.Sprintf("%s to the %s version", h.program, to); taken[way] == 0 {
				t.Errorf("nothing went from %s: %v", way, taken)
			}
		}
	}
	t.Logf("%d events; cursors went %v", len(want), taken)
}

// half is a program of the pipeline in both versions.
type half struct {
	program, stream, cursor string
	of                      [2]*process
}
