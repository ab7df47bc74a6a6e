// Package cli has the commands. Every program calls one function of it with its arguments, environment and streams, and
// exits with what it returns: 0 done, 1 failed, 2 wrong usage or configuration. Tests call the same functions.
//
// Output for programs goes to standard output alone; logs, notes and errors go to standard error. An error is one line
// per mistake, begins with the program's name or the place in a file, and never holds a secret; lines that are set in show
// the place that is meant.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"stackstream/internal/app"
	"stackstream/internal/app/show"
	"stackstream/internal/check"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Program is what a command gets from the process it runs in.
type Program struct {
	Args   []string // without the program's name
	Env    func(string) (string, bool)
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Hangups, if set, returns where SIGHUP is told of from now on until ctx ends. A program that does not ask is ended by it.
	Hangups func(ctx context.Context) <-chan os.Signal

	openStore app.OpenStore // nil where the program has no server in it
}

// usageError is wrong use of a command.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// ranError is what a command returned, as opposed to what cobra found wrong before it ran one.
type ranError struct{ err error }

func (e ranError) Error() string { return e.err.Error() }
func (e ranError) Unwrap() error { return e.err }

// errReported ends a command whose result is already on standard output.
var errReported = errors.New("failed")

// execute runs a command tree and turns what it returns into an exit code.
func (p Program) execute(ctx context.Context, root *cobra.Command) int {
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	root.SilenceUsage, root.SilenceErrors = true, true
	root.CompletionOptions.HiddenDefaultCmd = false
	markRan(root)
	fitHelp(root)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil || errors.Is(err, errNoReader) {
		return exitOK
	}
	var (
		findings check.Findings
		usage    usageError
		run      ranError
	)
	code := exitFailed
	switch {
	case errors.As(err, &findings):
		// Positions stand at the beginning of the line, where editors look for them.
		for _, f := range findings {
			text := f.String()
			if strings.HasPrefix(text, "--") { // it stands in no file
				text = fmt.Sprintf("%s: %s (see %s --help)", root.Name(), text, ran.CommandPath())
			}
			fmt.Fprintln(p.Stderr, show.Clean(text))
			for line := range strings.Lines(f.Excerpt) {
				fmt.Fprintln(p.Stderr, "    "+show.Clean(strings.TrimSuffix(line, "\n")))
			}
		}
		return exitUsage
	case errors.As(err, &usage), !errors.As(err, &run):
		code = exitUsage
		err = fmt.Errorf("%s (see %s --help)", flagged(err.Error()), ran.CommandPath())
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintf(p.Stderr, "%s: %s\n", root.Name(), show.Clean(strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	return code
}

// flagged says in words for people what cobra says about flags that exclude one another, or of which one is needed.
func flagged(text string) string {
	list := func(group, word string) string {
		names := strings.Fields(group)
		for i := range names {
			names[i] = "--" + names[i]
		}
		last := len(names) - 1
		return strings.Join(names[:last], ", ") + word + names[last]
	}
	const of = "if any flags in the group ["
	const one = "at least one of the flags in the group ["
	switch {
	case strings.HasPrefix(text, of):
		if _, set, found := strings.Cut(text, "; ["); found {
			set, _, _ = strings.Cut(set, "]")
			if len(strings.Fields(set)) > 1 {
				return list(set, " and ") + " do not go together: give one of them"
			}
		}
	case strings.HasPrefix(text, one):
		if group, _, found := strings.Cut(text[len(one):], "]"); found && len(strings.Fields(group)) > 1 {
			return list(group, " or ") + " is missing: one of them is needed"
		}
	}
	return text
}

// markRan wraps what the commands of a tree run, so that execute can tell their errors from cobra's own.
func markRan(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := run(cmd, args); err != nil {
				return ranError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markRan(sub)
	}
}

// colour tells whether w is a terminal that wants colours (no-color.org).
func (p Program) colour(w io.Writer) bool {
	if v, set := p.Env("NO_COLOR"); set && v != "" {
		return false
	}
	if v, _ := p.Env("TERM"); v == "dumb" {
		return false
	}
	return isTerminal(w)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// logger writes to standard error: lines for people on a terminal, JSON otherwise, unless the format says which.
func (p Program) logger(level, format string) (zerolog.Logger, error) {
	lvl, err := zerolog.ParseLevel(level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("log level %q: %w", level, err)
	}
	out := p.Stderr
	if format == "console" || (format == "auto" && isTerminal(p.Stderr)) {
		out = zerolog.ConsoleWriter{Out: p.Stderr, NoColor: !p.colour(p.Stderr), TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(zerolog.SyncWriter(out)).Level(lvl).With().Timestamp().Logger(), nil
}

// changingLogger is logger for a program that runs for long: set changes the level of it and of all that were made of it.
func (p Program) changingLogger(level, format string) (log zerolog.Logger, set func(level string), err error) {
	log, err = p.logger(zerolog.LevelTraceValue, format)
	if err != nil {
		return log, nil, err
	}
	var t threshold
	set = func(level string) {
		if lvl, err := zerolog.ParseLevel(level); err == nil { // the configuration takes no other words
			t.Store(int32(lvl))
		}
	}
	set(level)
	return log.Sample(&t), set, nil
}

// threshold leaves out lines below a level.
type threshold struct{ atomic.Int32 }

// Sample tells whether a line of the level is written.
func (t *threshold) Sample(level zerolog.Level) bool { return int32(level) >= t.Load() }
