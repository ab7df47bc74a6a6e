package amqp

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// gate holds back commits of events while it is closed. The zero value is open.
type gate struct {
	mu   sync.Mutex
	held *held // nil while it is open
}

// held are the commits that wait at a gate, and what becomes of them.
type held struct {
	opened chan struct{}
	err    error
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = &held{opened: make(chan struct{})}
}

// open lets through what waits, or has it fail with err.
func (g *gate) open(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held.err = err
	close(g.held.opened)
	g.held = nil
}

func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	h := g.held
	g.mu.Unlock()
	if h == nil {
		return nil
	}
	select {
	case <-h.opened:
		return h.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gated is a Writer behind a gate.
type gated struct {
	collectors.Writer
	gate *gate
}

func (w *gated) Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
	if len(events) > 0 {
		if err := w.gate.pass(ctx); err != nil {
			return nil, err
		}
	}
	return w.Writer.Commit(ctx, events, p)
}

// wire passes connections on to a broker, reads what is said to the broker, and breaks at a word.
type wire struct {
	target   string
	listener net.Listener
	work     sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool
	acks     int
	single   int // those that are about one delivery only
	rejected int // nacks and rejects
	at       []breakpoint
	fails    int
	refused  bool
}

// breakpoint is where all connections break: before the nth such method with a text in it reaches the broker, or after.
type breakpoint struct {
	method method
	text   string
	nth    int
	after  bool
}

// method is a class of AMQP and a method of it.
type method struct{ class, id uint16 }

var (
	queueDeclare = method{50, 10}
	queueBind    = method{50, 20}
	queueUnbind  = method{50, 50}
	queueDelete  = method{50, 40}
	basicPublish = method{60, 40}
	basicAck     = method{60, 80}
	basicReject  = method{60, 90}
	basicNack    = method{60, 120}
)

// shortText is how a name stands in a method.
func shortText(name string) string { return string(rune(len(name))) + name }

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{target: target, listener: l, conns: map[net.Conn]bool{}}
	w.work.Go(w.accept)
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
		w.work.Wait()
	})
	return w
}

// breakAt breaks all connections at one point after the other.
func (w *wire) breakAt(points ...breakpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = points
}

// ahead are the points that were not reached.
func (w *wire) ahead() []breakpoint {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.at)
}

// fail breaks all connections, and the next n as soon as they are made.
func (w *wire) fail(n int) {
	w.mu.Lock()
	w.fails = n
	w.mu.Unlock()
	w.cut()
}

// refuse breaks all connections, and those that are made until it is called with false.
func (w *wire) refuse(on bool) {
	w.mu.Lock()
	w.refused = on
	w.mu.Unlock()
	w.cut()
}

func (w *wire) failing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	failing := w.refused || w.fails > 0
	w.fails = max(w.fails-1, 0)
	return failing
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
		delete(w.conns, c)
	}
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp4", w.target)
		if err != nil || w.failing() {
			if err == nil {
				_ = server.Close()
			}
			_ = client.Close()
			continue
		}
		w.mu.Lock()
		w.conns[client], w.conns[server] = true, true
		w.mu.Unlock()
		w.work.Go(func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
		})
		w.work.Go(func() {
			w.read(client, server)
			_ = server.Close()
		})
	}
}

// read goes through the frames that a client sends, after the eight bytes with which it begins.
func (w *wire) read(from io.Reader, to io.Writer) {
	r := bufio.NewReader(from)
	frame := make([]byte, 8)
	if _, err := io.ReadFull(r, frame); err != nil {
		return
	}
	for {
		if _, err := to.Write(frame); err != nil {
			return
		}
		head := make([]byte, 7)
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		frame = append(head, make([]byte, int(binary.BigEndian.Uint32(head[3:]))+1)...)
		if _, err := io.ReadFull(r, frame[7:]); err != nil {
			return
		}
		if head[0] != 1 {
			continue // it is no method
		}
		if now, after := w.note(frame[7:]); now {
			if after {
				_, _ = to.Write(frame)
			}
			w.cut()
			return
		}
	}
}

// note counts a method, and tells whether connections are to break, and whether the method comes before that.
func (w *wire) note(payload []byte) (now, after bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := method{binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])}
	switch m {
	case basicAck:
		w.acks++
		if payload[12]&1 == 0 {
			w.single++
		}
	case basicReject, basicNack:
		w.rejected++
	}
	if len(w.at) == 0 || m != w.at[0].method || !strings.Contains(string(payload), w.at[0].text) {
		return false, false
	}
	if w.at[0].nth--; w.at[0].nth > 0 {
		return false, false
	}
	after = w.at[0].after
	w.at = w.at[1:]
	return true, after
}

func (w *wire) addr() string { return w.listener.Addr().String() }

