package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"stackstream/internal/records"
)

// allocated is how much memory was allocated while f ran. Nothing else may run meanwhile.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

func many(n int, of string) string { return strings.TrimSuffix(strings.Repeat(of+",", n), ",") }

func packed(t *testing.T, body string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write([]byte(body)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// blown is a short body that would be long records: each has all of what they are in.
func blown(around, items int) string {
	return `{"blob":"` + strings.Repeat("a", around) + `","items":[` + many(items, "{}") + `]}`
}

func expanded(c *Config) {
	c.Records.Shape, c.Records.Expand, c.Records.Parent = records.One, []string{"items"}, "batch"
}

// What has more events than may be is refused before they are made, and so is what would become more than it may, whatever a filter
// would leave of it.
func TestHugeRequestsAreCheap(t *testing.T) {
	tooMany := "it has more than 10000 events (limits.events)"
	for name, test := range map[string]struct {
		format string
		change func(*Config)
		kind   string
		body   string
		want   string
	}{
		"records":      {formatJSON, nil, "", "[" + many(2_500_000, "{}") + "]", tooMany},
		"left out":     {formatJSON, func(c *Config) { c.Records.Filter = "rec.keep" }, "", "[" + many(100_000, "{}") + "]", tooMany},
		"values":       {formatJSON, func(c *Config) { c.Records.Shape, c.Records.Key = records.Values, "id" }, "", "{" + many(100_000, `"":{}`) + "}", tooMany},
		"expanded":     {formatJSON, func(c *Config) { expanded(c); c.Records.Parent = "" }, "", blown(1, 100_000), tooMany},
		"with parent":  {formatJSON, expanded, "", blown(100_000, 5000), "each with the rest of what it was in (records.expand and records.parent): 4 times limits.body"},
		"of the agent": {formatCeilometer, nil, "", "[" + many(440_000, `{"event_type":"a"}`) + "]", tooMany},
		"a batch":      {formatCloudEvents, nil, batchJSON, "[" + many(150_000, `{"specversion":"1.0","type":"t","source":"/"}`) + "]", tooMany},
	} {
		f, limits := formatOf(t, test.format, test.change), Default().Limits
		p := posted{kind: test.kind, body: []byte(test.body), memory: &memory{limits: limits, more: func(int64) *refusal { return nil }}}
		var refused *refusal
		made := allocated(func() { _, refused = f.decode(p) })
		if refused == nil || refused.status != http.StatusRequestEntityTooLarge || !strings.Contains(refused.Error(), test.want) {
			t.Errorf("%s: it is answered with %v, want %q", name, refused, test.want)
		}
		most := int64(4 << 20)
		if name == "with parent" {
			most += maxGrowth * limits.Body
		}
		if made > min(most, p.memory.got+p.memory.got/2+64<<10) {
			t.Errorf("%s: %d bytes were allocated, and %d asked for", name, made, p.memory.got)
		}
	}
}

// A few bytes that become much are answered with what they exceed, cost no more than what they are unpacked to, and leave nothing behind.
func TestBombs(t *testing.T) {
	r := newRig(t, formatJSON, func(c *Config) {
		expanded(c)
		c.Limits.Body, c.Limits.PendingBytes = 256<<10, 4<<20
	})
	for body, want := range map[string]string{
		blown(1, 80_000): "more than 10000 events (limits.events)", blown(100_000, 5000): "more than 1048576 bytes together",
		blown(300_000, 1): "262144 bytes (limits.body)",
	} {
		bomb := packed(t, body)
		var got said
		made := allocated(func() { got = r.post(t, bomb, "Content-Encoding", "gzip") })
		if got.status != http.StatusRequestEntityTooLarge || !strings.Contains(got.Error, want) || made > 4<<20 {
			t.Errorf("%d bytes are answered with %v, want %q; %d bytes were allocated", len(bomb), got, want, made)
		}
	}
	if bytes, pending := r.front.room.used(); bytes != 0 || pending != 0 {
		t.Errorf("%d bytes and %d places are not given back", bytes, pending)
	}
}

// As many as may be are taken.
func TestAsManyAsMayBe(t *testing.T) {
	three := func(c *Config) { c.Limits.Events = 3 }
	for format, test := range map[string]struct{ kind, body string }{
		formatJSON:        {"", `[{"id":1,"type":"a"},{"id":2,"type":"a"},{"id":3,"type":"a"}]`},
		formatCeilometer:  {"", string(ceilometerBody("a", "b", "c"))},
		formatCloudEvents: {batchJSON, "[" + cloudEvent("a") + "," + cloudEvent("b") + "," + cloudEvent("c") + "]"},
	} {
		f := formatOf(t, format, three)
		m := &memory{limits: config(format, three).Limits, more: func(int64) *refusal { return nil }}
		all, refused := f.decode(posted{kind: test.kind, body: []byte(test.body), memory: m})
		if refused != nil || len(all) != 3 {
			t.Errorf("%s: %d are taken (%v)", format, len(all), refused)
		}
	}
}

// Decoding takes no more memory than it has asked for, whatever there is in one event, and nothing where it is granted none.
func TestDecodingIsCounted(t *testing.T) {
	const n = 20_000
	touched := func(c *Config) { c.Event.ID = "string(size(rec.a)) + string(rec.id)" }
	base64Data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, n))
	attributes := `"specversion":"1.0","type":"t","source":"/","id":"1"`
	binary := []string{"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1"}
	names := func(n int) string {
		var out strings.Builder
		for i := range n {
			fmt.Fprintf(&out, `,"x%d":%d`, i, i)
		}
		return out.String()
	}
	for name, test := range map[string]struct {
		format  string
		change  func(*Config)
		kind    string
		body    string
		headers []string
	}{
		"members of an event":     {formatCeilometer, nil, "", `{"event_type":"x",` + many(n, `"":0`) + `}`, nil},
		"no numbers":              {formatCeilometer, nil, "", `[{"event_type":"x","a":[` + many(n, "NaN") + `]}]`, nil},
		"no UTF-8":                {formatCeilometer, nil, "", `[{"event_type":"x","a":"` + strings.Repeat("a\xff", n) + `NaN"}]`, nil},
		"neither":                 {formatCeilometer, nil, "", `[{"event_type":"x","a":[` + many(n, "NaN,\"\xff\"") + `]}]`, nil},
		"no JSON":                 {formatCeilometer, nil, "", `[{"event_type":"x","a":[` + many(n, "NaN,x") + `]}]`, nil},
		"a long type":             {formatCeilometer, nil, "", `{"event_type":"` + strings.Repeat(`\n`, n) + `"}`, nil},
		"a long id":               {formatCeilometer, nil, "", `{"event_type":"x","message_id":"` + strings.Repeat(`\u00e9`, n) + `"}`, nil},
		"a long name":             {formatCeilometer, nil, "", `{"event_type":"x","` + strings.Repeat(`\u00e9`, n) + `":1}`, nil},
		"extensions":              {formatCloudEvents, nil, oneJSON, `{` + attributes + names(n/10) + `}`, nil},
		"an extension of lists":   {formatCloudEvents, nil, oneJSON, `{` + attributes + `,"x":[` + many(n, "[]") + `]}`, nil},
		"an extension of objects": {formatCloudEvents, nil, oneJSON, `{` + attributes + `,"x":[` + many(n, `{"":0}`) + `]}`, nil},
		"a long attribute":        {formatCloudEvents, nil, oneJSON, `{` + attributes + `,"x":"` + strings.Repeat(`\n`, n) + `"}`, nil},
		"names of no UTF-8":       {formatCloudEvents, nil, oneJSON, `{` + attributes + `,"` + strings.Repeat("\xff", n) + `":1}`, nil},
		"data":                    {formatCloudEvents, nil, oneJSON, `{` + attributes + `,"data":[` + many(n, "0") + `]}`, nil},
		"data in base64":          {formatCloudEvents, nil, oneJSON, `{` + attributes + `,"data_base64":"` + base64Data + `"}`, nil},
		"a batch of one":          {formatCloudEvents, nil, batchJSON, `[{` + attributes + names(n/10) + `}]`, nil},
		"binary, JSON":            {formatCloudEvents, nil, "application/json", `[` + many(n, "0") + `]`, binary},
		"binary, text":            {formatCloudEvents, nil, "text/plain", strings.Repeat("\x01\"\u2028", n), binary},
		"binary, bytes":           {formatCloudEvents, nil, "image/png", strings.Repeat("\xff", n), binary},
		"members of a record":     {formatJSON, nil, "", `{"id":1,"type":"x",` + many(n, `"":0`) + `}`, nil},
		"a list in a record":      {formatJSON, touched, "", `{"id":1,"type":"x","a":[` + many(n/10, "{}") + `]}`, nil},
		"lists in a record":       {formatJSON, touched, "", `{"id":1,"type":"x","a":[` + many(n/10, "[[]]") + `]}`, nil},
		"an object in a record":   {formatJSON, touched, "", `{"id":1,"type":"x","a":{` + strings.TrimPrefix(names(n/10), ",") + `}}`, nil},
		"a list is a record":      {formatJSON, touched, "", `[[` + many(n/10, "{}") + `]]`, nil},
		"a record of no numbers":  {formatJSON, nil, "", `{"id":1,"type":"x","a":[` + many(n, "NaN") + `]}`, nil},
		"a long text":             {formatJSON, nil, "", `{"id":"` + strings.Repeat(`\n`, n) + `","type":"x"}`, nil},
		"what is around":          {formatJSON, func(c *Config) { expanded(c); c.Event.ID = `"x"`; c.Event.Type = `"x"` }, "", blown(n, 9), nil},
		"sparse behind dense":     {formatJSON, nil, "", `{"id":1,"type":"x","a":[` + many(1000, "0") + `],"b":"` + strings.Repeat("a", 20*n) + `"}`, nil},
	} {
		f := formatOf(t, test.format, test.change)
		p := posted{header: http.Header{"Content-Type": {test.kind}}, kind: test.kind, body: []byte(test.body)}
		for i := 0; i < len(test.headers); i += 2 {
			p.header.Set(test.headers[i], test.headers[i+1])
		}
		p.memory = &memory{limits: Default().Limits, more: func(int64) *refusal { return nil }}
		made := allocated(func() { _, _ = f.decode(p) })
		// Half as much again is garbage that was never needed at one time.
		if asked := p.memory.got; made > asked+asked/2+64<<10 {
			t.Errorf("%s: of %d bytes were made %d, and %d asked for", name, len(test.body), made, asked)
		}
		none := invalid("", "none")
		p.memory = &memory{limits: Default().Limits, more: func(int64) *refusal { return none }}
		made = allocated(func() {
			if all, refused := f.decode(p); refused != none {
				t.Errorf("%s: without memory %d events are taken (%v)", name, len(all), refused)
			}
		})
		if made > 64<<10 {
			t.Errorf("%s: %d bytes were made, and none granted", name, made)
		}
	}
}

