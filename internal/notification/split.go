package notification

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"stackstream/internal/jsonscan"
	"stackstream/internal/rawjson"
)

// Ceilometer's agent hands out events as the payload of a notification of its own, a list. Each event in it has an identity,
// and is collected by itself: it is numbered, filtered, known again and, should it be no event, a dead letter by itself.
//
// What is kept of each is the notification as it would have come with this event alone: everything before the list and
// behind it, and of the list what stands between two commas. So nothing is made up, and no byte is lost: the lists between
// the same beginning and end, joined by commas, are the notification that came. One with a single event, which is what agents
// send as a rule, is kept as it came.

// maxGrowth is how much longer than a notification all that it is taken apart into may be. Beyond that it is kept whole, for the
// converter to make its events: who sends a long notification with very many small events must not fill the memory by it.
const maxGrowth = 8 << 20

// Event is one event of a notification of Ceilometer's.
type Event struct {
	Notice // of the event, not of the notification
	// Number and Of say which of how many it is, from 1.
	Number, Of int
	// Body is the notification with this event alone.
	Body []byte
}

// Events takes a notification of Ceilometer's apart; nil if it is none. Of one that can't be taken apart there is one Event, the
// notification itself. Bodies may share memory with the notification.
func (r *Reader) Events(body []byte) []Event {
	whole, list := r.read(body)
	return eventsOf(body, whole, list)
}

// eventsOf is Events of a notification that was read.
func eventsOf(body []byte, whole Notice, list bool) []Event {
	if !list || !whole.Readable || !bytes.Contains(body, []byte("traits")) {
		return nil
	}
	l, ok := findList(body)
	if !ok {
		return nil
	}
	first := Event{Notice: whole, Number: 1, Of: 1, Body: body}
	if len(l.parts) == 1 {
		first.Notice = l.notice(l.parts[0])
		return []Event{first}
	}
	places, ok := l.places()
	if !ok {
		return []Event{first}
	}
	begin, end := places[0], places[len(places)-1]
	around := begin + len(body) - end
	if around*(len(l.parts)-1) > maxGrowth {
		return []Event{first}
	}
	events := make([]Event, len(l.parts))
	for i, p := range l.parts {
		from, to := places[i], places[i+1]
		if i > 0 {
			from++ // behind the comma
		}
		alone := append(make([]byte, 0, around+to-from), body[:begin]...)
		alone = append(append(alone, body[from:to]...), body[end:]...)
		events[i] = Event{Notice: l.notice(p), Number: i + 1, Of: len(l.parts), Body: alone}
	}
	return events
}

// noticeOf reads an event.
func noticeOf(text []byte) Notice {
	v, err := rawjson.Parse(text)
	if err != nil {
		return Notice{}
	}
	members, ok := v.Members()
	if !ok {
		return Notice{}
	}
	return newNotice(members.Get("message_id"), members.Get("event_type"), members.Get("generated"))
}

// notice reads an event of the list.
func (l *list) notice(p span) Notice {
	n := noticeOf(l.text[p.from:p.to])
	if n.doubtful() {
		n.settle(l.cameAs()[p.from:p.to])
	}
	return n
}

// list is a notification, and the list that is its payload.
type list struct {
	body   []byte
	at     int    // where in the body the notification stands
	text   []byte // the notification
	quoted bool   // it stands in the body as a string
	came   []byte // see cameAs
	parts  []span // what stands between two commas of the list, in the text
}

type span struct{ from, to int }

// findList finds the payload of a readable notification; false if it is no list of events.
func findList(body []byte) (*list, bool) {
	l, ok := findNotification(body)
	return l, ok && l.read()
}

