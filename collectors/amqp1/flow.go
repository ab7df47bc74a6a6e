package amqp1

import "time"

// flow is the credit of the one link of a connection. The library could give credit, too, but it has no way to ask a peer whether it
// has sent all there is: its drain takes the credit back at the same time, to which many peers do not answer, and it does not follow
// the count of those that do.
//
// There are two ways to ask. One is to have the peer tell its state (echo): who still has credit has nothing to send. The other is to
// have it use up its credit, or give it back (drain). Who knows the one may not know the other: qpid-proton does not answer the
// first, and RabbitMQ 3.10 ends the session over the second.
type flow struct {
	// Of the session: the number of the next frame with a part of a message.
	incoming uint32
	// Of the link: how many messages were sent, by the sender's count, and how many more may be. Some peers do not reckon with what
	// is on its way, and send more.
	count  uint32
	credit int

	asked question
	limit uint32    // up to which count the peer may send since it was asked: it tells its answer from what it says otherwise
	left  int       // how much of the credit the sender gave back since then
	spoke bool      // it has said something since then
	reply chan bool // has whether all is sent
}

// question is how a peer is asked.
type question int

const (
	nothing question = iota
	echo
	drain
	windows // nothing, and of the session alone: there may be no link yet
)

// begin takes note that a message begins.
func (f *flow) begin() {
	f.count++
	f.credit = max(f.credit-1, 0)
}

// abort takes back begin.
func (f *flow) abort() {
	f.count--
	f.credit++
}

// told is what a peer says of the flow of a link.
type told struct {
	count, credit, available     uint32
	counts, credits, knows, echo bool
}

// take takes what the peer says.
func (f *flow) take(p told) {
	f.spoke = true
	if ahead := int(int32(p.count - f.count)); p.counts && ahead > 0 { // what it is ahead was given back
		given := min(ahead, f.credit)
		f.count = p.count
		f.credit -= given
		f.left += given
	}
	if f.asked == echo && p.counts && p.credits && p.count+p.credit == f.limit {
		f.answer(p.knows && p.available == 0 || !p.knows && p.credit > 0)
	}
	f.drained()
}

// drained answers who asked the sender to use up its credit, if it has none any more: it has sent all it had, or may have more.
func (f *flow) drained() {
	if f.asked == drain && f.credit == 0 {
		f.answer(f.left > 0)
	}
}

func (f *flow) answer(all bool) {
	f.asked = nothing
	select {
	case f.reply <- all:
	default:
	}
}

// learn takes from the peer's begin and attach where it begins to count.
func (g *gate) learn(performative byte, b []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := readList(b, func(i int, value []byte) {
		switch n, _ := number(value); {
		case performative == isBegin && i == 1:
			g.flow.incoming = n
		case performative == isAttach && i == 4:
			g.settling.twice = len(value) == 2 && value[1] == 1
		case performative == isAttach && i == 9:
			g.flow.count = n
		}
	})
	return err
}

// takeFlow takes what the peer says of the flow, and answers it. Nothing of that passes: the library sends no messages, so that it needs
// none of it, and its own answers would have what comes wait in line while a peer does not read.
func (g *gate) takeFlow(b []byte) error {
	var p told
	link := false
	_, err := readList(b, func(i int, value []byte) {
		n, known := number(value)
		switch i {
		case 4:
			link = known
		case 5:
			p.count, p.counts = n, known
		case 6:
			p.credit, p.credits = n, known
		case 7:
			p.available, p.knows = n, known
		case 9:
			p.echo = isTrue(value)
		}
	})
	how := windows
	if err == nil && link {
		how = nothing
		g.mu.Lock()
		g.flow.take(p)
		g.mu.Unlock()
	}
	if err == nil && p.echo {
		err = g.tell(how)
	}
	return err
}

// give gives the peer more credit. While it is to use up what it has it gets none.
func (g *gate) give(n int) error {
	g.mu.Lock()
	if g.flow.asked == drain {
		g.mu.Unlock()
		return nil
	}
	g.flow.credit += n
	g.mu.Unlock()
	return g.tell(nothing)
}

// credit is how much the peer has, and how many messages it has used some for that were not taken yet.
func (g *gate) credit() (left, used int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	used = len(g.arrived)
	if g.partial != nil {
		used++
	}
	return g.flow.credit, used
}

// ask asks the peer whether it has sent all there is; the answer comes on answers. It asks nothing where the peer has no credit.
// over says that it has more than it should have.
func (g *gate) ask(how question, over bool) (asked bool, err error) {
	g.mu.Lock()
	f := &g.flow
	if f.credit == 0 || f.asked != nothing || how == echo && !f.vary(over) {
		g.mu.Unlock()
		return false, nil
	}
	f.asked, f.left, f.spoke, f.limit = how, 0, false, f.count+uint32(f.credit)
	select {
	case <-f.reply: // one that nobody waited for any more
	default:
	}
	g.mu.Unlock()
	return true, g.tell(how)
}

// vary changes the credit by one, so that no answer to something else looks like that to the next question: up, and down where it
// is more than it should be. So a peer that is asked for days has one too many, and not credit without end. It is false where the
// credit would have to end: what is on its way comes first.
func (f *flow) vary(over bool) bool {
	switch {
	case !over:
		f.credit++
	case f.credit > 1:
		f.credit--
	default:
		return false
	}
	return true
}

// forgetAsking goes on without an answer, and tells whether the peer has said anything.
func (g *gate) forgetAsking() (spoke bool, err error) {
	g.mu.Lock()
	spoke = g.flow.spoke
	drained := g.flow.asked == drain
	g.flow.asked = nothing
	g.mu.Unlock()
	if drained {
		err = g.tell(nothing)
	}
	return spoke, err
}

// spoke tells whether the peer has said anything about the link since it was asked.
func (g *gate) spoke() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flow.spoke
}

// answers has, after ask, whether all is sent; false: there may be more.
func (g *gate) answers() <-chan bool { return g.flow.reply }

// tellWithin is how long it may take to write a frame.
const tellWithin = 10 * time.Second

// The windows of the session, as the library says them at its beginning: the peer's is told again before it is used up, so that it is
// never in the way of the credit; ours is of no use to who sends nothing. The link is the first of the session, and the session the
// first of the connection.
const (
	window  = 5000
	handle  = 0
	channel = 0
)

// tell tells the peer how the flow stands, and asks.
func (g *gate) tell(how question) error {
	g.writing.Lock() // first, so that what is written last is the newest
	defer g.writing.Unlock()
	g.mu.Lock()
	frame := g.flow.frame(how)
	g.mu.Unlock()
	if err := g.SetWriteDeadline(time.Now().Add(tellWithin)); err != nil {
		return err
	}
	_, err := g.Conn.Write(frame)
	return err
}

// frame is a frame with a flow.
func (f *flow) frame(how question) []byte {
	var fields []byte
	for _, n := range []uint32{f.incoming, window, 0, window} {
		fields = appendNumber(fields, n)
	}
	count := byte(4)
	if how != windows {
		for _, n := range []uint32{handle, f.count, uint32(f.credit)} {
			fields = appendNumber(fields, n)
		}
		fields = append(fields, isNull) // what is available we can't know
		fields = appendTruth(appendTruth(fields, how == drain), how == echo)
		count = 10
	}
	b := append(beginFrame(isFlow, channel), isList8, byte(len(fields)+1), count)
	return endFrame(append(b, fields...))
}
