package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress tells on standard error how far a command is: one line that is written over on a terminal, and otherwise one line
// for each thing that is begun.
type progress struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	mu   sync.Mutex
	what string
	told time.Time
}

const progressEvery = 200 * time.Millisecond

func (p Program) newProgress() *progress {
	return &progress{w: p.Stderr, terminal: isTerminal(p.Stderr), now: time.Now}
}

// report may be called by any goroutine, often.
func (g *progress) report(what string, done, total uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch now := g.now(); {
	case what != g.what && !g.terminal:
		fmt.Fprintf(g.w, "%s: %d messages\n", what, total)
	case g.terminal && (what != g.what || now.Sub(g.told) >= progressEvery):
		fmt.Fprintf(g.w, "\r\x1b[K%s: %d of %d messages", what, done, max(done, total))
		g.told = now
	}
	g.what = what
}

// done ends the line.
func (g *progress) done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.terminal && g.what != "" {
		fmt.Fprint(g.w, "\r\x1b[K")
	}
}
