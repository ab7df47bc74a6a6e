//go:build chaos

package chaos

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// ledger keeps what was done and when.
type ledger struct {
	mu      sync.Mutex
	all     []done
	failed  []string
	leftOut []string // kinds that can't be done here
}

type done struct {
	kind, on   string
	begun, end time.Time // end is zero while it goes on
}

func (l *ledger) begin(kind, on string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, done{kind: kind, on: on, begun: time.Now()})
	return len(l.all) - 1
}

func (l *ledger) finish(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[i].end = time.Now()
}

func (l *ledger) drop(i int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, fmt.Sprintf("%s %s: %v", l.all[i].kind, l.all[i].on, err))
	l.all[i].kind = ""
	l.all[i].end = l.all[i].begun
}

func (l *ledger) count() (n int, by map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by = map[string]int{}
	for _, d := range l.all {
		if d.kind != "" {
			by[d.kind]++
			n++
		}
	}
	return n, by
}

// now says what is going on.
func (l *ledger) now() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, d := range l.all {
		if d.end.IsZero() {
			all = append(all, d.kind+": "+d.on)
		}
	}
	return strings.Join(all, ", ")
}

// quiet tells whether nothing but one thing went on since a time, nor shortly before.
func (l *ledger) quiet(since time.Time, but string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.ContainsFunc(l.all, func(d done) bool {
		return d.kind != "" && !strings.HasSuffix(but, " "+d.on) && (d.end.IsZero() || d.end.After(since.Add(-5*time.Second)))
	})
}
