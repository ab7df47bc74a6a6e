package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"stackstream/event"
	"stackstream/internal/app/letters"
	"stackstream/internal/app/show"
	"stackstream/jetstream"
)

func (p Program) deadShowCommand() *cobra.Command {
	var nats natsFlags
	var provider string
	var asJSON, body bool
	cmd := &cobra.Command{
		Use:   "show NUMBER",
		Short: "Show everything about one dead letter",
		Long: `show prints what is known of a dead letter: why it could not be converted, with the stack of a panic; the
raw event it was made of and where that is in EVENTS_RAW; what became of it; all its headers, and the
body of the event as the service sent it (from the object store, if it was too large for a message). It
changes nothing.

--body writes the bytes of the body and nothing else, to feed them to a test of a converter or mapping.`,
		Example: `  stackstream dead show 4711 --provider prod
  stackstream dead show 4711 --provider prod --body > event.json
  stackstream dead show 4711 --json | jq .headers`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("takes the number of one dead letter; `stackstream dead ls` has the numbers")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			numbers, err := letters.ParseNumbers(args[0])
			if err != nil || len(numbers) != 1 || numbers[0].From != numbers[0].To {
				return usagef("%q is no number of a dead letter; `stackstream dead ls` has the numbers", args[0])
			}
			name, err := providerFlag(provider)
			if err != nil {
				return err
			}
			return p.withDead(cmd.Context(), &nats, name, func(ctx context.Context, dead *deadLetters) error {
				record, err := dead.find(ctx, numbers)
				if err != nil {
					return err
				}
				switch {
				case body && record.Body.Lost != nil:
					return fmt.Errorf("the body of letter %d is gone: %w", record.Number, record.Body.Lost)
				case body:
					_, err := p.Stdout.Write(record.Body.Bytes)
					return err
				case asJSON:
					return p.recordJSON(p.Stdout, record)
				}
				return showRecord(p.Stdout, record)
			})
		},
	}
	nats.add(cmd)
	cmd.Flags().StringVar(&provider, "provider", "", "the letter of this `PROVIDER`; needed where several have one of that number")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object, as dead export writes it")
	cmd.Flags().BoolVar(&body, "body", false, "write only the body, byte for byte")
	cmd.MarkFlagsMutuallyExclusive("json", "body")
	return cmd
}

// find reads the one letter that has a number.
func (d *deadLetters) find(ctx context.Context, numbers letters.Numbers) (*letters.Record, error) {
	var found []*letters.Record
	for _, name := range d.names {
		of := d.provider(name)
		if err := of.Read(ctx); err != nil {
			return nil, err
		}
		var places []letters.Place
		err := of.Each(ctx, &letters.Filter{Numbers: numbers}, func(l *event.Letter, _ string) error {
			places = append(places, letters.PlaceOf(l))
			return nil
		})
		if err != nil || len(places) == 0 {
			if err != nil {
				return nil, err
			}
			continue
		}
		// Of several with one number, which a stream that was made anew brings about, the newest counts.
		err = of.Records(ctx, places[len(places)-1:], jetstream.Copied, func(r *letters.Record) error {
			found = append(found, r)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no dead letter with the number %d: it is an event, or EVENTS_DEAD keeps it no longer; "+
			"`stackstream dead ls --state all` has the numbers", numbers[0].From)
	case 1:
		return found[0], nil
	}
	var names []string
	for _, r := range found {
		names = append(names, string(r.Provider))
	}
	return nil, usagef("%s have a dead letter with that number: say which with --provider", strings.Join(names, " and "))
}

// recordJSON writes one record on one line.
func (p Program) recordJSON(w io.Writer, r *letters.Record) error {
	text, err := json.Marshal(r)
	if err == nil {
		_, err = fmt.Fprintf(w, "%s\n", show.JSON(text))
	}
	return err
}

func showRecord(w io.Writer, r *letters.Record) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Dead letter %d of %s\n\n", r.Number, r.Provider)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-13s %s\n", name, show.Clean(fmt.Sprintf(format, args...)))
	}
	when := func(name string, t time.Time) {
		if !t.IsZero() {
			line(name, "%s", t.UTC().Format(time.RFC3339Nano))
		}
	}
	text := func(name, value string) {
		if value != "" {
			line(name, "%s", value)
		}
	}
	text("state", r.State)
	when("written", r.StoredAt)
	text("reason", string(r.Reason))
	text("converter", r.Converter)
	text("format", r.Format)
	text("content type", r.ContentType)
	hashed := ""
	if r.Hashed {
		hashed = " (a hash of the body: the source gave none)"
	}
	line("id", "%s%s", r.ID, hashed)
	text("source", string(r.Source))
	when("source's time", r.Time)
	when("received", r.Received)
	text("backfill", r.Backfill)
	line("raw event", "%s", placed(r.Made))
	if r.Origin != r.Made {
		line("at first", "%s", placed(r.Origin))
	}
	if r.Redriven != 0 {
		line("made of", "dead letter %d, which %s had converted again: %s", r.Redriven, r.By, r.Why)
	}
	for _, stream := range slices.Sorted(maps.Keys(r.In)) {
		line("stored in", "%s, message %d", stream, r.In[stream])
	}

	fmt.Fprintf(&b, "\nWhy it could not be converted\n\n")
	indented(&b, r.Detail)
	if len(r.States) > 0 {
		fmt.Fprintf(&b, "\nWhat became of it\n\n")
		for _, s := range r.States {
			fmt.Fprintf(&b, "  %s  %s\n", s.At.UTC().Format("2006-01-02T15:04:05Z"), show.Clean(became(s)))
		}
	}
	fmt.Fprintf(&b, "\nHeaders\n\n")
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if name == event.HeaderDetail {
			continue // it stands above
		}
		fmt.Fprintf(&b, "  %s: %s\n", show.Clean(name), show.Clean(event.DecodeHeader(r.Headers[name])))
	}
	showBody(&b, r)
	_, err := w.Write(b.Bytes())
	return err
}

