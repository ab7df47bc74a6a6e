package measure

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestUsageOfThisProcess(t *testing.T) {
	ballast := make([]byte, 32<<20)
	for i := range ballast {
		ballast[i] = byte(i)
	}
	before, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.RSS < 32<<20 || before.Peak < before.RSS {
		t.Errorf("%+v with 32 MiB in use", before)
	}
	after := before
	for after.CPU < before.CPU+2*tick { // it ends, because it is work
		slices.Sort(ballast[:1<<20])
		ballast[0]++
		if after, err = Of(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Of(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a process that is not there: %v", err)
	}
}

func TestStat(t *testing.T) {
	used, err := parseStat([]byte("12 (a ) b) S 1 2 3 0 -1 4194304 5 6 7 8 150 50 0 0 20 0 9 0 100 1 2"))
	if err != nil || used != 2*time.Second {
		t.Errorf("%v, %v", used, err)
	}
	if _, err := parseStat([]byte("12 (a) S 1 2")); err == nil {
		t.Error("a line that is cut off is read")
	}
	if n, err := parseStatus([]byte("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), "VmHWM:"); err != nil || n != 2<<20 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestSpread(t *testing.T) {
	for _, tc := range []struct {
		figures []float64
		want    Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3, 1}},
		{[]float64{4, 1}, Spread{2.5, 1, 4, 2}},
		{[]float64{9, 1, 5}, Spread{5, 1, 9, 3}},
	} {
		if got := SpreadOf(tc.figures); got != tc.want {
			t.Errorf("of %v: %+v", tc.figures, got)
		}
	}
}

func TestLatency(t *testing.T) {
	times := make([]time.Duration, 1000)
	for i := range times {
		times[len(times)-1-i] = time.Duration(i+1) * time.Millisecond
	}
	if got, want := LatencyOf(times), (Latency{N: 1000, P50: 500, P99: 990, P999: 999, Max: 1000}); got != want {
		t.Errorf("%+v", got)
	}
	if got := LatencyOf(nil); got != (Latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		took := rapid.Map(rapid.Int64Range(0, 1e12), func(n int64) time.Duration { return time.Duration(n) })
		times := rapid.SliceOfN(took, 1, 50).Draw(t, "times")
		got := LatencyOf(times)
		if got.P50 > got.P99 || got.P99 > got.P999 || got.P999 > got.Max || got.Max != millis(slices.Max(times)) {
			t.Fatalf("%+v of %v", got, times)
		}
	})
}

// Whoever is slow is asked no less: the events that became due meanwhile come at once, with the times at which they were due.
func TestPaceDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var due, handed []time.Duration
		err := Pace(t.Context(), 10, 8, func(i int, at time.Time) error {
			due, handed = append(due, at.Sub(begun)), append(handed, time.Since(begun))
			if i == 2 {
				<-time.After(350 * time.Millisecond)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		ms := func(all ...int) (out []time.Duration) {
			for _, n := range all {
				out = append(out, time.Duration(n)*time.Millisecond)
			}
			return out
		}
		if want := ms(0, 100, 200, 300, 400, 500, 600, 700); !slices.Equal(due, want) {
			t.Errorf("due at %v", due)
		}
		if want := ms(0, 100, 200, 550, 550, 550, 600, 700); !slices.Equal(handed, want) {
			t.Errorf("handed over at %v", handed)
		}
	})
}

func TestPaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		if err := Pace(ctx, 10, 100, func(int, time.Time) error { n++; return nil }); !errors.Is(err, context.DeadlineExceeded) || n > 11 {
			t.Errorf("%d handed over: %v", n, err)
		}
		broken := errors.New("broken")
		if err := Pace(t.Context(), 10, 100, func(int, time.Time) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("ends with %v", err)
		}
	})
}
