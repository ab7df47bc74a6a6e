package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Main runs a program in the real process and returns its exit code. The first SIGINT or SIGTERM ends it in good order,
// the second one at once.
func Main(program func(context.Context, Program) int) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal does what it does to any process
	return program(ctx, Program{
		Args: os.Args[1:], Env: os.LookupEnv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
}
