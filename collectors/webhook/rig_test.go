package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/jetstream/jetstreamtest"
)

const cloud event.Provider = "cloud"

// rig is a front with one source at work over a model of the stream.
type rig struct {
	cfg   Config
	front *front
	log   *collectorstest.Log
	url   string

	mu      sync.Mutex
	refused map[string]int // requests, by reason
	again   int            // those that were known by their signature
	pending int            // requests, as was said last
	memory  int64
	trouble string // as was reported last
	end     func() // ends the source
	ended   chan struct{}
}

func options(listens func(net.Addr)) Options {
	return Options{
		CeilometerFormat: "ceilometer", CloudEventsFormat: "cloudevents", JSONFormat: "webhook/cloud", Began: time.Now(),
		Log: zerolog.Nop(), Listens: listens,
	}
}

// config is for a format, on a port that the system chooses.
func config(format string, change func(*Config)) Config {
	c := Default()
	c.Listen, c.Format = "127.0.0.1:0", format
	if format == formatJSON {
		c.Event.ID, c.Event.Type = "rec.id", "rec.type"
	}
	if change != nil {
		change(&c)
	}
	return c
}

func newRig(t *testing.T, format string, change func(*Config)) *rig {
	t.Helper()
	r := &rig{cfg: config(format, change), log: collectorstest.NewLog(), refused: map[string]int{}}
	if found := r.cfg.Validate(); len(found) > 0 {
		t.Fatalf("the configuration is wrong: %v", found)
	}
	at := make(chan net.Addr, 1)
	opts := options(func(a net.Addr) { at <- a })
	opts.Hooks.Answered = func(reason string, _ time.Duration) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refused[reason]++
	}
	opts.Hooks.Again = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.again++
	}
	opts.Hooks.Pending = func(requests int, bytes int64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pending, r.memory = requests, bytes
	}
	r.front = newFront(r.cfg, opts)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { r.front.serve(ctx) })
	t.Cleanup(func() { r.stop(); cancel(); serving.Wait() })
	scheme := "http"
	if r.cfg.TLS.CertFile != "" {
		scheme = "https"
	}
	select {
	case a := <-at:
		r.url = scheme + "://" + a.String() + r.cfg.Path
	case <-time.After(10 * time.Second):
		t.Fatalf("it does not listen: %v", r.front.err)
	}
	r.start(t)
	return r
}

// start has a source at work.
func (r *rig) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.end, r.ended = cancel, make(chan struct{})
	r.report(false, "")
	loop := &collectors.Loop{
		Provider: cloud, Name: Kind, Spec: r.cfg.Spec(),
		Source: &Source{cfg: r.cfg, front: r.front, beat: 50 * time.Millisecond, report: r.report},
		Writer: r.log.NewWriter(cloud, Kind, event.Fence{}), Memory: r.log, Log: zerolog.Nop(),
	}
	go func() {
		defer close(r.ended)
		for ctx.Err() == nil {
			if loop.Run(ctx) != nil {
				<-time.After(10 * time.Millisecond)
			}
		}
	}()
	for !r.front.works() {
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("no source is at work")
		}
	}
}

func (r *rig) report(trouble bool, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble = ""; trouble {
		r.trouble = what
	}
}

// reported is what a source said last that keeps it from being ready.
func (r *rig) reported() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}

// told is what was said last of what is pending.
func (r *rig) told() (requests int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending, r.memory
}

func (r *rig) stop() {
	if r.end != nil {
		r.end()
		<-r.ended
		r.end = nil
	}
}

// stall has nothing stored until what it returns is called: true stores what waits, false refuses it, and ends the source so.
func (r *rig) stall(t *testing.T) (end func(store bool)) {
	t.Helper()
	r.stop()
	ended := make(chan struct{})
	var stores bool
	r.log.Fault = func(ctx context.Context, events []event.Raw, _ event.Progress) (bool, error) {
		if len(events) == 0 {
			return true, nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if stores {
			return true, nil
		}
		stores = true // what comes then
		return false, &event.Error{Kind: event.Invalid, Op: "commit", Err: errors.New("it is refused")}
	}
	r.start(t)
	return func(store bool) {
		stores = store
		close(ended)
	}
}

// used says what is taken.
func (m *room) used() (bytes int64, pending int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all - m.bytes, m.most - m.pending
}

// waiting waits until so many requests wait to be stored.
func (r *rig) waiting(t *testing.T, n int) {
	t.Helper()
	jetstreamtest.Eventually(t, fmt.Sprint(n, " requests to wait"), func() bool {
		_, pending := r.front.room.used()
		return pending == n
	})
}

// reasons is how many requests were refused for a reason.
func (r *rig) reasons(reason string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused[reason]
}

// repeated is how many were known by their signature.
func (r *rig) repeated() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.again
}

// said is an answer.
type said struct {
	status int
	header http.Header
	Error  string `json:"error"`
	Field  string `json:"field"`
	N      int    `json:"accepted"`
}

func (s said) String() string { return fmt.Sprintf("%d %s %s", s.status, s.Field, s.Error) }

// post posts a body, with headers as name and value in turn.
func (r *rig) post(t testing.TB, body []byte, headers ...string) said {
	t.Helper()
	s, err := postTo(t.Context(), http.DefaultClient, r.url, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func postTo(ctx context.Context, client *http.Client, url string, body []byte, headers ...string) (s said, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return s, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	req.Host = req.Header.Get("Host")
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	s.status, s.header = resp.StatusCode, resp.Header
	return s, err
}

// ceilometerBody is a list of events with ids, as the agent posts it.
func ceilometerBody(ids ...event.ID) []byte {
	var all []map[string]any
	for _, id := range ids {
		all = append(all, map[string]any{
			"message_id": id, "event_type": "compute.instance.update", "generated": "2026-11-22T05:42:45.672012",
			"traits": []any{[]any{"service", 1, "compute.h1"}}, "raw": map[string]any{},
		})
	}
	body, _ := json.Marshal(all)
	return body
}
