package author

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app/show"
	"stackstream/internal/cassette"
	"stackstream/internal/expr"
	"stackstream/internal/mapping"
	"stackstream/internal/rawjson"
)

// Trial is what came of asking a service for its first pages.
type Trial struct {
	Requests []Tried `json:"requests"`
	Events   []Shown `json:"events"`
	// Records is how many there were, of which Events are the first.
	Records int    `json:"records"`
	Cursor  string `json:"cursor"`
	// Waits says that it moves only when all pages were read.
	Waits bool `json:"waits,omitempty"`
	// More is the request that would come next, "" where the first pages were all.
	More string         `json:"more,omitempty"`
	Odd  map[string]int `json:"odd,omitempty"`
	// Error is why it ended, if it did not end well.
	Error string `json:"error,omitempty"`
}

// Tried is a request and what answered it, without secrets.
type Tried struct {
	Method  string      `json:"method"`
	URL     string      `json:"url"`
	Headers http.Header `json:"headers"`
	Body    string      `json:"body,omitempty"`
	What    string      `json:"what"`
	Status  int         `json:"status"`
	Records *int        `json:"records,omitempty"`
	// Begins is how an answer begins that could not be used.
	Begins string `json:"begins,omitempty"`
}

// Shown is an event and what its expressions came to.
type Shown struct {
	Event
	Values []Value `json:"values"`
}

// OK tells whether the service answered and everything that is shown could be converted.
func (t *Trial) OK() bool {
	return t.Error == "" && !slices.ContainsFunc(t.Events, func(e Shown) bool { return e.Dead != "" })
}

// Value is what an expression came to, or why it came to nothing.
type Value struct {
	Field string `json:"field"`
	Text  string `json:"text,omitempty"`
	Why   string `json:"why,omitempty"`
}

// errEnough ends a trial: the pages that were wanted are there.
var errEnough = errors.New("these are the first pages")

// trial stands between a source and the network and lets so many pages pass.
type trial struct {
	recorder *cassette.Recorder
	redactor *cassette.Redactor
	pages    int
	end      context.CancelCauseFunc // ends the run

	mu   sync.Mutex
	seen map[string]bool // pages that were asked for
	more func() string   // the request that would come next
}

// RoundTrip implements http.RoundTripper.
func (t *trial) RoundTrip(req *http.Request) (*http.Response, error) {
	if a, asks := httppoll.AskedOf(req.Context()); asks && a.What == httppoll.AskedPage {
		t.redactor.Keep(a.Value)
		t.redactor.Keep(a.Token)
		t.mu.Lock()
		key := fmt.Sprint(a.Partition, a.Page, a.From, a.Until)
		over := !t.seen[key] && len(t.seen) >= t.pages
		if !over {
			t.seen[key] = true
		} else if t.more == nil {
			t.more = t.line(req)
		}
		t.mu.Unlock()
		if over {
			t.end(errEnough)
			return nil, errEnough
		}
	}
	return t.recorder.RoundTrip(req)
}

// line is a request on one line, once all secrets are known.
func (t *trial) line(req *http.Request) func() string {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	return func() string { return t.redactor.Request(req, string(body)) }
}

// maxWait is how long a pause a trial makes.
const maxWait = 10 * time.Second

// pause waits for a short time and ends the run where a long one is wanted.
func (t *trial) pause(ctx context.Context, d time.Duration) error {
	if d > maxWait {
		err := fmt.Errorf("the service wants to be asked again in %s", d.Round(time.Second))
		t.end(err)
		return err
	}
	return wait(ctx, d)
}

// Try asks the service for its first pages, at most so many, and says what comes of the first records. It writes nothing.
func (s *Subject) Try(ctx context.Context, pages, events int) (*Trial, error) {
	redactor, err := s.redactor()
	if err != nil {
		return nil, err
	}
	out := &Trial{Odd: map[string]int{}}
	t := &trial{recorder: &cassette.Recorder{Login: isLogin}, redactor: redactor, pages: pages, seen: map[string]bool{}}
	var mu sync.Mutex
	var asked []httppoll.Asked
	over := false
	source, err := s.open(httppoll.Options{
		Transport: func(next http.RoundTripper) http.RoundTripper {
			t.recorder.Next = listening{next, func(a httppoll.Asked, what string) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, a)
				out.Requests = append(out.Requests, Tried{What: what})
			}}
			return t
		},
		Clock: httppoll.Clock{Pause: t.pause},
		Hooks: httppoll.Hooks{Odd: func(what string, n int) {
			mu.Lock()
			defer mu.Unlock()
			if !over { // what is read again afterwards, to be shown, does not count
				out.Odd[what] += n
			}
		}},
	})
	if err != nil {
		return nil, err
	}
	l := &ledger{}
	runCtx, end := context.WithCancelCause(ctx)
	defer end(nil)
	t.end = end
	failed := s.limited(runCtx, source, l)
	mu.Lock()
	over = true
	mu.Unlock()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c := t.recorder.Cassette(string(s.Kind), nil, redactor)
	for i, x := range c.Interactions {
		if i >= len(out.Requests) {
			break
		}
		q := &out.Requests[i]
		q.Method, q.URL, q.Headers, q.Body = x.Request.Method, x.Request.URL, x.Request.Headers, x.Request.Body
		q.Status = x.Response.Code
		if q.What != httppoll.AskedPage {
			continue
		}
		read, err := source.Read(asked[i].Partition, x.Response.Headers, []byte(x.Response.Body))
		if n := len(read.Records); err == nil && q.Status == http.StatusOK {
			q.Records = &n
		} else {
			q.Begins = begins(x.Response.Body)
		}
	}
	if t.more != nil {
		out.More = t.more()
	}
	if failed != nil && !errors.Is(failed, errEnough) {
		out.Error = redactor.Text(failed.Error())
	}
	for i, raw := range l.all() {
		out.Records++
		if i >= events {
			continue
		}
		for _, e := range s.convert(raw) {
			out.Events = append(out.Events, Shown{Event: e, Values: s.values(raw, redactor)})
		}
	}
	if n := out.Odd["no-cursor"]; n > 0 && n >= out.Records && out.Error == "" {
		out.Error = "no record has what the cursor goes by: see cursor.field, .value and .format"
	}
	out.Cursor = standing(l.standing())
	out.Waits = out.More != "" && s.Config.Cursor.Order != "ascending"
	return out, nil
}