// What a request needs at the most, by what is posted, is what the page about this source says.
func TestWhatRequestsNeed(t *testing.T) {
	const size = 64 << 10
	fill := func(head, of, tail string) string {
		return head + strings.Repeat(of, (size-len(head)-len(tail))/len(of)) + tail
	}
	usual, record, traits := `{"name":"value of it","n":12345},`, `{"id":1,"type":"x","a":[`, `[{"event_type":"x","a":[`
	latin1 := "application/json; charset=latin1"
	for name, test := range map[string]struct {
		format, kind, body string
		most               int64
	}{
		"a CloudEvent":             {formatCloudEvents, oneJSON, fill(`{"specversion":"1.0","type":"t","source":"/","id":"1","data":[`, usual, `0]}`), 1},
		"a record":                 {formatJSON, "", fill(record, usual, `0]}`), 5},
		"an event of the agent":    {formatCeilometer, "", fill(traits, usual, `0]}]`), 5},
		"brackets":                 {formatJSON, "", fill(record, `0,`, `0]}`), 9},
		"brackets of the agent":    {formatCeilometer, "", fill(traits, `0,`, `0]}]`), 9},
		"no UTF-8":                 {formatJSON, "", fill(`{"id":1,"type":"x","a":"`, "\xe9", `"}`), 14},
		"no numbers":               {formatJSON, "", fill(record, "NaN,", `0]}`), 14},
		"no numbers of the agent":  {formatCeilometer, "", fill(traits, "NaN,", `0]}]`), 14},
		"another charset":          {formatJSON, latin1, fill(record, "\"\xe9\",", `0]}`), 20},
		"that, and no numbers":     {formatJSON, latin1, fill(record, "NaN,", `0]}`), 20},
		"the agent's in another":   {formatCeilometer, latin1, fill(traits, "NaN,", `0]}]`), 20},
		"many events of the agent": {formatCeilometer, latin1, fill("[", `{"event_type":"x","a":"`+strings.Repeat("\xe9", 9999)+`"},`, `{"event_type":"x"}]`), 20},
	} {
		m := &memory{limits: Default().Limits, more: func(int64) *refusal { return nil }}
		kind, charset := media(test.kind)
		_, refused := formatOf(t, test.format, nil).decode(posted{kind: kind, charset: charset, body: []byte(test.body), memory: m})
		need, most := int64(len(test.body))+m.got, test.most*size+16*eventCost
		if refused != nil || need > most {
			t.Errorf("%s: %d bytes are needed, more than %d (%v)", name, need, most, refused)
		}
	}
}