// findNotification finds the text of a readable notification.
func findNotification(body []byte) (*list, bool) {
	l := &list{body: body}
	l.at = len(body) - len(bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n"))
	text := body[l.at:]
	has := func(name string) bool { _, _, err := jsonscan.Span(text, []string{name}); return err == nil }
	if !has(messageKey) && !has(versionKey) && !has("event_type") && !l.enter(&text, requestKey) {
		return l, false
	}
	if has(messageKey) && !l.enter(&text, messageKey) {
		return l, false
	}
	if l.quoted = len(text) > 0 && text[0] == '"'; l.quoted {
		l.at++
		var ok bool
		if text, ok = decode(body[l.at:], false); !ok {
			return l, false
		}
	}
	l.text = text
	return l, true
}

// cameAs is the text with halves of surrogate pairs in it where the text has U+FFFD for them, in as many bytes.
func (l *list) cameAs() []byte {
	if !l.quoted || l.text == nil {
		return l.text
	}
	if l.came == nil {
		l.came, _ = decode(l.body[l.at:], true)
	}
	return l.came
}

// enter goes on with a member.
func (l *list) enter(text *[]byte, name string) bool {
	from, to, err := jsonscan.Span(*text, []string{name})
	if err != nil {
		return false
	}
	l.at += from
	*text = (*text)[from:to]
	return true
}

// read takes the list apart; false if it has no event in it.
func (l *list) read() bool {
	lead := len(l.text) - len(bytes.TrimLeft(bytes.TrimPrefix(l.text, []byte("\xef\xbb\xbf")), " \t\r\n"))
	from, to, err := jsonscan.Span(l.text[lead:], []string{"payload"})
	if err != nil || l.text[lead+from] != '[' {
		return false
	}
	from, to = lead+from, lead+to
	elements, err := jsonscan.Elements(l.text[from:to])
	if err != nil {
		return false
	}
	found := false
	at := from + 1
	for _, e := range elements {
		p := span{from: at}
		at = skipSpace(l.text, at) + len(e)
		p.to = skipSpace(l.text, at)
		at = p.to + 1
		l.parts = append(l.parts, p)
		found = found || isEvent(e)
	}
	return found
}

// isEvent tells whether an element of a list is meant as an event.
func isEvent(e []byte) bool {
	for _, name := range []string{"event_type", "traits"} {
		if _, _, err := jsonscan.Span(e, []string{name}); err != nil {
			return false
		}
	}
	return true
}

// places are where in the body the list begins, where the commas in it are, and where it ends. It is false where a comma is
// written in another way than as a comma.
func (l *list) places() ([]int, bool) {
	wanted := []int{l.parts[0].from}
	for _, p := range l.parts {
		wanted = append(wanted, p.to)
	}
	if !l.quoted {
		for i := range wanted {
			wanted[i] += l.at
		}
		return wanted, true
	}
	outer, inner := l.at, 0
	for i, want := range wanted {
		for inner < want {
			_, width, size := character(l.body, outer)
			outer, inner = outer+width, inner+size
		}
		if inner != want || i > 0 && i < len(wanted)-1 && l.body[outer] != ',' {
			return nil, false
		}
		wanted[i] = outer
	}
	return wanted, true
}

// decode returns what is in the string whose content text begins with. Bytes that are no UTF-8 stay as they are; halves of surrogate
// pairs become such, or U+FFFD.
func decode(text []byte, halves bool) ([]byte, bool) {
	content := make([]byte, 0, len(text))
	for i := 0; i < len(text) && text[i] != '"'; {
		r, width, size := character(text, i)
		if width == 0 {
			return nil, false
		}
		switch {
		case size == 1:
			content = append(content, byte(r))
		case halves && utf16.IsSurrogate(r):
			content = append(content, 0xed, 0x80|byte(r>>6&0x3f), 0x80|byte(r&0x3f))
		default:
			content = utf8.AppendRune(content, r)
		}
		i += width
	}
	return content, true
}

// character is what stands at i in the content of a string, how many bytes it takes there, 0 if that is no content, and how
// many it is long.
func character(text []byte, i int) (r rune, width, size int) {
	if text[i] != '\\' {
		return rune(text[i]), 1, 1
	}
	r, width = unescape(text, i)
	if width == 0 {
		return 0, 0, 0
	}
	if r >= 0xd800 && r < 0xe000 {
		low, more := unescape(text, min(i+width, len(text)-1))
		if r >= 0xdc00 || low < 0xdc00 || low >= 0xe000 || more == 0 {
			return r, width, utf8.RuneLen(utf8.RuneError)
		}
		r, width = (r-0xd800)<<10|(low-0xdc00)+0x10000, width+more
	}
	return r, width, utf8.RuneLen(r)
}
