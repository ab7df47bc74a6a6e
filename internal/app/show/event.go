// Package show writes events, watermarks and findings for people: aligned, and coloured only where the caller says so.
// The forms for programs are the canonical JSON of each; of those it only sees to what a terminal would take for commands.
package show

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"stackstream/event"
)

// ANSI colours. The empty string leaves text as it is.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	faint  = "\x1b[2m"
	bold   = "\x1b[1m"
	reset  = "\x1b[0m"
)

// Printer writes events, one line each.
type Printer struct {
	w      io.Writer
	colour bool
	// The columns grow with what was seen, so that a terminal shows straight edges without knowing all events first.
	provider, eventType int
}

// NewPrinter writes to w.
func NewPrinter(w io.Writer, colour bool) *Printer {
	return &Printer{w: w, colour: colour, provider: 4, eventType: 34}
}

// Event writes time, provider, type, what was touched and, where the event has one, its message.
func (p *Printer) Event(e *event.Event) error {
	provider, eventType := Clean(string(e.Provider)), Clean(e.EventType)
	p.provider = max(p.provider, utf8.RuneCountInString(provider))
	p.eventType = max(p.eventType, min(44, utf8.RuneCountInString(eventType)))
	var targets []string
	for _, t := range e.Targets {
		targets = append(targets, Clean(t.Kind)+"="+Clean(t.ID))
	}
	tail := strings.Join(targets, " ")
	if e.Message != "" {
		tail = strings.TrimSpace(tail + " " + Clean(e.Message))
	}
	line := p.paint(faint, fmt.Sprintf("%-27s", e.Timestamp)) + "  " +
		fmt.Sprintf("%-*s", p.provider, provider) + "  " +
		p.paint(levelColour(e.Level), fmt.Sprintf("%-*s", p.eventType, eventType)) + "  " + tail
	_, err := fmt.Fprintln(p.w, strings.TrimRight(line, " "))
	return err
}

// Note writes a line that is not an event.
func (p *Printer) Note(format string, args ...any) error {
	_, err := fmt.Fprintln(p.w, p.paint(bold, Clean(fmt.Sprintf(format, args...))))
	return err
}

func (p *Printer) paint(colour, text string) string { return paint(p.colour, colour, text) }

func paint(on bool, colour, text string) string {
	if !on || colour == "" {
		return text
	}
	return colour + text + reset
}

func levelColour(level string) string {
	switch level {
	case "critical":
		return red
	case "warning":
		return yellow
	default:
		return green
	}
}

// Clean makes text from outside safe for a terminal: what is not printable becomes a space or its escape.
func Clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// JSON makes a valid JSON text safe for a terminal, and one line: what is not printable is written as the escape that
// means the same to any reader. JSON itself asks that of the first 32 characters only.
func JSON(text []byte) []byte {
	if utf8.Valid(text) && bytes.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+32)
	for _, r := range string(text) {
		switch {
		case r == '\n' || r == '\t' || r == '\r': // between values; in strings they are escapes already
			out = append(out, ' ')
		case unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, "\\u%04x\\u%04x", high, low)
		default:
			out = fmt.Appendf(out, "\\u%04x", r)
		}
	}
	return out
}
