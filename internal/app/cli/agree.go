package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// errNotAgreed ends a command that was not allowed to do what it would have done.
var errNotAgreed = errors.New("nothing was done")

// agree asks whoever is at the terminal whether to go on. Where nobody is, --yes has to have said so.
func (p Program) agree(question string, yes bool) error {
	if yes {
		return nil
	}
	if !readsTerminal(p.Stdin) {
		return usagef("nobody is there to be asked: give --yes to do it without a question, or --dry-run to see what would be done")
	}
	fmt.Fprintf(p.Stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(p.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
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