// Senders that mean harm, many at once, take no more together than they may, and who comes beside them is served.
func TestManyHugeRequests(t *testing.T) {
	r := newRig(t, formatJSON, func(c *Config) {
		expanded(c)
		c.Limits.Body, c.Limits.PendingBytes = 256<<10, 4<<20
	})
	bodies := [][]byte{
		packed(t, blown(200_000, 4)), packed(t, blown(5_000, 200)), packed(t, blown(1, 9999)),
		packed(t, `{"id":1,"items":[{"id":1,"type":"x","a":[`+many(70_000, "0")+`]}]}`),
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithCancel(t.Context())
	var harm sync.WaitGroup
	for i := range 6 {
		harm.Go(func() {
			for ctx.Err() == nil {
				_, _ = postTo(ctx, http.DefaultClient, r.url, bodies[i%len(bodies)], "Content-Encoding", "gzip")
			}
		})
	}
	most := uint64(0)
	for i := range 5 {
		for try := 0; ; try++ {
			got := r.post(t, []byte(fmt.Sprintf(`{"items":[{"id":"good-%d","type":"x"}]}`, i)))
			if got.status == http.StatusOK {
				break
			}
			if got.status != http.StatusServiceUnavailable || try > 200 {
				t.Fatalf("event %d: %v", i, got)
			}
			<-time.After(5 * time.Millisecond)
		}
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
	}
	cancel()
	harm.Wait()
	// What is not collected yet may be as much again, and as much as there was before.
	if allowed := 2*(4<<20) + 2*before.HeapAlloc + 16<<20; most > allowed {
		t.Errorf("%d bytes were taken, %d are allowed", most, allowed)
	}
	for used := int64(1); used > 0; used, _ = r.front.room.used() {
		<-time.After(time.Millisecond)
	}
}

// What unpacking takes is counted, too: a window is there whatever is in it.
func TestWindows(t *testing.T) {
	text := []byte(`[{"id":1,"type":"a"}]`)
	frame := func(options ...zstd.EOption) []byte {
		var out bytes.Buffer
		z, err := zstd.NewWriter(&out, options...)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = z.Write(text)
		_ = z.Flush() // so that the length is not known when it begins
		_, _ = z.Write(bytes.Repeat([]byte(" "), 300_000))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	small, large := frame(zstd.WithWindowSize(64<<10)), frame(zstd.WithWindowSize(4<<20), zstd.WithEncoderCRC(false))
	skipped := []byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2}
	whole, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, formatJSON, nil)
	for name, test := range map[string]struct {
		body []byte
		want int64
	}{
		"small": {small, 64 << 10}, "large": {large, 4 << 20}, "both": {bytes.Join([][]byte{small, skipped, large, small}, nil), 4 << 20},
		"of a length": {whole.EncodeAll(text, nil), zstd.MinWindowSize}, "too large": {frame(zstd.WithWindowSize(16 << 20)), zstdWindow},
		"cut off": {large[:12], 4 << 20}, "none": {text, 0}, "nothing": {nil, 0},
	} {
		if got := windowOf(test.body); got != test.want {
			t.Errorf("%s: the window is %d, want %d", name, got, test.want)
		}
		var got said
		made := allocated(func() { got = r.post(t, test.body, "Content-Encoding", "zstd") })
		if taken := test.want > 0 && name != "too large" && name != "cut off" && name != "both"; taken != (got.status == http.StatusOK) {
			t.Errorf("%s: %v", name, got)
		}
		if name == "both" && !strings.Contains(got.Error, "behind its end comes") {
			t.Errorf("three documents: %v", got)
		}
		if most := 2*(test.want+zstdSize) + 3<<20; made > most {
			t.Errorf("%s: %d bytes were made", name, made)
		}
	}
}

// What does not fit into all the memory there is is not told to come again.
func TestWhatNeverFits(t *testing.T) {
	r := newRig(t, formatJSON, func(c *Config) {
		expanded(c)
		c.Limits.Body, c.Limits.PendingBytes = 1<<20, 2<<20
	})
	got := r.post(t, []byte(blown(300_000, 8)))
	if got.status != http.StatusRequestEntityTooLarge || !strings.Contains(got.Error, "2097152 bytes (limits.pending_bytes)") {
		t.Errorf("it is answered with %v", got)
	}
	if doubts := r.cfg.Doubts(); len(doubts) != 1 || doubts[0].Field != "limits.pending_bytes" {
		t.Errorf("the doubts are %v", doubts)
	}
	if got := r.post(t, []byte(blown(1000, 8))); got.status != http.StatusBadRequest {
		t.Errorf("records without ids: %v", got)
	}
}
