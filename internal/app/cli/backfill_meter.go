package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"stackstream/collectors/backfill"
	"stackstream/internal/app"
	"stackstream/internal/app/show"
)

const (
	drawEvery = 200 * time.Millisecond // on a terminal
	lineEvery = 10 * time.Second       // elsewhere
	barWidth  = 24
)

// meter shows how far a backfill is: a line that is drawn over on a terminal, one now and then elsewhere.
type meter struct {
	Program
	b        *app.Backfill
	terminal bool
	began    time.Time

	mu     sync.Mutex
	shown  time.Time
	drawn  int     // characters of the line that stands there
	first  float64 // how far it was when this process began
	began1 bool
	waits  string
}

// follows has a backfill tell how far it is.
func (p Program) follows(b *app.Backfill) *meter {
	m := &meter{Program: p, b: b, terminal: isTerminal(p.Stderr), began: time.Now()}
	m.shown = m.began
	b.Deps.Progress, b.Deps.Waits = m.progress, m.waiting
	return m
}

func (m *meter) progress(s backfill.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	every := lineEvery
	if m.terminal {
		every = drawEvery
	}
	if time.Since(m.shown) < every {
		return
	}
	m.shown = time.Now()
	line := fmt.Sprintf("%d read, %d there, %d added", s.Shown, s.There, s.Added)
	if done, known := m.done(s); known {
		bar := ""
		if m.terminal {
			full := int(done * barWidth)
			bar = "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] "
		}
		line = fmt.Sprintf("%s%3.0f %%, up to %s, %s%s", bar, 100*done, s.At.UTC().Format(time.RFC3339), line, m.left(done))
	}
	m.write(line)
}

// done is the part of the range that was read, as far as that is known.
func (m *meter) done(s backfill.Progress) (float64, bool) {
	if s.At.IsZero() || m.b.Past.NewestFirst {
		return 0, false
	}
	done := float64(s.At.Sub(m.b.From)) / float64(m.b.To.Sub(m.b.From))
	done = max(0, min(1, done))
	if !m.began1 {
		m.first, m.began1 = done, true
	}
	return done, true
}

// left is how long it may take from here, once there is something to tell it by.
func (m *meter) left(done float64) string {
	passed := time.Since(m.began)
	if done-m.first < 0.01 || passed < 3*time.Second {
		return ""
	}
	left := time.Duration(float64(passed) / (done - m.first) * (1 - done))
	return ", about " + show.Age(left.Round(time.Second)) + " left"
}

func (m *meter) waiting(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if why != "" && why != m.waits {
		m.clear()
		m.note("waiting: %s", why)
	}
	if why != "" {
		m.waits = why
	}
}

func (m *meter) write(line string) {
	if !m.terminal {
		m.note("%s", line)
		return
	}
	m.clear()
	fmt.Fprint(m.Stderr, line)
	m.drawn = len(line)
}

// clear takes away the line that stands there.
func (m *meter) clear() {
	if m.drawn > 0 {
		fmt.Fprint(m.Stderr, "\r"+strings.Repeat(" ", m.drawn)+"\r")
		m.drawn = 0
	}
}

// end leaves the last line to what comes next.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
}
