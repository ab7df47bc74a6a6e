package poison

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"strings"
	"unicode/utf16"

	"stackstream/internal/rawjson"
	"stackstream/normalizer/oslo"
)

// way is one in which an event may be something else than a service sends.
type way struct {
	name  string
	oneIn int // how rare it is; 0 is as often as any
	make  func(m *mutator) mutant
}

// ways are all of them.
var ways = []way{
	{"recorded", 0, func(m *mutator) mutant {
		mu := m.recorded()
		mu.fate = normalized
		return mu
	}},
	{"bits", 0, (*mutator).flipBits},
	{"cut off", 0, func(m *mutator) mutant {
		mu := m.fresh()
		mu.body = mu.body[:m.random.IntN(len(mu.body))]
		return mu
	}},
	{"spliced", 0, func(m *mutator) mutant {
		mu, other := m.fresh(), m.fresh()
		mu.body = append(mu.body[:m.random.IntN(len(mu.body))], other.body[m.random.IntN(len(other.body)):]...)
		return mu
	}},
	{"repeated part", 0, func(m *mutator) mutant {
		mu := m.fresh()
		from := m.random.IntN(len(mu.body))
		to := from + m.random.IntN(len(mu.body)-from)
		mu.body = append(mu.body[:to:to], mu.body[from:]...)
		return mu
	}},
	{"noise inserted", 0, func(m *mutator) mutant {
		mu := m.fresh()
		at := m.random.IntN(len(mu.body))
		mu.body = append(append(mu.body[:at:at], m.bytes(1+m.random.IntN(8))...), mu.body[at:]...)
		return mu
	}},
	{"another type", 0, (*mutator).confuse},
	{"two of a name", 0, func(m *mutator) mutant {
		return m.rebuilt(func(members rawjson.Object) rawjson.Object {
			at := m.random.IntN(len(members))
			with := members[m.random.IntN(len(members))].Value
			return append(members, rawjson.Member{Name: members[at].Name, Value: with})
		})
	}},
	{"left out", 0, func(m *mutator) mutant {
		return m.rebuilt(func(members rawjson.Object) rawjson.Object {
			at := m.random.IntN(len(members))
			return append(members[:at:at], members[at+1:]...)
		})
	}},
	{"nested", 4, (*mutator).nested},
	{"long", 40, func(m *mutator) mutant {
		mu := m.rebuilt(m.payload(`"` + strings.Repeat(m.pick("x", "é", `\u0000`, `\"`, "a=b:"), 20_000+m.random.IntN(50_000)) + `"`))
		mu.fate = normalized
		return mu
	}},
	{"many members", 40, func(m *mutator) mutant {
		var b strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&b, `,"m%d":[%d]`, i%4000, i)
		}
		mu := m.rebuilt(m.payload(`{"ports":[{"id":1}]` + b.String() + `}`))
		mu.fate = normalized
		return mu
	}},
	{"no UTF-8", 0, func(m *mutator) mutant {
		mu := m.rebuilt(m.payload(`"` + m.pick("\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80b\xfe") + `"`))
		mu.fate = normalized
		return mu
	}},
	{"no number", 0, func(m *mutator) mutant {
		word := m.pick("NaN", "Infinity", "-Infinity")
		mu := m.rebuilt(m.payload(m.pick(word, "["+word+",1]", `{"a":`+word+`,"b":"NaN \" Infinity"}`)))
		mu.fate = normalized
		return mu
	}},
	{"numbers", 0, func(m *mutator) mutant {
		mu := m.rebuilt(m.payload(m.pick("1e999999", "-0.0", "123456789012345678901234567890", "0."+strings.Repeat("3", 400), "1E-400")))
		mu.fate = normalized
		return mu
	}},
	{"nearly nothing", 0, func(m *mutator) mutant {
		return mutant{format: m.format(), fate: dead, body: []byte(m.pick(
			"", " ", "\n", "null", "{}", "[]", `""`, "0", "\xef\xbb\xbf", "{", "}", `{"oslo.message":null}`, "\x00", "NaN",
			`{"message_id":"`+m.uuid()+`"}`, "truth "+m.uuid()))}
	}},
	{"binary", 0, func(m *mutator) mutant {
		return mutant{format: m.format(), body: append(m.bytes(1+m.random.IntN(2000)), 0xff), fate: dead}
	}},
	{"twice encoded", 0, func(m *mutator) mutant {
		mu := m.fresh()
		mu.body, mu.fate = rawjson.AppendQuoted(nil, string(mu.body)), dead
		return mu
	}},
	{"UTF-16", 0, func(m *mutator) mutant {
		mu := m.fresh()
		var b []byte
		for _, u := range utf16.Encode([]rune(string(mu.body))) {
			b = append(b, byte(u), byte(u>>8))
		}
		mu.body, mu.fate = append(b, 0xff), dead
		return mu
	}},
	{"behind it", 0, func(m *mutator) mutant {
		mu := m.recorded()
		mu.body = append(mu.body, m.pick(",", "{}", "\x00", "//", string(mu.body))...)
		mu.fate = dead
		return mu
	}},
	{"compressed", 0, (*mutator).compressed},
	{"again", 10, func(m *mutator) mutant {
		if m.made == 0 {
			return m.fresh()
		}
		return m.earlier()
	}},
	{"same id", 10, (*mutator).sameID},
	{"no converter", 20, func(m *mutator) mutant {
		mu := m.fresh()
		mu.format, mu.fate = m.pick("", "Oslo", "ceilometer\r\nNats-Rollup: all", "größe"), dead
		return mu
	}},
}

