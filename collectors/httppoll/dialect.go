package httppoll

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"stackstream/event"
	"stackstream/internal/openstack"
	"stackstream/internal/records"
)

// Dialect is what settings can't say of a service that the project itself knows: where it is found, how a page is asked for, what
// a record and an error mean. Pages, retries, times and what may be promised are the engine's, whoever describes the service.
type Dialect struct {
	// Kind is the name of the kind of source.
	Kind string
	// Session logs in, Client asks.
	Session *openstack.Session
	Client  *http.Client
	// URL is the address that asks for a page.
	URL func(context.Context, Ask) (string, error)
	// Read reads a record of JSON.
	Read func(record []byte) Reading
	// Until tells that the service understands Ask.Until.
	Until bool
	// MaxSize is the setting that bounds Ask.Size.
	MaxSize string
	// Hint ends what an error says, by its status: where an operator may look. That of 200 is for an answer that can't be read.
	Hint func(status int) string
	// Forgotten tells whether an error means that the service no longer knows the marker.
	Forgotten func(status int, text string) bool
}

// Ask says which page is asked for.
type Ask struct {
	From   string // in the form of Cursor.Send; empty: from the beginning
	Until  string // empty: to the end
	Marker string // of pagination.type: marker; empty on the first page
	Size   int
}

// Reading is what was read of a record. What is missing is empty.
type Reading struct {
	ID    string
	Vague bool // ID is not all of what stands there, and so no identity: it may be that of others
	Type  string
	Time  time.Time
	Odd   []string // what is counted, see Hooks.Odd
}

// NewDialect makes a source that speaks a dialect. Of a configuration that must be valid it uses schedule, cursor, pagination,
// retry, event_types, and max_body of the request.
func NewDialect(cfg Config, d Dialect, opts Options) (*Source, error) {
	opts.Clock = opts.Clock.complete()
	return build(&Source{
		cfg: cfg, opts: opts, dialect: &d, client: d.Client, programs: &programs{},
		decoder: records.Decoder{Form: records.JSON, Strict: true, Bound: cfg.Request.bound()}, signer: &keystoneSigner{session: d.Session},
	})
}

// Probe asks once for a single record from the beginning, and returns how many came.
func (s *Source) Probe(ctx context.Context) (int, error) {
	w := s.newWalk("", &position{}, s.now())
	w.restart()
	w.pager.size = 1
	a, err := w.ask(ctx)
	if err != nil || a == nil {
		return 0, err
	}
	return len(a.page.Records), nil
}

// dialectRequest is request for a service that has a dialect.
func (w *walk) dialectRequest(ctx context.Context) (*http.Request, error) {
	form := w.cfg.Cursor.Send.form(w.cfg.Cursor)
	ask := Ask{Marker: w.pager.token, Size: w.pager.size}
	if from := w.asksFrom(); !from.IsZero() {
		ask.From = form.Format(from)
	}
	until := w.pager.end
	if until.IsZero() && w.opts.Past != nil && w.dialect.Until {
		until = w.until
	}
	if !until.IsZero() {
		ask.Until = form.Format(until)
	}
	address, err := w.dialect.URL(ctx, ask)
	if err != nil {
		return nil, w.retryLater(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, badRequest("endpoint", errors.New("is not a URL"))
	}
	req.Header.Set("Accept", accepts(records.JSON))
	req.Header.Set("User-Agent", w.userAgent())
	return req, nil
}

// dialectRecord is record for a service that has a dialect.
func (s *Source) dialectRecord(body []byte, received time.Time) item {
	f := item{raw: event.Raw{
		Received: received, Format: s.opts.Format, ContentType: "application/json", Body: bytes.Clone(body),
	}}
	r := s.dialect.Read(f.raw.Body)
	for _, odd := range r.Odd {
		s.odd(odd, 1)
	}
	f.raw.Time, f.eventType, f.marker = r.Time, r.Type, r.ID
	if f.raw.ID = event.BoundID(event.ID(r.ID)); r.ID == "" || r.Vague {
		f.raw.ID, f.raw.Hashed = event.HashID(f.raw.Body), true
	}
	return f
}

// hint ends an error of a status.
func (s *Source) hint(status int) string {
	if s.dialect == nil || s.dialect.Hint == nil {
		return ""
	}
	return s.dialect.Hint(status)
}

// forgotten tells whether an error means that the service no longer knows the marker.
func (s *Source) forgotten(status int, text string) bool {
	return s.dialect != nil && s.dialect.Forgotten != nil && s.dialect.Forgotten(status, text)
}

// kind is the name of the kind of source, for people.
func (s *Source) kind() string {
	if s.dialect == nil {
		return Kind
	}
	return s.dialect.Kind
}

// flat is the cursor of a service that has a dialect, which is read as one part.
type flat struct {
	Generated time.Time `json:"generated,omitzero"`
	From      time.Time `json:"from,omitzero"`
	Moved     time.Time `json:"moved,omitzero"`
}

func (s *Source) decode(c event.Cursor) (state, error) {
	if s.dialect == nil || c == nil {
		return decodeState(c)
	}
	var f flat
	err := event.Decode(c, cursorFormat, &f)
	f.Generated, f.From, f.Moved = f.Generated.UTC(), f.From.UTC(), f.Moved.UTC()
	if err == nil {
		_, err = json.Marshal(f) // a time may have been read that can't be written
	}
	if err != nil {
		return state{}, &event.Error{Kind: event.Invalid, Op: "read the cursor of " + s.kind(), Err: err}
	}
	return state{Parts: map[string]*position{"": {Newest: f.Generated, From: f.From, Moved: f.Moved, Began: true}}}, nil
}

func (s *Source) encode(at state) (event.Cursor, error) {
	if s.dialect == nil {
		return at.encode()
	}
	p := at.Parts[""]
	f := flat{Generated: p.Newest, From: p.From, Moved: p.Moved}
	if f == (flat{}) {
		return nil, nil
	}
	out, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("write the cursor of %s: %w", s.kind(), err)
	}
	return out, nil
}
