// Command profiled is collector or normalizer with profiles: the program is its first argument, the rest is the program's. When it
// ends it has written what took processor time and what was allocated into the directory STACKSTREAM_PROFILE, in files that are
// named after the program and the process. The programs themselves have no such door.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"

	"stackstream/internal/app/cli"
)

func main() { os.Exit(run()) } //nolint:forbidigo // this is main

func run() int {
	program, known := cli.Collector, len(os.Args) > 1
	switch {
	case known && os.Args[1] == "normalizer":
		program = cli.Normalizer
	case known && os.Args[1] != "collector":
		known = false
	}
	if !known {
		fmt.Fprintln(os.Stderr, "profiled: the first argument is collector or normalizer")
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
	code := cli.Main(program)
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
