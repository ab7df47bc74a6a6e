package amqp1

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// The ways in which a peer may end a link, each of which is survived: what was not settled comes again, and once.
func TestWaysToEnd(t *testing.T) {
	t.Parallel()
	gone := failure("amqp:link:detach-forced", "a test does it")
	for name, end := range map[string]func(l *peerLink){
		"detach with an error":       func(l *peerLink) { l.write(framed(0, 0x16, "", u32(0), yes, gone)) },
		"detach without an error":    func(l *peerLink) { l.write(framed(0, 0x16, "", u32(0), yes)) },
		"detach that is no close":    func(l *peerLink) { l.write(framed(0, 0x16, "", u32(0), no)) },
		"end of the session":         func(l *peerLink) { l.write(framed(0, 0x17, "", gone)) },
		"end without an error":       func(l *peerLink) { l.write(framed(0, 0x17, "")) },
		"close of the connection":    func(l *peerLink) { l.write(framed(0, 0x18, "", gone)) },
		"close without an error":     func(l *peerLink) { l.write(framed(0, 0x18, "")) },
		"hanging up":                 func(l *peerLink) { l.conn.Close() },
		"a message half, and no end": func(l *peerLink) { l.write(part(l.sent, "\x00\x53", true, false)); l.conn.Close() },
		"a frame half":               func(l *peerLink) { l.write([]byte{0, 0, 1, 0, 2, 0}); l.conn.Close() },
		"a frame too small":          func(l *peerLink) { l.write([]byte{0, 0, 0, 7, 2, 0, 0, 0}) },
		"a huge frame":               func(l *peerLink) { l.write([]byte{0x7f, 0xff, 0xff, 0xff, 2, 0, 0, 0}) },
		"a frame of nonsense":        func(l *peerLink) { l.write([]byte{0, 0, 0, 12, 2, 0, 0, 0, 1, 2, 3, 4}) },
		"an unknown performative":    func(l *peerLink) { l.write(framed(0, 0x99, "")) },
		"a malformed transfer":       func(l *peerLink) { l.write(append([]byte{0, 0, 0, 13, 2, 0, 0, 0}, 0, 0x53, 0x14, 0xc0, 9)) },
		"a transfer of nobody's link": func(l *peerLink) {
			l.write(framed(0, isTransfer, data("x"), u32(7), u32(9), bin("t"), u32(0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var links atomic.Int32
			peer := newPeer(t, func(l *peerLink) {
				first := 1
				if links.Add(1) > 1 {
					first = 3 // the two before were accepted
				}
				for i := first; i <= 4; i++ {
					if !l.send(data(notified(fmt.Sprintf("e-%d", i)))) {
						return
					}
				}
				if first == 1 {
					l.await(func() bool { return len(l.outcomes) >= 4 })
					end(l)
				}
			})
			r := newRig(t, config(peer.addr(), "a"))
			stop := r.run()
			defer stop()
			r.eventually("a second link", func() bool { return links.Load() >= 2 })
			r.wantIDs([]string{"e-1", "e-2", "e-3", "e-4"})
			r.eventually("the second link to be live", func() bool { return r.status().State == event.StateLive && r.told().up == 1 })
		})
	}
}

// What can't be taken is rejected with a reason, and the messages around it are taken.
func TestWhatIsRejected(t *testing.T) {
	t.Parallel()
	const limit = 8 << 10
	type sent struct {
		name, payload, condition string
	}
	large := strings.Repeat("x", 3000)
	cases := []sent{
		{"nonsense", "nonsense", "amqp:decode-error"},
		{"nothing", "", "amqp:invalid-field"},
		{"no body", string(described(0x73, list(str("id")))), "amqp:invalid-field"},
		{"null", string(described(0x77, null)), "amqp:invalid-field"},
		{"empty data", data(""), "amqp:invalid-field"},
		{"empty text", text(""), "amqp:invalid-field"},
		{"too large", data(strings.Repeat("x", limit)), "amqp:link:message-size-exceeded"},
		{"a section that says it is longer", string(described(0x75, []byte{0xb0, 0x7f, 0xff, 0xff, 0xff})), "amqp:decode-error"},
		{"nested without end", string(described(0x77, []byte(strings.Repeat("\x00\x53\x77", 2000)))), "amqp:decode-error"},
	}
	served := make(chan map[uint32]outcome, 1)
	peer := newPeer(t, func(l *peerLink) {
		for i, c := range cases {
			l.send(data(notified(fmt.Sprintf("before-%d", i))))
			l.send(c.payload)
		}
		// One that does not end: after the limit it is thrown away as it comes.
		if !l.await(func() bool { return l.credit > l.sent }) {
			return
		}
		for range 200 {
			l.write(part(l.sent, large, true, false))
		}
		l.write(part(l.sent, large, false, false))
		l.sent++
		l.send(data(notified("after")))
		l.await(func() bool { return len(l.outcomes) >= 2*len(cases)+2 })
		served <- l.settled()
	})
	cfg := config(peer.addr(), "a")
	cfg.MaxMessage = limit
	r := newRig(t, cfg)
	stop := r.run()
	defer stop()
	settled := <-served
	for i, c := range cases {
		if o := settled[uint32(2*i+1)]; o.state != rejected || o.text != c.condition || o.why == "" {
			t.Errorf("%s: it was settled with %+v, want %s", c.name, o, c.condition)
		}
		if o := settled[uint32(2*i)]; o.state != accepted {
			t.Errorf("before %s: %+v", c.name, o)
		}
	}
	if o := settled[uint32(2*len(cases))]; o.state != rejected || o.text != "amqp:link:message-size-exceeded" {
		t.Errorf("never ending: %+v", o)
	}
	var want []string
	for i := range cases {
		want = append(want, fmt.Sprintf("before-%d", i))
	}
	r.wantIDs(append(want, "after"))
	if told := r.told(); told.rejected[reasonTooLarge] != 2 || told.rejected[reasonEmpty] != 5 || told.rejected[reasonUndecodable] != 3 {
		t.Errorf("told was %+v", told)
	}
	if s := r.status(); s.State != event.StateDegraded || !strings.Contains(s.Reason, "messages from a were rejected: ") {
		t.Errorf("%+v", s)
	}
	st, err := readState(r.log.Cursor(cloud, Kind).Cursor)
	if err != nil || st.Rejected[reasonTooLarge] != 2 {
		t.Errorf("the cursor has %+v, %v", st, err)
	}
}

// What has another body than text or bytes is kept whole, for the dead letters.
func TestOtherBodiesAreKept(t *testing.T) {
	t.Parallel()
	payloads := []string{
		string(described(0x77, u32(7))), string(described(0x77, yes)), string(described(0x77, list(u32(1), str("a")))),
		string(described(0x76, list(str("a")))), string(described(0x77, append([]byte{0xd1, 0, 0, 0, 6, 0, 0, 0, 2}, 0x43, 0x43))),
	}
	peer := newPeer(t, func(l *peerLink) {
		for _, p := range payloads {
			l.send(p)
		}
	})
	r := newRig(t, config(peer.addr(), "a"))
	stop := r.run()
	defer stop()
	r.eventually("all of them", func() bool { return len(r.log.IDs(cloud)) == len(payloads) })
	for i, e := range r.log.Events(cloud) {
		if e.Format != Format || string(e.Body) != payloads[i] || !e.Hashed {
			t.Errorf("%d: %+v", i, e)
		}
	}
}

// A body may come in several sections and in many frames, as bytes or as text.
func TestBodies(t *testing.T) {
	t.Parallel()
	whole := notified("several")
	sections := data(whole[:20]) + data(whole[20:50]) + data(whole[50:])
	header := string(described(0x70, list(yes, u8(4), null, null, u32(2))))
	properties := string(described(0x73, list(str("of-the-message"), null, null, str("a subject"), null, null, sym("application/json"))))
	peer := newPeer(t, func(l *peerLink) {
		if !l.await(func() bool { return l.credit > 0 }) {
			return
		}
		for i := range len(sections) { // a byte in each frame
			l.write(part(0, sections[i:i+1], i < len(sections)-1, false))
		}
		l.sent++
		l.send(text(notified("text")))
		l.send(string(described(0x77, bin(notified("bytes")))))
		l.send(string(described(0x77, append([]byte{0xb3, 0, 0, 0, byte(len("{}"))}, "{}"...))))
		l.send(header + properties + data(`{"event_type": "a.b"}`))
	})
	r := newRig(t, config(peer.addr(), "a"))
	stop := r.run()
	defer stop()
	r.eventually("all of them", func() bool { return len(r.log.IDs(cloud)) == 5 })
	events := r.log.Events(cloud)
	if got := r.ids(); got[0] != "several" || string(events[0].Body) != whole || got[1] != "text" || got[2] != "bytes" ||
		string(events[3].Body) != "{}" || got[4] != "of-the-message" {
		t.Errorf("got %v", got)
	}
	if h := events[4].Header; h["Evt-Subject"] != "a subject" || h["Evt-Redelivered"] != "true" || events[4].ContentType != "application/json" {
		t.Errorf("%+v", events[4])
	}
}

// Messages that a peer sends settled are taken, and said to be at risk. One that never answers whether all is sent costs the
// watermark and nothing else.
func TestSettledBeforeAndMute(t *testing.T) {
	t.Parallel()
	peer := newPeer(t, func(l *peerLink) {
		for i := range 200 {
			if !l.await(func() bool { return l.credit > l.sent }) {
				return
			}
			l.write(part(l.sent, data(notified(fmt.Sprintf("e-%d", i))), false, true))
			l.mu.Lock()
			l.sent++
			l.mu.Unlock()
			if i == 100 && !l.await(func() bool { return l.drains > 0 }) {
				return
			}
		}
	})
	r := newRig(t, config(peer.addr(), "a"))
	stop := r.run()
	defer stop()
	r.eventually("200 events", func() bool { return len(r.log.IDs(cloud)) == 200 })
	r.eventually("both to be said", func() bool {
		s := r.status()
		return s.State == event.StateLive && strings.Contains(s.Reason, "come settled") && strings.Contains(s.Reason, "does not say whether all is sent")
	})
	if told := r.told(); told.presettled != 200 || told.held != 0 || told.lost != 0 {
		t.Errorf("%+v", told)
	}
}

// A peer that has answered before, in either way, and does not any more although it lives, is left.
func TestPeerThatFallsSilent(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(l *peerLink){
		"echo": func(l *peerLink) {
			for n := 1; n <= 2; n++ {
				l.await(func() bool { return l.echoes >= n })
				l.tells()
			}
		},
		"drain": func(l *peerLink) {
			l.await(func() bool { return l.drains > 0 })
			l.drained()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var links atomic.Int32
			peer := newPeer(t, func(l *peerLink) {
				if links.Add(1) > 1 {
					return
				}
				answer(l)
				for l.await(func() bool { return false }) {
				}
			})
			r := newRig(t, config(peer.addr(), "a"))
			r.limits.Heartbeat = 10 * time.Millisecond
			stop := r.run()
			defer stop()
			r.eventually("a watermark", func() bool { return !r.log.Cursor(cloud, Kind).Watermark.IsZero() })
			r.eventually("another link", func() bool { return links.Load() > 1 })
		})
	}
}

// A peer that has messages, and credit, and sends nothing would look like a quiet one for ever. It is left.
func TestPeerThatWithholds(t *testing.T) {
	t.Parallel()
	var links, answers atomic.Int32
	peer := newPeer(t, func(l *peerLink) {
		if links.Add(1) > 1 {
			l.send(data(notified("e-1")))
			return
		}
		for n := 1; l.await(func() bool { return l.echoes >= n }); n++ {
			answers.Add(1)
			l.mu.Lock()
			credit := l.credit
			l.mu.Unlock()
			l.write(framed(0, isFlow, "", u32(0), u32(100_000), u32(0), u32(100_000), u32(0), u32(0), u32(credit), u32(7), no))
		}
	})
	r := newRig(t, config(peer.addr(), "a"))
	stop := r.run()
	defer stop()
	r.wantIDs([]string{"e-1"})
	if n := answers.Load(); n != mostWithheld {
		t.Errorf("it was asked %d times", n)
	}
}

// What is on its way, waits in the library or waits to become durable counts against the credit. A question adds one.
func TestCredit(t *testing.T) {
	t.Parallel()
	const prefetch = 50
	links := make(chan *peerLink, 1)
	peer := newPeer(t, func(l *peerLink) {
		links <- l
		for i := 0; l.send(data(notified(fmt.Sprintf("e-%d", i)))); i++ {
			l.tells()
		}
	})
	cfg := config(peer.addr(), "a")
	cfg.Prefetch = prefetch
	r := newRig(t, cfg)
	opened := make(chan struct{})
	r.wrap = func(w collectors.Writer) collectors.Writer { return &heldWriter{w, opened} }
	stop := r.run()
	defer stop()
	l := <-links
	r.eventually("as many as may be held", func() bool { return r.told().held >= prefetch })
	l.mu.Lock()
	limit := l.credit
	l.mu.Unlock()
	if limit > prefetch+1 {
		t.Errorf("there was credit for %d", limit)
	}
	close(opened)
	r.eventually("many more", func() bool { return len(r.log.IDs(cloud)) > 20*prefetch })
}

// Whatever a peer sends within its credit, no more is held than there is room for, and nothing is lost by that.
func TestRoom(t *testing.T) {
	t.Parallel()
	const size, n = 60 << 10, 40
	peer := newPeer(t, func(l *peerLink) {
		for i := range n {
			l.send(data(notified(fmt.Sprintf("e-%d", i)) + strings.Repeat(" ", size)))
		}
	})
	cfg := config(peer.addr(), "a")
	cfg.PrefetchBytes = minPrefetchBytes
	r := newRig(t, cfg)
	stop := r.run()
	defer stop()
	r.eventually("all of them", func() bool { return len(r.log.IDs(cloud)) == n })
	if told := r.told(); told.most > cfg.PrefetchBytes+size+4<<10 {
		t.Errorf("%d bytes were held", told.most)
	}
}
