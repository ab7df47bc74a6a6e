package amqp1

import (
	"strings"
	"testing"
)

// A message whose values are nested so deep that to decode them would use up a goroutine's stack, which ends a process, is one bad
// message: those before and behind it are taken.
func TestAMessageNestedWithoutEndIsRejected(t *testing.T) {
	peer := newPeer(t, func(l *peerLink) {
		l.send(data(notified("before")))
		if !l.await(func() bool { return l.credit > l.sent }) {
			return
		}
		l.write(part(l.sent, "\x00\x53\x77"+strings.Repeat("\x00", 100_000), true, false))
		for range 8 {
			l.write(part(l.sent, strings.Repeat("\x00", 100_000), true, false))
		}
		l.write(part(l.sent, "\x40", false, false))
		l.sent++
		l.send(data(notified("after")))
	})
	r := newRig(t, config(peer.addr(), "a"))
	stop := r.run()
	defer stop()
	r.eventually("all of them", func() bool { return len(r.log.IDs(cloud)) == 2 })
}

func TestTooDeep(t *testing.T) {
	for name, c := range map[string]struct {
		b    string
		deep bool
	}{
		"described by described": {"\x00\x53\x77" + strings.Repeat("\x00", 100), true},
		"values of described":    {"\x00\x53\x77" + strings.Repeat("\x00\x53\x01", 100), true},
		"bytes of an array":      {"\x00\x53\x77\xe0\xca\xc8\x50" + strings.Repeat("\x00", 200), false},
		"lists in lists":         {"\x00\x53\x77" + strings.Repeat("\xd0\x00\xff\xff\xff\x00\x00\x00\x01", 100), true},
		"binary":                 {data(strings.Repeat("\x00", 1000)), false},
		"sections":               {strings.Repeat(data("x"), 1000), false},
	} {
		if tooDeep([]byte(c.b)) != c.deep {
			t.Errorf("%s: %v", name, !c.deep)
		}
	}
}