func placed(at event.RawPlace) string {
	switch {
	case at.Source == "":
		return fmt.Sprintf("message %d of EVENTS_RAW", at.Sequence)
	case at.Seq == 0:
		return fmt.Sprintf("message %d of EVENTS_RAW, of source %s", at.Sequence, at.Source)
	}
	return fmt.Sprintf("event %d of source %s, message %d of EVENTS_RAW", at.Seq, at.Source, at.Sequence)
}

func became(s event.LetterState) string {
	by := ""
	if s.Converter != "" {
		by = " by " + s.Converter
	}
	what := "dropped"
	switch s.State {
	case event.LetterRedriven:
		what = fmt.Sprintf("converted again%s: event %d", by, s.Seq)
	case event.LetterDead:
		what = fmt.Sprintf("could not be converted again%s: dead letter %d", by, s.Seq)
	}
	return fmt.Sprintf("%s (%s: %s)", what, s.By, s.Why)
}

// indented writes text from outside as it is divided into lines.
func indented(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "  %s\n", show.Clean(strings.TrimRight(line, "\r\n")))
	}
}

// maxDump is how much is shown of a body that is no text.
const maxDump = 512

func showBody(w io.Writer, r *letters.Record) {
	body := r.Body.Bytes
	switch {
	case r.Body.Lost != nil:
		fmt.Fprintf(w, "\nBody: gone\n\n")
		indented(w, r.Body.Lost.Error())
	case len(body) == 0:
		fmt.Fprintf(w, "\nBody: empty\n")
	case json.Valid(body):
		fmt.Fprintf(w, "\nBody (%d bytes of JSON, set in here; --body has it as it came)\n\n", len(body))
		var pretty bytes.Buffer
		if json.Indent(&pretty, body, "", "  ") == nil {
			indented(w, pretty.String())
		}
	case utf8.Valid(body) && !bytes.ContainsRune(body, 0):
		fmt.Fprintf(w, "\nBody (%d bytes)\n\n", len(body))
		indented(w, string(body))
	default:
		fmt.Fprintf(w, "\nBody (%d bytes that are no text, the first of them here; --body has all)\n\n", len(body))
		indented(w, hex.Dump(body[:min(len(body), maxDump)]))
	}
}

func (p Program) deadExportCommand() *cobra.Command {
	var nats natsFlags
	var which letterFlags
	var out string
	cmd := &cobra.Command{
		Use:   "export -o FILE",
		Short: "Write dead letters to a file, whole",
		Long: `export writes dead letters with all that is known of them, one JSON object on each line:

  provider, number            which letter it is
  stored_at, in               when and where it was written: stream and sequence
  state, states               the state it is in, and all that became of it
  reason, detail, converter   why it could not be converted
  id, hashed, source, format, content_type, received, time, backfill
                              the raw event; hashed: its id is a hash of its body
  raw, origin                 where in EVENTS_RAW it is: what the letter was made of, and what the
                              source gave
  redriven, by, why           where it was made of an older letter that was converted again
  headers                     as they are stored, percent-encoded
  size                        of the body in bytes
  body                        the body, where it is UTF-8, as a string that gives back its bytes
  body_base64                 the body, where it is not
  body_lost                   why there is no body

It writes those that are open unless --state says otherwise, and changes nothing on the server. FILE must
not exist; "-" is standard output. Interrupted, it leaves the lines that it has written.`,
		Example: `  stackstream dead export --provider prod -o dead.jsonl
  stackstream dead export --state all -o - | jq -r 'select(.reason == "malformed") | .body'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("a file is needed: give it with -o FILE, or -o - for standard output")
			}
			return p.withLetters(cmd, &nats, &which, func(ctx context.Context, dead *deadLetters, filter *letters.Filter) error {
				if out == "-" {
					_, err := p.export(ctx, dead, filter, p.Stdout)
					return err
				}
				file, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
				if err != nil {
					return err
				}
				n, err := p.export(ctx, dead, filter, file)
				if err = errors.Join(err, file.Close()); err != nil {
					return fmt.Errorf("after %d letters: %w", n, err)
				}
				return p.say(fmt.Sprintf("%d dead letters are in %s.", n, show.Clean(out)))
			})
		},
	}
	nats.add(cmd)
	which.add(cmd, letters.Open)
	cmd.Flags().StringVarP(&out, "output", "o", "", "`FILE` that is to be written, - for standard output")
	_ = cmd.MarkFlagFilename("output", "jsonl")
	return cmd
}

// export writes the letters that the filter wants, and says how many they were.
func (p Program) export(ctx context.Context, dead *deadLetters, filter *letters.Filter, w io.Writer) (n int, err error) {
	buffered := bufio.NewWriter(w)
	defer func() { err = errors.Join(err, buffered.Flush()) }()
	for _, name := range dead.names {
		of := dead.provider(name)
		if err := of.Read(ctx); err != nil {
			return n, err
		}
		var places []letters.Place
		err := of.Each(ctx, filter, func(l *event.Letter, _ string) error {
			places = append(places, letters.PlaceOf(l))
			return nil
		})
		if err != nil {
			return n, err
		}
		err = of.Records(ctx, places, jetstream.Copied, func(r *letters.Record) error {
			n++
			return p.recordJSON(buffered, r)
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
