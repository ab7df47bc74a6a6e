package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// errNotAgreed ends a command that was not allowed to do what it would have done.
var errNotAgreed = errors.New("nothing was done")

// agree asks whoever is at the terminal whether to go on. Where nobody is, --yes has to have said so.
func (p Program) agree(ctx context.Context, question string, yes bool) error {
	if yes {
		return nil
	}
	if !readsTerminal(p.Stdin) {
		return usagef("there is no terminal to ask on: give --yes to do it without being asked")
	}
	fmt.Fprintf(p.Stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // which ends with the process, where nobody answers
		line, _ := bufio.NewReader(p.Stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case said := <-answer:
		if said == "y" || said == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(p.Stderr)
	}
	return errNotAgreed
}

func readsTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && isTerminal(f)
}

// operator says who gives a command, for the records of it.
func (p Program) operator() string {
	user := "somebody"
	for _, name := range []string{"USER", "LOGNAME"} {
		if v, _ := p.Env(name); v != "" {
			user = v
			break
		}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return user + "@" + host
}