// listening tells of each request before it goes to the network.
type listening struct {
	http.RoundTripper
	said func(a httppoll.Asked, what string)
}

func (l listening) RoundTrip(req *http.Request) (*http.Response, error) {
	a, asks := httppoll.AskedOf(req.Context())
	what := a.What
	if !asks {
		what = "login"
	}
	resp, err := l.RoundTripper.RoundTrip(req)
	if err == nil {
		l.said(a, what)
	}
	return resp, err
}

// begins is the beginning of an answer, on one line.
func begins(body string) string {
	text := strings.Join(strings.Fields(body), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

// values are what the expressions of the mapping come to for a record.
func (s *Subject) values(raw event.StoredRaw, redactor *cassette.Redactor) []Value {
	m, mistakes := mapping.Compile(s.Config.Event)
	rec, err := rawjson.Parse([]byte(redactor.Document(string(raw.Body))))
	if len(mistakes) > 0 || err != nil {
		return nil
	}
	partition := map[string]string{}
	if name := raw.Header[mapping.HeaderPartitionName]; name != "" {
		partition[name] = raw.Header[mapping.HeaderPartition]
	}
	var all []Value
	for _, v := range m.Explain(mapping.Vars(expr.NewRecord(rec), partition)) {
		value := Value{Field: "event." + v.Field, Text: v.Text}
		if v.Err != nil {
			value.Why = v.Err.Error()
		}
		all = append(all, value)
	}
	return all
}

// Write prints a trial, for people.
func (t *Trial) Write(w io.Writer) error {
	var b strings.Builder
	for _, q := range t.Requests {
		what := ""
		switch {
		case q.Records != nil:
			what = ", " + count(*q.Records, "record")
		case q.What != httppoll.AskedPage:
			what = ", " + q.What
		}
		fmt.Fprintf(&b, "%s %s\n", q.Method, plainURL(q.URL))
		for _, name := range slices.Sorted(maps.Keys(q.Headers)) {
			fmt.Fprintf(&b, "  %s: %s\n", name, strings.Join(q.Headers[name], ", "))
		}
		if q.Body != "" {
			fmt.Fprintf(&b, "  %s\n", begins(q.Body))
		}
		fmt.Fprintf(&b, "  -> %d%s\n", q.Status, what)
		if q.Begins != "" {
			fmt.Fprintf(&b, "  it begins: %s\n", q.Begins)
		}
	}
	for i, e := range t.Events {
		fmt.Fprintf(&b, "\nevent %d: %s\n", i+1, e.ID)
		if e.Dead != "" {
			fmt.Fprintf(&b, "  can't be converted: %s\n", e.Dead)
		} else {
			fmt.Fprintf(&b, "  %-26s %s\n", "time", e.Time.Format("2006-01-02T15:04:05.999999Z07:00"))
		}
		for _, v := range e.Values {
			text := v.Text
			if v.Why != "" {
				text = "nothing: " + v.Why
			}
			fmt.Fprintf(&b, "  %-26s %s\n", v.Field, begins(text))
		}
	}
	fmt.Fprintf(&b, "\n%s on the pages that were read\n", count(t.Records, "event"))
	for _, what := range slices.Sorted(maps.Keys(t.Odd)) {
		fmt.Fprintf(&b, "%s: %s\n", what, odd(what, t.Odd[what]))
	}
	fmt.Fprintf(&b, "the cursor would be: %s\n", t.Cursor)
	if t.Waits {
		b.WriteString("  it moves when all pages were read: cursor.order is not ascending\n")
	}
	if t.More != "" {
		fmt.Fprintf(&b, "next would be: %s\n", t.More)
	}
	if t.Error != "" {
		fmt.Fprintf(&b, "failed: %s\n", t.Error)
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, show.Clean(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}

// plainURL is an address as people read it, where that is the same one.
func plainURL(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil || strings.ContainsAny(plain, " \n") || strings.Count(plain, "&") != strings.Count(text, "&") {
		return text
	}
	return plain
}
