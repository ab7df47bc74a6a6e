package amqp1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/Azure/go-amqp"
	"pgregory.net/rapid"
)

// tape is a connection from which comes what was recorded.
type tape struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *tape) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *tape) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }
func (c *tape) Close() error                     { return nil }
func (c *tape) flows() int                       { return bytes.Count(c.out.Bytes(), []byte{0, 0x53, isFlow}) }
func gateOver(frames ...[]byte) (*gate, *tape) {
	c := &tape{in: bytes.NewReader(bytes.Join(frames, nil))}
	return newGate(c, 1<<20, 1<<20), c
}

func TestGatePassesWhatIsNoMessage(t *testing.T) {
	frames := [][]byte{
		[]byte("AMQP\x03\x01\x00\x00"), framed(1, 0x40, "", sym("PLAIN")), framed(1, 0x44, "", u8(0)),
		[]byte("AMQP\x00\x01\x00\x00"),
		framed(0, 0x10, "", str("peer")), {0, 0, 0, 8, 2, 0, 0, 0}, framed(0, isBegin, "", []byte{0x60, 0, 0}, u32(7), u32(1)),
		framed(0, 0x16, "", u32(0), yes), framed(0, 0x18, ""),
	}
	g, _ := gateOver(frames...)
	got, err := io.ReadAll(g)
	if want := bytes.Join(frames, nil); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
	if g.flow.incoming != 7 || !errors.Is(g.failed(), io.EOF) {
		t.Errorf("the session begins at %d; it ended with %v", g.flow.incoming, g.failed())
	}
}

// What the library gets in place of a message is one, and what came is kept as it came, however it was cut into frames.
func TestGateKeepsMessages(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var frames [][]byte
		var want []string
		incoming := uint32(0)
		for id := range uint32(rapid.IntRange(1, 5).Draw(rt, "messages")) {
			payload := rapid.StringN(0, 50, -1).Draw(rt, "payload")
			aborted := rapid.IntRange(0, 4).Draw(rt, "aborted") == 0
			rest := payload
			for {
				n := rapid.IntRange(0, len(rest)).Draw(rt, "cut")
				last := n == len(rest)
				incoming++
				if last && aborted {
					frames = append(frames, framed(
						0, isTransfer, rest, u32(0), u32(id), bin(string(be32(int(id)))), u32(0), no, no, null, null, no, yes))
				} else {
					frames = append(frames, part(id, rest[:n], !last, false))
				}
				rest = rest[n:]
				if last {
					break
				}
			}
			if !aborted {
				want = append(want, payload)
			}
		}
		g, _ := gateOver(frames...)
		if err := g.give(10); err != nil {
			rt.Fatal(err)
		}
		passed, err := io.ReadAll(g)
		if err != nil {
			rt.Fatal(err)
		}
		if n := bytes.Count(passed, []byte{0, 0x53, isTransfer}); n != len(want) || n != bytes.Count(passed, []byte(emptyMessage)) {
			rt.Fatalf("%d messages for %d deliveries", n, len(want))
		}
		for _, w := range want {
			if p := g.take(); p == nil || string(p.payload) != w || p.size != len(w) || p.tooLarge || p.settled {
				rt.Fatalf("%+v, want %q", p, w)
			}
		}
		if g.take() != nil || g.flow.incoming != incoming || g.flow.credit != 10-len(want) || g.flow.count != uint32(len(want)) {
			rt.Fatalf("there is more, or it was counted as %+v", g.flow)
		}
	})
}

func TestEmptyMessageIsOne(t *testing.T) {
	m := new(amqp.Message)
	if err := m.UnmarshalBinary([]byte(emptyMessage)); err != nil || len(m.Data) != 1 || len(m.Data[0]) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestGateAsks(t *testing.T) {
	flow := func(count, credit uint32, available, drained, echoed []byte) []byte {
		return framed(0, isFlow, "", u32(0), u32(1), u32(0), u32(1), u32(0), u32(count), u32(credit), available, drained, echoed)
	}
	one := part(0, data("x"), false, false)
	for _, tc := range []struct {
		name     string
		how      question
		frames   [][]byte
		answered bool
		all      bool
		credit   int
	}{
		{"no answer", echo, nil, false, false, 11},
		{"it has credit left", echo, [][]byte{flow(0, 11, null, no, no)}, true, true, 11},
		{"and nothing is there", echo, [][]byte{one, flow(1, 10, u32(0), no, no)}, true, true, 10},
		{"and more is there", echo, [][]byte{flow(0, 11, u32(3), no, no)}, true, false, 11},
		{"it speaks of something else", echo, [][]byte{flow(0, 10, u32(0), no, no)}, false, false, 11},
		{"it asks, too", echo, [][]byte{flow(0, 11, null, no, yes)}, true, true, 11},
		{"given back", drain, [][]byte{one, flow(1, 9, null, yes, no), flow(10, 0, null, yes, no)}, true, true, 0},
		{"used up", drain, [][]byte{
			one, one, one, one, one, one, one, one, one, one, flow(10, 0, null, yes, no)}, true, false, 0},
		{"not yet", drain, [][]byte{one, flow(1, 9, null, yes, no)}, false, false, 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g, c := gateOver(tc.frames...)
			if asked, err := g.ask(tc.how, false); asked || err != nil {
				t.Errorf("asked without credit: %t, %v", asked, err)
			}
			if err := g.give(10); err != nil {
				t.Fatal(err)
			}
			if asked, err := g.ask(tc.how, false); !asked || err != nil {
				t.Fatal(err)
			}
			if asked, _ := g.ask(tc.how, false); asked {
				t.Error("asked twice at once")
			}
			if passed, err := io.ReadAll(g); err != nil || bytes.Contains(passed, []byte{0x53, isFlow}) {
				t.Errorf("passed %q, %v", passed, err)
			}
			select {
			case all := <-g.answers():
				if !tc.answered || all != tc.all {
					t.Errorf("the answer is %t", all)
				}
			default:
				if tc.answered {
					t.Error("there is no answer")
				}
			}
			if credit, _ := g.credit(); credit != tc.credit {
				t.Errorf("the credit is %d, want %d", credit, tc.credit)
			}
			if want := 2 + strings.Count(tc.name, "asks, too"); c.flows() != want {
				t.Errorf("%d flows were written, want %d", c.flows(), want)
			}
			spoke, err := g.forgetAsking()
			if err != nil || spoke != (len(tc.frames) > 0 && tc.name != "no answer") {
				t.Errorf("it spoke: %t, %v", spoke, err)
			}
		})
	}
}

