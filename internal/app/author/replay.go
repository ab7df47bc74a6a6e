package author

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/cassette"
)

// Replay is what came of a conversation that was played back.
type Replay struct {
	Runs   []Polled `json:"runs"`
	Events []Event  `json:"events"`
	// Unused is how many of the recorded answers nobody asked for.
	Unused int `json:"unused"`
	// Odd counts records that are not as they should be, by httppoll.Hooks.Odd.
	Odd map[string]int `json:"odd,omitempty"`

	raw   []event.StoredRaw
	pages []heard
}

// before is the place behind what was answered up to a run.
func (r *Replay) before(run int) int {
	n := 0
	for i := range run + 1 {
		for _, q := range r.Runs[i].Requests {
			n = max(n, q.Place+1)
		}
	}
	return n
}

// Polled is one run.
type Polled struct {
	Clock    time.Time `json:"clock"`
	Requests []Request `json:"requests"`
	Moves    []Move    `json:"moves"`
	Error    string    `json:"error,omitempty"`
}

// Request is a request and what answered it.
type Request struct {
	Place   int    `json:"place"` // in the cassette
	Method  string `json:"method"`
	URL     string `json:"url"`
	What    string `json:"what"` // page, detail, list or login
	Status  int    `json:"status"`
	Records *int   `json:"records,omitempty"`
}

// Move is a batch that was written: so many events, and the cursor behind them.
type Move struct {
	Events int             `json:"events"`
	Cursor json.RawMessage `json:"cursor"`
}

// Event is what became of a record.
type Event struct {
	ID   string          `json:"id"`
	Type string          `json:"type,omitempty"`
	Time time.Time       `json:"time,omitzero"`
	Dead string          `json:"dead,omitempty"` // why it could not be converted
	Body json.RawMessage `json:"event,omitempty"`
}

// Replay plays a conversation back, in no time and asking nobody. A request that was not recorded is an error, a
// *cassette.Missing where it is known what was asked for. at, if not zero, is the time that the first run goes by in place of
// the recorded one. Secrets need not be there.
func (s *Subject) Replay(ctx context.Context, c *cassette.Cassette, at time.Time) (*Replay, error) {
	s.offline()
	// One after the other, so that the order is the same each time.
	s.Config.Partitions.Concurrency, s.Config.Detail.Concurrency = 1, 1
	out := &Replay{Odd: map[string]int{}}
	now := &clock{}
	player := &cassette.Player{Cassette: c, Login: isLogin, Ignore: s.proofParameters()}
	l, waits := &ledger{}, &waiting{}
	var polled *Polled
	player.Played = func(i int, req *http.Request) {
		a, asks := httppoll.AskedOf(req.Context())
		if asks && a.What == httppoll.AskedPage {
			out.pages = append(out.pages, heard{asked: a, run: len(out.Runs), place: i})
		}
		what := a.What
		if !asks {
			what = "login"
		}
		polled.Requests = append(polled.Requests, Request{
			Place: i, Method: req.Method, URL: req.URL.String(), What: what, Status: c.Interactions[i].Response.Code,
		})
	}
	var mu sync.Mutex
	source, err := s.open(httppoll.Options{
		Transport: func(http.RoundTripper) http.RoundTripper { return player },
		Clock:     httppoll.Clock{Now: now.Now, Pause: now.Pause},
		Report:    waits.report,
		Hooks: httppoll.Hooks{Odd: func(what string, n int) {
			mu.Lock()
			defer mu.Unlock()
			out.Odd[what] += n
		}},
	})
	if err != nil {
		return nil, err
	}
	runs := c.Runs()
	if !at.IsZero() {
		runs[0].Clock = at.UTC()
	}
	for i := 0; i < len(runs); i++ {
		now.reach(runs[i].Clock)
		polled = &Polled{Clock: now.Now()}
		written := len(l.commits)
		err := s.poll(ctx, source, l)
		for _, commit := range l.commits[written:] {
			polled.Moves = append(polled.Moves, Move{commit.events, commit.cursor})
		}
		if m := player.Missing(); m != nil && err != nil {
			err = m
		}
		why, wait, again := waits.again(err, time.Second)
		polled.Error = why
		out.Runs = append(out.Runs, *polled)
		// What another tool recorded does not say where a run ends: each takes what it takes, while there is something left.
		left := player.Left()
		again = again && player.Missing() == nil && (runs[i].Unfinished || c.Recorded == nil && left >= 0)
		switch {
		case err != nil && !again:
			return s.finish(out, c, player, source, l), fmt.Errorf("run %d: %w", len(out.Runs), err)
		case c.Recorded != nil || left < 0 || len(polled.Requests) == 0 && !again:
		case again:
			runs = append(runs, cassette.Run{Clock: now.Now().Add(wait)})
		default:
			runs = append(runs, cassette.Run{Clock: cassette.Told(c.Interactions[left])})
		}
	}
	return s.finish(out, c, player, source, l), nil
}

func (s *Subject) finish(out *Replay, c *cassette.Cassette, player *cassette.Player, source *httppoll.Source, l *ledger) *Replay {
	out.raw, out.Unused = l.all(), player.Unused()
	records := map[int]int{}
	source, err := source.Anew(httppoll.Options{}) // whose hooks count nothing
	if err != nil {
		return out
	}
	for _, h := range out.pages {
		x := c.Interactions[h.place].Response
		if read, err := source.Read(h.asked.Partition, x.Headers, []byte(x.Body)); err == nil {
			records[h.place] = len(read.Records)
		}
	}
	for _, run := range out.Runs {
		for i, q := range run.Requests {
			if n, is := records[q.Place]; is {
				run.Requests[i].Records = &n
			}
		}
	}
	for _, raw := range out.raw {
		out.Events = append(out.Events, s.convert(raw)...)
	}
	return out
}

// convert makes events of a record, as the normalizer does.
func (s *Subject) convert(raw event.StoredRaw) []Event {
	dead := func(err error) []Event { return []Event{{ID: string(raw.ID), Dead: err.Error()}} }
	converter := s.converters[raw.Format]
	if converter == nil {
		return dead(fmt.Errorf("nothing converts the format %q", raw.Format))
	}
	converted, err := converter.Convert(raw.Raw)
	if err == nil && len(converted.Events) == 0 {
		err = errors.New("the converter made no event of it")
	}
	if err != nil {
		return dead(err)
	}
	var all []Event
	for _, e := range converted.Events {
		e.Provider, e.Source = s.Provider, s.Kind
		body, err := e.Encode()
		if err != nil {
			return dead(err)
		}
		all = append(all, Event{ID: e.MessageID, Type: e.EventType, Time: e.Timestamp.Time(), Body: body})
	}
	return all
}