func (w *wire) counts() (acks, single, rejected int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acks, w.single, w.rejected
}

// erlang writes text as an Erlang binary.
func erlang(text string) string { return fmt.Sprintf("<<%q>>", text) }

// closeOurs has the broker close the connections of collectors to a virtual host whose name has a text in it.
func closeOurs(t *testing.T, broker *rabbitmqtest.Broker, vhost, name string) {
	t.Helper()
	broker.Eval(t, fmt.Sprintf(`[rabbit_networking:close_connection(P, "closed by a test") || `+
		`[{pid, P}, {vhost, V}, {client_properties, C}] <- rabbit_networking:connection_info_all([pid, vhost, client_properties]), `+
		`V =:= %s, {<<"connection_name">>, _, N} <- C, binary:match(N, %s) =/= nomatch]`, erlang(vhost), erlang(name)))
}

// inQueue is how many messages wait in a classic queue, and how many are with a consumer; -1 if there is no such queue.
func inQueue(t *testing.T, broker *rabbitmqtest.Broker, vhost, queue string) (ready, unacked int) {
	t.Helper()
	answer := broker.Eval(t, fmt.Sprintf(`case rabbit_amqqueue:lookup(rabbit_misc:r(%s, queue, %s)) of `+
		`{ok, Q} -> [{_, R}, {_, U}] = rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged]), {R, U}; `+
		`_ -> {-1, -1} end`, erlang(vhost), erlang(queue)))
	if n, err := fmt.Sscanf(answer, "{%d,%d}", &ready, &unacked); err != nil || n != 2 {
		t.Fatalf("the broker says of queue %s: %s", queue, answer)
	}
	return ready, unacked
}

// listedConsumer is a consumer as the broker sees it.
type listedConsumer struct {
	Prefetch int
	Active   bool
}

func listConsumers(t *testing.T, broker *rabbitmqtest.Broker, vhost, queue string) []listedConsumer {
	t.Helper()
	var found []listedConsumer
	for _, line := range ask(t, broker, `{ok, Q} = rabbit_amqqueue:lookup({resource, <<%q>>, queue, <<%q>>}),
		lists:flatten([io_lib:format("~p ~p~n", [element(4, C), element(5, C)]) || C <- rabbit_amqqueue:consumers(Q)])`, vhost, queue) {
		var c listedConsumer
		if _, err := fmt.Sscan(line, &c.Prefetch, &c.Active); err != nil {
			t.Fatalf("the broker says of a consumer: %s", line)
		}
		found = append(found, c)
	}
	return found
}

// bindings are those to queues of ours, "exchange > queue by key", sorted; without those to our own exchanges.
func bindings(t *testing.T, broker *rabbitmqtest.Broker, vhost string) []string {
	t.Helper()
	var all []struct {
		From string `json:"source_name"`
		To   string `json:"destination_name"`
		Key  string `json:"routing_key"`
	}
	text := broker.Ctl(t, "list_bindings", "-p", vhost, "source_name", "destination_name", "routing_key", "--formatter", "json")
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("list bindings: %v in %s", err, text)
	}
	var found []string
	for _, b := range all {
		if b.From != "" && !strings.HasPrefix(b.From, "stackstream.") && strings.HasPrefix(b.To, "stackstream.") {
			found = append(found, fmt.Sprintf("%s > %s by %s", b.From, b.To, b.Key))
		}
	}
	slices.Sort(found)
	return found
}

// perExchange sorts identities like "nova-000001" by what stands before the number, keeping their order.
func perExchange(ids []event.ID) map[string][]string {
	found := map[string][]string{}
	for _, id := range ids {
		exchange, _, _ := strings.Cut(string(id), "-0")
		found[exchange] = append(found[exchange], string(id))
	}
	return found
}

// collected is how many events there are.
func (r *rig) collected() int {
	r.t.Helper()
	cursors, err := r.log.Cursors(context.Background(), cloud)
	if err != nil {
		r.t.Fatal(err)
	}
	n := 0
	for _, c := range cursors {
		n += int(c.Position)
	}
	return n
}

// wantEach waits until exactly these are collected, those of each exchange in this order.
func (r *rig) wantEach(want map[string][]string) {
	r.t.Helper()
	total := 0
	for _, ids := range want {
		total += len(ids)
	}
	r.eventually(fmt.Sprintf("%d events", total), func() bool { return r.collected() >= total })
	got := perExchange(r.log.IDs(cloud))
	for exchange, ids := range want {
		if !slices.Equal(got[exchange], ids) {
			r.t.Errorf("of %s were collected %s", exchange, difference(got[exchange], ids))
		}
		delete(got, exchange)
	}
	for exchange, ids := range got {
		r.t.Errorf("%d events of %s, unexpected", len(ids), exchange)
	}
}