// However often a peer is asked, while it uses its credit or has nothing to send: each question is another one than what it was told
// before, and none of them is credit that stays.
func TestAskingGivesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const want = 3
		g, _ := gateOver(bytes.Repeat(part(0, data("x"), false, false), 200))
		held := 0
		for range rapid.IntRange(1, 50).Draw(rt, "steps") {
			credit, _ := g.credit()
			switch n := want - credit - held; rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				if n > 0 {
					if err := g.give(n); err != nil {
						rt.Fatal(err)
					}
				}
			case 1:
				if credit > 0 {
					if _, err := g.next(); err != nil || g.take() == nil {
						rt.Fatal("no message")
					}
					held++
				}
			case 2:
				held = 0
			default:
				before := g.flow.count + uint32(g.flow.credit)
				asked, err := g.ask(echo, n < 0)
				if err != nil || asked && g.flow.limit == before || !asked && credit > 0 && n >= 0 {
					rt.Fatalf("asked: %t, %v", asked, err)
				}
				if _, err := g.forgetAsking(); err != nil {
					rt.Fatal(err)
				}
			}
			if credit, _ := g.credit(); credit+held > want+1 {
				rt.Fatalf("the credit is %d, and %d are held", credit, held)
			}
		}
	})
}

// The frame of a flow is one that the other side reads.
func TestFlowFrame(t *testing.T) {
	f := flow{incoming: 5, count: 1<<32 - 1, credit: 300}
	for _, how := range []question{nothing, echo, drain, windows} {
		frame := f.frame(how)
		var got []uint32
		var drains, echoes bool
		n, err := readList(frame[11:], func(i int, v []byte) {
			if x, known := number(v); known {
				got = append(got, x)
			}
			drains, echoes = drains || i == 8 && isTrue(v), echoes || i == 9 && isTrue(v)
		})
		want := []uint32{5, window, 0, window, handle, 1<<32 - 1, 300}
		if how == windows {
			want = want[:4]
		}
		if err != nil || n != len(frame)-11 || int(frame[3]) != len(frame) || drains != (how == drain) || echoes != (how == echo) || len(got) != len(want) {
			t.Fatalf("%x: %v, %v", frame, got, err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("field %d is %d, want %d", i, got[i], want[i])
			}
		}
	}
}

// Whatever comes, it is bounded, nothing panics, and what passes is made of whole frames.
func FuzzGate(f *testing.F) {
	f.Add(bytes.Join([][]byte{
		[]byte("AMQP\x00\x01\x00\x00"), framed(0, isAttach, "", str("l"), u32(0), no, null, null, null, null, null, null, u32(3)),
		part(0, data("x"), true, false), part(0, "y", false, false), framed(0, isFlow, "", u32(0), u32(1), u32(0), u32(1), u32(0), u32(9)),
	}, nil))
	f.Add(framed(0, isTransfer, "", described(1, described(2, list()))))
	f.Add([]byte{0, 0, 0, 13, 2, 0, 0, 0, 0, 0x53, 0x14, 0xd0, 0xff})
	f.Fuzz(func(t *testing.T, stream []byte) {
		g, _ := gateOver(stream)
		if err := g.give(3); err != nil {
			t.Fatal(err)
		}
		passed, err := io.ReadAll(g)
		if err == nil && g.failed() == nil {
			t.Fatal("it does not end")
		}
		if len(passed) > 2*len(stream) { // with numbers written in full
			t.Fatalf("%d bytes became %d", len(stream), len(passed))
		}
		kept := 0
		for p := g.take(); p != nil; p = g.take() {
			kept += len(p.payload)
			_, _ = open(p, 1<<20, "a")
		}
		if kept > len(stream) {
			t.Fatalf("%d bytes came, and %d were kept", len(stream), kept)
		}
	})
}

// Whatever a message is, it makes a raw event that any server takes, or is rejected with a reason.
func FuzzBody(f *testing.F) {
	for _, payload := range []string{
		data("x"), text("x"), data("x") + data("y"), string(described(0x77, list(u32(1)))), string(described(0x76, list(str("a")))), "",
		string(described(0x70, list(yes, u8(4)))) + data("x"), string(described(0x73, list(str("id")))) + text("\xff"),
		string(described(0x77, null)), string(described(0x77, bin("x"))),
	} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		kept := bytes.Clone(payload)
		raw, no := open(&parcel{payload: payload, size: len(payload)}, 1<<20, "address")
		if !bytes.Equal(kept, payload) {
			t.Fatal("the message was changed")
		}
		if no != nil {
			if no.reason == "" || no.condition == "" || no.text == "" {
				t.Fatalf("%+v", no)
			}
			return
		}
		if len(raw.Body) == 0 || raw.Header["Evt-Address"] != "address" || raw.Format != "" && raw.Format != Format {
			t.Fatalf("%+v", raw)
		}
	})
}
