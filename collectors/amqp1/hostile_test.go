package amqp1

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	amqp "github.com/Azure/go-amqp"

	"stackstream/event"
)

func be32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

// array32 is an array that says what it is told to say.
func array32(size, n int, code byte, elements []byte) []byte {
	return slices.Concat([]byte{isArray32}, be32(size), be32(n), []byte{code}, elements)
}

func list32(n int, values []byte) []byte {
	return slices.Concat([]byte{isList32}, be32(4+len(values)), be32(n), values)
}

// hidden is an array of nothing whose size says that it is all that follows; who goes by its count finds there a value that has no end.
func hidden(depth int) []byte {
	behind := slices.Concat([]byte{0, 0x53, 0x77}, bytes.Repeat([]byte{0}, depth), null)
	return described(0x77, array32(5+len(behind), 0, 0x51, behind))
}

// mapsInArrays are maps in arrays in maps, and so on.
func mapsInArrays(depth int) []byte {
	rest := append(bytes.Repeat([]byte{isArray8, 2, 1, isMap8, 3, 2, 0x40}, depth), 0x40)
	return described(0x77, array32(5+3+len(rest), 1, isMap8, slices.Concat([]byte{3, 2, 0x40}, rest)))
}

// promises are arrays of numbers that take no bytes, each in ten; exact says so, and otherwise they say that they have what follows.
func promises(n int, exact bool) []byte {
	size := 5 + 1<<16 - 1
	if exact {
		size = 5
	}
	return bytes.Repeat(array32(size, 1<<16, 0x44, nil), n)
}

// A message whose values are nested so deep that to decode them would use up a goroutine's stack, which ends a process, is one bad
// message, however that is hidden: those before and behind it are taken.
func TestAMessageNestedWithoutEndIsRejected(t *testing.T) {
	for name, payload := range map[string][]byte{
		"as it is":    described(0x77, append(bytes.Repeat([]byte{0}, 900_000), 0x40)),
		"in an array": hidden(900_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer := newPeer(t, func(l *peerLink) {
				l.send(data(notified("before")))
				if !l.await(func() bool { return l.credit > l.sent }) {
					return
				}
				for rest := range slices.Chunk(payload, 100_000) {
					l.write(part(l.sent, string(rest), true, false))
				}
				l.write(part(l.sent, "", false, false))
				l.sent++
				l.send(data(notified("after")))
			})
			r := newRig(t, config(peer.addr(), "a"))
			stop := r.run()
			defer stop()
			r.eventually("all of them", func() bool { return len(r.log.IDs(cloud)) == 2 })
			r.eventually("the other to be rejected", func() bool { return r.told().rejected[reasonUndecodable] == 1 })
		})
	}
}

// What is in a message, and how often it says that it is there, takes no memory: little more than the message itself.
func TestMemoryOfMessages(t *testing.T) {
	nulls := slices.Concat([]byte{isList8, 254, 253}, bytes.Repeat(null, 253))
	var entries []byte
	for i := range byte(84) {
		entries = append(entries, 0x50, i, 0x40)
	}
	entries = slices.Concat([]byte{isMap8, byte(len(entries) + 1), 168}, entries)
	one := []byte{isMap8, 4, 2, 0x50, 1, 0x40}
	pad := data(strings.Repeat("@", 66_000))
	names := bytes.Repeat([]byte("\xa1\x04name\x40"), 30_000)
	application := described(0x74, slices.Concat([]byte{isMap32}, be32(4+len(names)), be32(60_000), names))
	for name, c := range map[string]struct {
		payload []byte
		taken   bool
	}{
		"numbers without bytes":      {described(0x77, list32(2000, promises(2000, true))), true},
		"numbers that are not there": {append(described(0x77, list32(2000, promises(2000, false))), pad...), false},
		"lists of null":              {described(0x77, list32(10_000, bytes.Repeat(nulls, 10_000))), true},
		"maps":                       {described(0x77, list32(10_000, bytes.Repeat(entries, 10_000))), true},
		"maps of one":                {described(0x77, list32(65_000, bytes.Repeat(one, 65_000))), true},
		"described null":             {described(0x77, list32(65_000, bytes.Repeat([]byte{0, 0x40, 0x40}, 65_000))), true},
		"sections of a byte":         {bytes.Repeat([]byte(data("x")), 100_000), true},
		"empty sections":             {append(bytes.Repeat([]byte(emptyMessage), 100_000), data("x")...), true},
		"application properties":     {append(application, data("x")...), true},
		"annotations":                {described(0x72, slices.Concat([]byte{isMap8, 13, 2}, sym("a"), promises(1, true)[:9])), false},
		"deeper than that":           {hidden(900_000), false},
		"maps in arrays in maps":     {mapsInArrays(2_000_000), false},
		"arrays in arrays":           {described(0x77, bytes.Repeat([]byte{isArray8, 0xff, 1}, 300_000)), false},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		raw, no := open(&parcel{payload: c.payload, size: len(c.payload)}, 1<<30, "a")
		runtime.ReadMemStats(&after)
		if took := int(after.TotalAlloc - before.TotalAlloc); took > len(c.payload)+256<<10 {
			t.Errorf("%s: a message of %d bytes takes %d", name, len(c.payload), took)
		}
		if (no == nil) != c.taken || no != nil && no.reason != reasonUndecodable {
			t.Errorf("%s: %+v", name, no)
		}
		if c.taken && len(raw.Body) == 0 {
			t.Errorf("%s has no body", name)
		}
	}
}