func (m *mutator) format() string { return m.bases[m.random.IntN(len(m.bases))].format }

func (m *mutator) flipBits() mutant {
	mu := m.fresh()
	for range 1 + m.random.IntN(6) {
		mu.body[m.random.IntN(len(mu.body))] ^= 1 << m.random.IntN(8)
	}
	return mu
}

// confuse gives a member a value that it does not have.
func (m *mutator) confuse() mutant {
	value := m.pick("null", "true", "0", "-1", "1e999", `""`, `" "`, `"\u0000"`, `"\ud800"`, "[]", "{}", "[[]]", `{"a":1}`,
		`"2026-13-45"`, `"0000-00-00 00:00:00"`, `"9999-12-31 23:59:59.999999999999999"`, `"2026-11-22T05:42:09-23:59"`,
		`"a\r\nNats-Rollup: all"`, `"\u001b[31m"`, `"`+strings.Repeat("n", 600)+`"`, `"%41%zz"`, `["`+m.uuid()+`"]`, "123456789012345678901")
	if m.random.IntN(4) > 0 {
		return m.rebuilt(func(members rawjson.Object) rawjson.Object {
			members[m.random.IntN(len(members))].Value = rawjson.Value(value)
			return members
		})
	}
	name := m.pick("message_id", "event_type", "timestamp", "priority", "publisher_id", "oslo.version", "oslo.message", "generated")
	if name == "message_id" {
		value = m.pick("{}", "[]", "true", "null", `""`)
	}
	return m.rebuilt(func(members rawjson.Object) rawjson.Object {
		return append(members, rawjson.Member{Name: []byte(name), Value: rawjson.Value(value)})
	})
}

// nested puts a payload in that is nested as deep as it may be, a little deeper, or as deep as readers of JSON fail at.
func (m *mutator) nested() mutant {
	depth := []int{10, 200, 254, 255, 256, 257, 1000, 9999, 10_001, 30_000}[m.random.IntN(10)]
	before, behind := "[", "]"
	if m.random.IntN(2) == 0 {
		before, behind = `{"a":`, "}"
	}
	mu := m.rebuilt(m.payload(strings.Repeat(before, depth) + "1" + strings.Repeat(behind, depth)))
	switch {
	case depth > rawjson.MaxDepth:
		mu.fate = dead
	case depth < rawjson.MaxDepth-2: // the notification and its envelope are two more
		mu.fate = normalized
	}
	return mu
}

// payload replaces a notification's payload.
func (m *mutator) payload(with string) func(rawjson.Object) rawjson.Object {
	return func(members rawjson.Object) rawjson.Object {
		for i := range members {
			if string(members[i].Name) == "payload" {
				members[i].Value = rawjson.Value(with)
			}
		}
		return members
	}
}

// rebuilt is a recorded notification with other members, in one of the forms that a notification may come in.
func (m *mutator) rebuilt(change func(rawjson.Object) rawjson.Object) mutant {
	mu := m.recorded()
	outer, err := rawjson.Parse(mu.body)
	members, _ := outer.Members()
	if text, ok := members.Get("oslo.message").Text(); ok {
		outer, err = rawjson.Parse([]byte(text))
		members, _ = outer.Members()
	}
	if err != nil || len(members) == 0 {
		return mu
	}
	var b bytes.Buffer
	for i, member := range change(members) {
		b.WriteByte("{,"[min(i, 1)])
		b.Write(rawjson.AppendQuoted(nil, string(member.Name)))
		b.WriteByte(':')
		b.Write(member.Value)
	}
	b.WriteByte('}')
	switch m.random.IntN(3) {
	case 0:
		mu.body = b.Bytes()
	case 1:
		mu.body = fmt.Appendf(nil, `{"oslo.version": "2.0", "oslo.message": %s}`, b.Bytes())
	default:
		mu.body = fmt.Appendf(nil, `{"oslo.version": "2.0", "oslo.message": "%s"}`,
			strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(b.String()))
	}
	return mu
}

// compressed is a notification as kombu compresses it, or as something else does.
func (m *mutator) compressed() mutant {
	mu := m.recorded()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(mu.body) // into memory
	_ = z.Close()
	switch m.random.IntN(4) {
	case 0:
		mu.body, mu.compression, mu.fate = b.Bytes(), "application/x-gzip", normalized
	case 1:
		mu.body, mu.compression = b.Bytes(), "application/x-gzip"
		mu.body[m.random.IntN(len(mu.body))] ^= 1 << m.random.IntN(8)
	case 2:
		mu.body, mu.compression, mu.fate = b.Bytes(), m.pick("application/x-bz2", "zstd", "\r\n", strings.Repeat("z", 70_000)), dead
	default:
		b.Reset()
		g := gzip.NewWriter(&b)
		_, _ = g.Write(mu.body)
		_ = g.Close()
		mu.body, mu.fate = b.Bytes(), dead
	}
	return mu
}

// sameID is another notification by the id of an earlier one.
func (m *mutator) sameID() mutant {
	if m.made == 0 {
		return m.fresh()
	}
	before := m.earlier()
	if before.hashed || len(before.id) > 100 || strings.ContainsAny(string(before.id), "\"\\") {
		return before
	}
	return mutant{format: oslo.Format, body: fmt.Appendf(nil, `{"message_id":%s,"event_type":"x.again","n":%d}`,
		rawjson.AppendQuoted(nil, string(before.id)), m.made)}
}
