package show

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	barWidth   = 24
	barEvery   = 200 * time.Millisecond
	plainEvery = 10 * time.Second
	plainSteps = 10 // percent, which make a line too, but not more than one in plainLeast
	plainLeast = time.Second
)

// Progress shows how far a piece of work is: as a bar on a terminal, elsewhere as a line now and then. It is safe for concurrent
// use.
type Progress struct {
	w        io.Writer
	what     string
	terminal bool
	now      func() time.Time

	mu     sync.Mutex
	total  uint64
	began  time.Time
	from   uint64 // done before this process began
	last   time.Time
	step   uint64 // of plainSteps, as last shown
	drawn  bool   // the bar stands in the line
	waited string // why it waits, as last said
}

// NewProgress is for work that has not begun.
func NewProgress(w io.Writer, what string, terminal bool, now func() time.Time) *Progress {
	return &Progress{w: w, what: what, terminal: terminal, now: now}
}

// Begin begins to show work of which some is done already.
func (p *Progress) Begin(done, total uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from, p.total, p.began = done, total, p.now()
	p.step, p.last = p.percent(done)/plainSteps, p.began
	if !p.terminal {
		fmt.Fprintf(p.w, "%s: %s raw events, %s of them to do\n", p.what, Count(total), Count(total-min(total, done)))
	}
}

// Update takes how much is done now, and what else there is to say.
func (p *Progress) Update(done uint64, more string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.now()
	if p.terminal {
		if at.Sub(p.last) < barEvery && p.drawn {
			return
		}
		p.last, p.drawn = at, true
		full := int(p.percent(done)) * barWidth / 100
		fmt.Fprintf(p.w, "\r[%s%s] %3d %%  %s\x1b[K", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), p.percent(done),
			p.figures(done, at, more))
		return
	}
	step := p.percent(done) / plainSteps
	if passed := at.Sub(p.last); passed < plainLeast || step == p.step && passed < plainEvery {
		return
	}
	p.last, p.step = at, step
	fmt.Fprintf(p.w, "%s: %d %%, %s\n", p.what, p.percent(done), p.figures(done, at, more))
}

func (p *Progress) figures(done uint64, at time.Time, more string) string {
	text := fmt.Sprintf("%s of %s", Count(done), Count(p.total))
	if passed := at.Sub(p.began); passed > 0 && done > p.from {
		rate := float64(done-p.from) / passed.Seconds()
		text += fmt.Sprintf(", %s/s", Count(uint64(rate)))
		if left := float64(p.total-min(done, p.total)) / rate; left >= 1 {
			text += fmt.Sprintf(", %s left", age(time.Duration(left)*time.Second))
		}
	}
	if more != "" {
		text += ", " + more
	}
	return text
}

// percent is never 100 before all is done.
func (p *Progress) percent(done uint64) uint64 {
	switch {
	case p.total == 0, done >= p.total:
		return 100
	default:
		return uint64(float64(done) / float64(p.total) * 100)
	}
}

// Wait says once why the work waits; "" says that it goes on.
func (p *Progress) Wait(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why == p.waited {
		return
	}
	p.end()
	if p.waited = why; why == "" {
		fmt.Fprintf(p.w, "%s: goes on\n", p.what)
	} else {
		fmt.Fprintf(p.w, "%s: waits: %s\n", p.what, Clean(why))
	}
}

// End leaves the bar as it is, on a line of its own.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

func (p *Progress) end() {
	if p.drawn {
		fmt.Fprintln(p.w)
		p.drawn = false
	}
}

// Count writes a number with its thousands apart.
func Count(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
