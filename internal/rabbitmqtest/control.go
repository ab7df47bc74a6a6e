package rabbitmqtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// controlLoop runs in the broker once it has booted: it evaluates the Erlang expressions that come through file
// descriptor 3, and answers through 4, each with its length in front. So a question takes a millisecond, where
// rabbitmqctl first starts an Erlang of its own. It ends the broker when nobody can ask any more.
const controlLoop = `spawn(fun() ->
  Port = open_port({fd, 3, 4}, [{packet, 4}, binary, eof]),
  Loop = fun(Again) ->
    receive
      {Port, {data, Text}} ->
        Answer = try
          {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text)),
          {ok, Expressions} = erl_parse:parse_exprs(Tokens),
          {value, Value, _} = erl_eval:exprs(Expressions, []),
          io_lib:format("+~0tp", [Value])
        catch Class:Reason -> io_lib:format("-~0tp", [{Class, Reason}]) end,
        port_command(Port, unicode:characters_to_binary(Answer)),
        Again(Again);
      {Port, eof} -> erlang:halt(0, [{flush, false}])
    end
  end,
  Loop(Loop)
end).`

// control asks a broker to evaluate Erlang expressions. It is safe for concurrent use.
type control struct {
	mu     sync.Mutex
	ask    *os.File
	answer *os.File
	broken error
}

// newControl also returns the broker's ends: its file descriptors 3 and 4.
func newControl() (*control, []*os.File, error) {
	in, ask, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make the control pipe: %w", err)
	}
	answer, out, err := os.Pipe()
	if err != nil {
		_, _ = in.Close(), ask.Close()
		return nil, nil, fmt.Errorf("make the control pipe: %w", err)
	}
	return &control{ask: ask, answer: answer}, []*os.File{in, out}, nil
}

// eval returns the value of the expression, printed. After an answer that did not come in time there are no others.
func (c *control) eval(expression string, within time.Duration) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return "", c.broken
	}
	answer, err := c.exchange(expression+".", within)
	if err != nil {
		c.broken = fmt.Errorf("the broker does not answer: %w", err)
		return "", c.broken
	}
	value, ok := strings.CutPrefix(answer, "+")
	if !ok {
		return "", errors.New(strings.TrimPrefix(answer, "-"))
	}
	return value, nil
}

func (c *control) exchange(question string, within time.Duration) (string, error) {
	deadline := time.Now().Add(within)
	if err := errors.Join(c.ask.SetDeadline(deadline), c.answer.SetDeadline(deadline)); err != nil {
		return "", err
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(question)))
	if _, err := c.ask.Write(append(frame, question...)); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(c.answer, frame); err != nil {
		return "", err
	}
	answer := make([]byte, binary.BigEndian.Uint32(frame))
	if _, err := io.ReadFull(c.answer, answer); err != nil {
		return "", err
	}
	return string(answer), nil
}

func (c *control) close() { _, _ = c.ask.Close(), c.answer.Close() }

// binaryOf writes s as an Erlang binary, whatever it contains.
func binaryOf(s string) string {
	bytes := make([]string, len(s))
	for i := range len(s) {
		bytes[i] = fmt.Sprint(s[i])
	}
	return "<<" + strings.Join(bytes, ",") + ">>"
}

// atomOf writes s as an Erlang atom; s has no quotes.
func atomOf(s string) string { return "'" + s + "'" }

// resource writes the name of a queue or an exchange as RabbitMQ has it.
func resource(vhost, kind, name string) string {
	return fmt.Sprintf("rabbit_misc:r(%s, %s, %s)", binaryOf(vhost), kind, binaryOf(name))
}
