package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// again is how long after the first signal a second one counts. Until then it is the same wish, told twice: timeout(1)
// and others signal the process and then its group.
const again = 500 * time.Millisecond

// Main runs a program in the real process and returns its exit code. The first SIGINT or SIGTERM ends it in good order,
// one that comes later ends it at once. When nobody reads standard output any more (stackstream tail | head), the
// program ends in good order too; a log that nobody reads keeps nothing from working.
func Main(program func(context.Context, Program) int) int {
	signal.Ignore(syscall.SIGPIPE) // to get the error of the write instead
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if _, set := os.LookupEnv("GOGC"); !set { // otherwise somebody knows better
		go collectGarbage(ctx)
	}
	go dropBeginning(ctx)
	// From then on a signal does what it does to any process.
	context.AfterFunc(ctx, func() { time.AfterFunc(again, stop) })
	return program(ctx, Program{
		Args: os.Args[1:], Env: os.LookupEnv, Stdin: os.Stdin, Stdout: stdout{os.Stdout}, Stderr: os.Stderr,
		Hangups: hangups,
	})
}

// hangups is Program.Hangups of the real process.
func hangups(ctx context.Context) <-chan os.Signal {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGHUP)
	context.AfterFunc(ctx, func() { signal.Stop(told) })
	return told
}

// errNoReader ends a command whose output nobody reads any more. It was not the command that failed.
var errNoReader = errors.New("nobody reads standard output")

// stdout is standard output, whose broken pipe is errNoReader.
type stdout struct{ *os.File }

func (s stdout) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return n, errNoReader
	}
	return n, err
}
