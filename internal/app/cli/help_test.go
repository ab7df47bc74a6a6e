package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// trees are the commands of all programs.
func trees(p Program) []*cobra.Command {
	return []*cobra.Command{p.stackstream(), p.collector(), p.normalizer()}
}

func nowhere() Program {
	return Program{
		Env: func(string) (string, bool) { return "", false }, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
	}
}

// eachCommand calls f with every command that somebody may ask for help on.
func eachCommand(cmd *cobra.Command, f func(*cobra.Command)) {
	if cmd.Hidden {
		return
	}
	f(cmd)
	for _, sub := range cmd.Commands() {
		eachCommand(sub, f)
	}
}

// help is what a command says with --help.
func help(t *testing.T, path string) string {
	t.Helper()
	var out bytes.Buffer
	words := strings.Fields(path)
	p := nowhere()
	p.Args, p.Stdout = append(words[1:], "--help"), &out
	if code := programs[words[0]](t.Context(), p); code != exitOK {
		t.Fatalf("%s --help ends with %d", path, code)
	}
	return out.String()
}

// readsOnly are the commands that write nothing that a second try might find half done: neither to the streams nor to a file.
var readsOnly = []string{
	"stackstream", "stackstream watermark log", "stackstream dead", "stackstream dead ls", "stackstream dead stats",
	"stackstream dead show", "stackstream replay ls", "stackstream replay show", "stackstream backfill ls", "stackstream provider",
	"stackstream provider ls", "stackstream subscriber", "stackstream subscriber ls", "stackstream check", "stackstream try",
	"stackstream test", "stackstream new", "stackstream schema", "stackstream version",
}

func TestHelpIsEnough(t *testing.T) {
	for _, root := range trees(nowhere()) {
		eachCommand(root, func(cmd *cobra.Command) {
			path := cmd.CommandPath()
			text := help(t, path)
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpWidth {
					t.Errorf("%s --help has a line of %d columns:\n%s", path, n, line)
				}
			}
			if !strings.Contains(text, "\nExamples:\n") {
				t.Errorf("%s --help has no example", path)
			}
			if says := strings.Contains(strings.ToLower(text), "interrupt"); !says && !slices.Contains(readsOnly, path) {
				t.Errorf("%s --help does not say what happens when it is interrupted", path)
			}
		})
	}
}

// A flag that several commands have means the same and is told in the same words.
func TestFlagsAreTheSameEverywhere(t *testing.T) {
	said := map[string]string{}
	for _, root := range trees(nowhere()) {
		eachCommand(root, func(cmd *cobra.Command) {
			path := cmd.CommandPath()
			for _, name := range []string{"config", "nats", "creds", "why", "by", "yes"} {
				f := cmd.Flags().Lookup(name)
				if f == nil {
					continue
				}
				if said[name] == "" {
					said[name] = f.Usage
				}
				if f.Usage != said[name] {
					t.Errorf("--%s of %s says %q, elsewhere %q", name, path, f.Usage, said[name])
				}
			}
			for flag, other := range map[string]string{"why": "by", "by": "why", "nats": "config", "creds": "nats"} {
				if cmd.Flags().Lookup(flag) != nil && cmd.Flags().Lookup(other) == nil {
					t.Errorf("%s has --%s and no --%s", path, flag, other)
				}
			}
		})
	}
}

// Every example is one that its command takes.
func TestExamplesAreTaken(t *testing.T) {
	seen := 0
	for _, root := range trees(nowhere()) {
		eachCommand(root, func(cmd *cobra.Command) {
			text := strings.NewReplacer("\\\n", " ", "$(date +%F)", "2026-01-31").Replace(cmd.Example)
			for line := range strings.Lines(text) {
				words := shellWords(line)
				if len(words) == 0 || programs[words[0]] == nil {
					continue // of another program
				}
				seen++
				for _, fresh := range trees(nowhere()) {
					if fresh.Name() == words[0] {
						if err := takes(fresh, words[1:]); err != nil {
							t.Errorf("an example of %s: %v\n%s", cmd.CommandPath(), err, line)
						}
					}
				}
			}
		})
	}
	if seen < 50 {
		t.Errorf("%d examples were found", seen)
	}
}

// What the documents say may be typed is there, whatever stands for the values.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	files, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	inText, inBlocks := regexp.MustCompile("`(stackstream [a-z][^`#|]*)`"), regexp.MustCompile(`(?m)^ *(stackstream [a-z][^#|\n]*)`)
	for _, file := range append(files, "../../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split(strings.ReplaceAll(string(text), "\\\n", " "), "```") {
			typed := inText
			if i%2 == 1 {
				typed = inBlocks
			}
			for _, found := range typed.FindAllStringSubmatch(part, -1) {
				seen++
				if err := isThere(found[1]); err != nil {
					t.Errorf("%s: %s: %v", file, found[1], err)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("%d commands were found", seen)
	}
}

// isThere tells whether a command and its flags are there.
func isThere(typed string) error {
	cmd, rest, err := nowhere().stackstream().Find(shellWords(typed)[1:])
	if err != nil {
		return err
	}
	if !cmd.HasParent() {
		return errors.New("there is no such command")
	}
	cmd.InitDefaultHelpFlag()
	for _, word := range rest {
		name, isFlag := strings.CutPrefix(word, "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && cmd.Flags().Lookup(name) == nil {
			return fmt.Errorf("%s has no --%s", cmd.CommandPath(), name)
		}
	}
	return nil
}

// takes tells whether a program takes arguments, short of running them.
func takes(root *cobra.Command, args []string) error {
	cmd, args, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return err
	}
	return cmd.ValidateFlagGroups()
}

// shellWords are the words of the first command of a line: up to a pipe, a redirection or a comment.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	quote, open := rune(0), false
	for _, r := range strings.TrimSpace(line) + " " {
		switch {
		case r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r != ' ':
			if !open && strings.ContainsRune("|>#", r) {
				return words
			}
			open = true
			word.WriteRune(r)
		case open:
			words = append(words, word.String())
			word.Reset()
			open = false
		}
	}
	return words
}

func TestFilled(t *testing.T) {
	long := strings.Repeat("word ", 30)
	for text, want := range map[string]string{
		"":                               "",
		"a\nb\n\nc":                      "a b\n\nc",
		"a:\n\n  x  y\n  z\n\nb\nc\n":    "a:\n\n  x  y\n  z\n\nb c",
		long:                             strings.Repeat("word ", 19) + "word\n" + strings.Repeat("word ", 9) + "word",
		strings.Repeat("ü", 99) + " ü":   strings.Repeat("ü", 99) + "\nü",
		strings.Repeat("x", 120) + "\ny": strings.Repeat("x", 120) + "\ny",
	} {
		if got := filled(text); got != want {
			t.Errorf("%q is filled as\n%q, want\n%q", text, got, want)
		}
		if again := filled(filled(text)); again != want {
			t.Errorf("%q is filled again as %q", text, again)
		}
	}
}
