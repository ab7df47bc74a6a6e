// Command profiled is collector, normalizer or nats-server with profiles: the program is its first argument, the rest is the
// program's. When it ends it has written what took processor time and what was allocated into the directory STACKSTREAM_PROFILE, in
// files that are named after the program and the process. The programs themselves have no such door.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"

	"stackstream/internal/app/cli"
)

func main() { os.Exit(run()) } //nolint:forbidigo // this is main

func run() int {
	programs := map[string]func() int{
		"collector":   func() int { return cli.Main(cli.Collector) },
		"normalizer":  func() int { return cli.Main(cli.Normalizer) },
		"nats-server": natsServer,
	}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "profiled: the first argument is collector, normalizer or nats-server")
		return 2
	}
	name := os.Args[1]
	os.Args = append([]string{name}, os.Args[2:]...)
	at := filepath.Join(os.Getenv("STACKSTREAM_PROFILE"), fmt.Sprintf("%s-%d", name, os.Getpid())) //nolint:forbidigo // this is main
	cpu, err := os.Create(at + ".cpu.pprof")
	if err == nil {
		err = pprof.StartCPUProfile(cpu)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		return 1
	}
	code := programs[name]()
	pprof.StopCPUProfile()
	allocated, err := os.Create(at + ".allocs.pprof")
	if err == nil {
		err = pprof.Lookup("allocs").WriteTo(allocated, 0)
	}
	for _, f := range []*os.File{cpu, allocated} {
		if f != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		return 1
	}
	return code
}

// natsServer is what the program of that name does until it is told to end, but for leaving without a word.
func natsServer() int {
	set := flag.NewFlagSet("nats-server", flag.ContinueOnError)
	opts, err := server.ConfigureOptions(set, os.Args[1:], nil, nil, nil)
	if err != nil || opts == nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		return 1
	}
	opts.NoSigs = true
	s, err := server.NewServer(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		return 1
	}
	s.ConfigureLogger()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return 0
}