// refusals are performatives that the library must not get.
func refusals() map[string]struct {
	frame []byte
	want  string
} {
	info := func(v []byte) []byte {
		pairs := slices.Concat(sym("a"), v, sym("pad"), bin(strings.Repeat("@", 70_000)))
		m := slices.Concat([]byte{isMap32}, be32(4+len(pairs)), be32(4), pairs)
		return framed(0, 0x16, "", u32(0), yes, described(0x1d, list(sym("amqp:internal-error"), str("x"), m)))
	}
	open := func(values ...[]byte) []byte { return framed(0, isOpen, "", values...) }
	extended := framed(0, 0x18, "")
	extended[4] = 1
	large := slices.Clone(extended)
	large[4] = 200
	return map[string]struct {
		frame []byte
		want  string
	}{
		"numbers that are not there": {info(list32(1000, promises(1000, false))), "malformed"},
		"numbers without bytes":      {info(list32(1000, promises(1000, true))), "no bytes"},
		"hidden values":              {info(hidden(100)[3:]), "malformed"},
		"values without end":         {info(append(bytes.Repeat([]byte{0}, 100), 0x40)), "deeper"},
		"lists in lists":             {info(nested(100)), "deeper"},
		"a key with values":          {info([]byte{isMap8, 8, 2, 0, 0x53, 1, isList8, 1, 0, 0x40}), "key"},
		"a list for a key":           {info([]byte{isMap8, 3, 2, isList0, 0x40}), "key"},
		"many values":                {info(list32(50_000, bytes.Repeat(null, 50_000))), "more values"},
		"a large array":              {info(array32(5+50_000, 50_000, 0x53, make([]byte, 50_000))), "more values"},
		"a list with less in it":     {open(str("a"), []byte{isMap8, 3, 1, 0x40, 0x40}), "malformed"},
		"many values in a flow":      {framed(0, isFlow, "", null, u32(1), u32(1), u32(1), list32(300, bytes.Repeat(null, 300))), "more values"},
		"a long tag":                 {framed(0, isTransfer, data("x"), u32(0), u32(1), bin(strings.Repeat("t", maxTag+1)), u32(0)), "a tag of 33"},
		"no tag":                     {framed(0, isTransfer, data("x"), u32(0), u32(1), null, u32(0)), "without its number"},
		"a tag that is none":         {framed(0, isTransfer, data("x"), u32(0), u32(1), str("t"), u32(0)), "malformed"},
		"another delivery in one":    {append(part(1, "x", true, false), part(2, "y", false, false)...), "in the middle"},
		"a mechanism in no login":    {framed(0, 0x40, "", sym("PLAIN")), "malformed"},
		"a message in a login":       {framed(1, isTransfer, string(hidden(9)), u32(0), u32(1)), "malformed"},
		"a message in neither":       {framed(7, isTransfer, string(hidden(9)), u32(0), u32(1)), "malformed"},
		"mechanisms without bytes":   {framed(1, 0x40, "", promises(1, true)), "no bytes"},
		"a body in the header":       {extended, "malformed"},
		"a body behind the frame":    {large, "malformed"},
		"what is none":               {[]byte{0, 0, 0, 11, 2, 0, 0, 0, 0, 0x80, 0x10}, "malformed"},
		"a protocol between frames":  {[]byte(headerSASL + headerSASL), "a frame of"},
	}
}

