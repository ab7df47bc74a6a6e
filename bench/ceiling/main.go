// Command ceiling does one part of the pipeline's work and nothing else: no order that is checked, no retry, no cursor, no
// identity; what goes wrong ends it. It shows how fast the parts are by themselves, which is what the pipeline is measured against.
//
//	ceiling drain      empty a queue of RabbitMQ
//	ceiling publish    write a stream of JetStream, in atomic batches
//	ceiling consume    read a stream of JetStream
//	ceiling collect    the first hop of a hand-tuned chain: a queue into a stream, without batches
//	ceiling normalize  its second hop: a stream into another, converted cheaply
//
// It prints "begun" and how many events it had dealt with then, and "done" likewise at the end; it ends when its standard input
// does, so that it can be looked at from outside while it still has everything.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// options are those of all parts; each reads what it needs.
type options struct {
	events   int
	amqp     string
	queue    string
	prefetch int
	nats     string
	stream   string
	consumer string
	subject  string
	batch    int
	open     int
	window   int
	bodies   string
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ceiling:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("which part? drain, publish, consume, collect or normalize")
	}
	o := options{}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.IntVar(&o.events, "events", 1, "how many there are")
	flags.StringVar(&o.amqp, "amqp", "", "URL of the virtual host")
	flags.StringVar(&o.queue, "queue", "", "to read")
	flags.IntVar(&o.prefetch, "prefetch", 2000, "how many deliveries the broker hands over ahead of their acknowledgement")
	flags.StringVar(&o.nats, "nats", "", "URLs of the servers, separated by commas")
	flags.StringVar(&o.stream, "stream", "", "to read")
	flags.StringVar(&o.consumer, "consumer", "", "through which it is read")
	flags.StringVar(&o.subject, "subject", "", "to write on")
	flags.IntVar(&o.batch, "batch", 500, "how many events are committed, or acknowledged, at once")
	flags.IntVar(&o.open, "open", 2, "how many atomic batches are under way at a time")
	flags.IntVar(&o.window, "window", 4000, "how many messages wait for their acknowledgement, or are asked for ahead")
	flags.StringVar(&o.bodies, "bodies", "", "file with what is written, a body a line")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	parts := map[string]func(context.Context, options, *counter) error{
		"drain": drain, "publish": publish, "consume": consume, "collect": collect, "normalize": normalize,
	}
	part, known := parts[args[0]]
	if !known {
		return fmt.Errorf("there is no part %q", args[0])
	}
	c := &counter{want: o.events, out: out}
	if err := part(ctx, o, c); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

// counter says when the work begins and when it is done.
type counter struct {
	want, n int
	out     io.Writer
}

// add counts events that were dealt with, and tells whether there are more.
func (c *counter) add(n int) (more bool) {
	if c.n == 0 && n > 0 {
		_, _ = fmt.Fprintln(c.out, "begun", n)
	}
	c.n += n
	if c.n < c.want {
		return true
	}
	_, _ = fmt.Fprintln(c.out, "done", c.n)
	return false
}
