package embedded

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// serverLog writes the embedded server's log lines into ours: warnings and errors as warnings, the rest for debugging.
// A line that repeats the one before is not written again.
type serverLog struct {
	log zerolog.Logger

	mu     sync.Mutex
	last   string
	failed error  // the first thing that the server called fatal
	fault  string // the first line that says that it can't write any more
}

func (l *serverLog) Noticef(format string, v ...any) { l.write(zerolog.DebugLevel, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.write(zerolog.DebugLevel, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.write(zerolog.TraceLevel, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.write(zerolog.WarnLevel, format, v) }

// Warnf leaves out the server's advice against our max_payload, which an operator can do nothing about.
func (l *serverLog) Warnf(format string, v ...any) {
	if !strings.HasPrefix(format, "Maximum payloads over") {
		l.write(zerolog.WarnLevel, format, v)
	}
}

// Fatalf keeps the line for who starts the server. The server expects the process to end here; it is shut down instead.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf(format, v...)
	}
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// writeFault is why the server writes no more, in its own words; "" while it does.
func (l *serverLog) writeFault() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

func (l *serverLog) write(level zerolog.Level, format string, v []any) {
	line := fmt.Sprintf(format, v...)
	l.mu.Lock()
	if l.fault == "" && level == zerolog.WarnLevel && isFault(line) {
		l.fault = line
	}
	repeated := line == l.last
	l.last = line
	l.mu.Unlock()
	if !repeated {
		l.log.WithLevel(level).Str("line", line).Msg("nats-server")
	}
}

// isFault tells whether a line says that the server could not write something and will not try again: a stream that failed
// once refuses all that comes until the server is started anew, whatever the disk has by then.
func isFault(line string) bool {
	line = strings.ToLower(line)
	return slices.ContainsFunc(
		[]string{"critical write error", "failed to store a msg", "will be disabled", "disabling jetstream"},
		func(said string) bool { return strings.Contains(line, said) })
}