// nested are lists in lists, each with the right size.
func nested(depth int) []byte {
	v := null
	for range depth {
		v = list(v)
	}
	return v
}

// What a peer says besides messages could take more memory than there is, or end the process, as well: it ends the connection, and
// does not reach the library.
func TestGateRefuses(t *testing.T) {
	for name, c := range refusals() {
		g, _ := gateOver([]byte(headerSASL), c.frame)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		passed, err := io.ReadAll(g)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(passed) > len(headerSASL) {
			t.Errorf("%s: %q passes, %v", name, passed, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("%s takes %d bytes", name, took)
		}
		if kind, text := meaning(err); kind != event.Unavailable || !strings.HasPrefix(text, "the peer ") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// The header of a protocol begins the login and what follows it, and comes at no other time, whatever is said before.
func TestGateTakesHeadersWhereTheyBelong(t *testing.T) {
	outcome, open := framed(1, isOutcome, "", u8(0)), framed(0, isOpen, "", str("peer"))
	login := slices.Concat([]byte(headerSASL), outcome, []byte(headerPlain), open)
	for name, more := range map[string][]byte{
		"another login":  slices.Concat(outcome, []byte(headerSASL)),
		"a header alone": []byte(headerSASL),
	} {
		g, _ := gateOver(login, more)
		if passed, err := io.ReadAll(g); !bytes.Equal(passed, login) || err == nil {
			t.Errorf("%s: %q passes, %v", name, passed, err)
		}
	}
}

// A peer that does not read, and sends what begins or ends something, fills no line of the library's.
func TestGateTakesAsManyFramesAsALinkHas(t *testing.T) {
	attach := framed(0, isAttach, "", str("l"), u32(0), no)
	g, _ := gateOver(bytes.Repeat(attach, 2*mostOthers))
	passed, err := io.ReadAll(g)
	if len(passed) != mostOthers*len(attach) || err == nil || !strings.Contains(err.Error(), "than one link has") {
		t.Errorf("%d bytes pass, %v", len(passed), err)
	}
	g, _ = gateOver(bytes.Repeat(framed(0, isDisposition, "", no, u32(0)), 2*mostOthers))
	if passed, err := io.ReadAll(g); err != nil || len(passed) > 0 {
		t.Errorf("%q passes, %v", passed, err)
	}
}

// What stands between the header of a frame and its body is not for the library, which takes it for the body.
func TestGateTakesOutWhatIsBetween(t *testing.T) {
	want := framed(0, isOpen, "", str("peer"))
	frame := slices.Concat(want[:8], hidden(1)[:8], want[8:])
	frame[4] = 4
	binary.BigEndian.PutUint32(frame, uint32(len(frame)))
	beat := slices.Concat([]byte{0, 0, 0, 12, 3, 0, 0, 0}, want[:4])
	g, _ := gateOver(frame, beat, want)
	got, err := io.ReadAll(g)
	if expected := slices.Concat(want, []byte{0, 0, 0, 8, 2, 0, 0, 0}, want); err != nil || !bytes.Equal(got, expected) {
		t.Errorf("%x, %v, want %x", got, err, expected)
	}
}

// A frame with as many values as may be in one takes the library a few megabytes, whatever they are.
func TestMemoryOfFrames(t *testing.T) {
	entry := []byte{isMap8, 5, 2, isString8, 1, 'a', 0x40}
	broken := described(0x1d, []byte{isList8, 3, 1, isSymbol8, 0})
	for name, v := range map[string][]byte{
		"null":           list32(4000, bytes.Repeat(null, 4000)),
		"maps of one":    list32(1300, bytes.Repeat(entry, 1300)),
		"arrays of maps": list32(1000, bytes.Repeat(array32(11, 1, isMap8, entry[1:]), 1000)),
		"errors":         list32(800, bytes.Repeat(broken, 800)),
		"described":      list32(1300, bytes.Repeat([]byte{0, 0x40, 0x40}, 1300)),
		"symbols":        array32(5+2*4000, 4000, isSymbol8, bytes.Repeat([]byte{1, 'a'}, 4000)),
		"lists in lists": nested(maxDepth - 2),
		"long text":      str(strings.Repeat("x", 120_000)),
	} {
		message := described(0x77, v)
		if err := new(gate).checkValues(isOpen, message); err != nil || len(message) > frameSize {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m := new(amqp.Message)
		err := m.UnmarshalBinary(message)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err != nil || took > 4<<20 {
			t.Errorf("%s takes %d bytes, %v", name, took, err)
		}
	}
}

// A peer that sends such a thing loses the connection and no more than that.
func TestPeerThatDoesHarm(t *testing.T) {
	t.Parallel()
	harm := []string{"numbers without bytes", "a key with values"}
	var links atomic.Int32
	peer := newPeer(t, func(l *peerLink) {
		n := int(links.Add(1))
		if n > len(harm) {
			l.send(data(notified("after")))
			return
		}
		l.send(data(notified(fmt.Sprintf("before-%d", n))))
		l.await(func() bool { return len(l.outcomes) == 1 })
		l.write(refusals()[harm[n-1]].frame)
	})
	r := newRig(t, config(peer.addr(), "a"))
	stop := r.run()
	defer stop()
	r.wantIDs([]string{"before-1", "before-2", "after"})
}

// How long arrays and lists are is what their values take, in each of the ways to write them.
func TestWalk(t *testing.T) {
	kept, passed := walker{values: 1 << 20, kept: true}, walker{values: 1 << 20}
	for name, c := range map[string]struct {
		value string
		ok    bool
	}{
		"null":                         {"\x40", true},
		"no such type":                 {"\x46", false},
		"nothing":                      {"", false},
		"text":                         {"\xa1\x01a", true},
		"text that is cut off":         {"\xa1\x02a", false},
		"size that is cut off":         {"\xb1\x00\x00", false},
		"described":                    {"\x00\xa3\x01a\x40", true},
		"described by nothing":         {"\x00\xa3\x01a", false},
		"empty list":                   {"\xc0\x01\x00", true},
		"empty list with bytes":        {"\xc0\x02\x00\x40", false},
		"list without count":           {"\xc0\x00", false},
		"list":                         {"\xc0\x03\x02\x40\x43", true},
		"list of more":                 {"\xc0\x03\x03\x40\x43", false},
		"list whose value is longer":   {"\xc0\x03\x01\xa1\x01a", false},
		"list in a shorter list":       {"\xc0\x04\x01\xc0\x02\x01\x40", false},
		"list in a list":               {"\xc0\x05\x01\xc0\x02\x01\x40", true},
		"map":                          {"\xc1\x04\x02\xa1\x00\x40", true},
		"half a map":                   {"\xc1\x03\x01\xa1\x00", false},
		"array of bytes":               {"\xe0\x04\x02\x50\x01\x02", true},
		"array of more bytes":          {"\xe0\x04\x03\x50\x01\x02", false},
		"array of fewer":               {"\xe0\x04\x01\x50\x01\x02", false},
		"array of text":                {"\xe0\x05\x02\xa1\x00\x01a", true},
		"array of text that is longer": {"\xe0\x05\x02\xa1\x01a\x01", false},
		"array of lists":               {"\xe0\x06\x02\xc0\x01\x00\x01\x00", true},
		"array of arrays":              {"\xe0\x06\x01\xe0\x03\x01\x50\x07", true},
		"array of described":           {"\xe0\x06\x01\x00\x53\x07\x50\x01", true},
		"array of what is not said":    {"\xe0\x01\x00", false},
		"array of no such type":        {"\xe0\x02\x00\x46", false},
		"empty array":                  {"\xe0\x02\x00\xa3", true},
		"empty array of null":          {"\xe0\x02\x00\x40", true},
		"a long array":                 {"\xf0\x00\x00\x00\x07\x00\x00\x00\x01\x60\x01\x02", true},
	} {
		end, err := passed.walk([]byte(c.value), 0)
		if (err == nil) != c.ok || c.ok && end != len(c.value) {
			t.Errorf("%s: %d, %v", name, end, err)
		}
		if again, err := kept.walk([]byte(c.value+"\x40"), 0); c.ok && (err != nil || again != end) {
			t.Errorf("%s with something behind it: %d, %v", name, again, err)
		}
	}
	if _, err := passed.walk(promises(1, true), 0); !errors.Is(err, errThin) {
		t.Errorf("numbers without bytes: %v", err)
	}
	if _, err := kept.walk(promises(1, true), 0); err != nil {
		t.Errorf("numbers without bytes: %v", err)
	}
}
