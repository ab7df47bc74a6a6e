package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"stackstream/collectors"
	"stackstream/event"
)

// serverName is what we say we are.
const serverName = "stackstream"

// handler answers requests:
//
//	who is it? ── header only ──► is anything at work? ──► read, within limits ──► signature ──► rate ──► decode ──► filter
//	   │ 401, 403                    │ 503                   │ 415, 413, 408, 503      │ 401       │ 429      │ 400       │
//	                                                                            answer ◄── stored, or not known ◄── a source
//
// Nothing of a sender that is not known is read but the header, and where that can't tell, no more than limits.body.
type handler struct {
	*front
	guard    *guard
	verifier *verifier // nil without signatures
	format   format
	filter   *collectors.Filter
	rate     *rate.Limiter // nil without a limit
}

// newHandler reads the files that the configuration names.
func newHandler(f *front) (*handler, error) {
	h := &handler{front: f}
	var err error
	if h.guard, err = newGuard(f.cfg); err != nil {
		return nil, err
	}
	if f.cfg.Auth.HMAC != nil {
		if h.verifier, err = newVerifier(*f.cfg.Auth.HMAC); err != nil {
			return nil, err
		}
	}
	if h.format, err = newFormat(f.cfg, f.opts); err != nil {
		return nil, err
	}
	if h.filter, err = collectors.NewFilter(f.cfg.EventTypes); err != nil {
		return nil, &event.Error{Kind: event.Invalid, Op: "read event_types", Err: err}
	}
	if n := f.cfg.Limits.Rate; n > 0 {
		h.rate = rate.NewLimiter(rate.Limit(n), n)
	}
	return h, nil
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	w.Header().Set("Server", serverName)
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		if r.URL.Path == h.cfg.Path {
			h.ask(w, r)
			return
		}
	}
	done, refused := h.safely(w, r)
	switch {
	case refused != nil:
		h.said(refused.reason, began)
		h.refuse(w, r, refused)
		return
	case done.again:
		h.opts.Hooks.again()
	default:
		h.said("", began)
	}
	answer(w, http.StatusOK, map[string]any{"accepted": done.events})
}

// outcome is what a request had that is answered with success.
type outcome struct {
	events int
	again  bool // it was posted with the same signature before, and is stored since
}

func (h *handler) said(reason string, began time.Time) {
	if h.opts.Hooks.Answered != nil {
		h.opts.Hooks.Answered(reason, time.Since(began))
	}
}

// safely is post, whatever is in the request.
func (h *handler) safely(w http.ResponseWriter, r *http.Request) (done outcome, refused *refusal) {
	defer func() {
		if v := recover(); v != nil {
			h.opts.Log.Error().Bytes("stack", debug.Stack()).Msg("reading what was posted panicked")
			refused = &refusal{status: http.StatusBadRequest, reason: reasonInvalid, text: "it can't be read"}
		}
	}()
	return h.post(w, r)
}

// ask answers load balancers, and services that ask before they post whether they may.
func (h *handler) ask(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("WebHook-Request-Origin"); r.Method == http.MethodOptions && origin != "" {
		w.Header().Set("WebHook-Allowed-Origin", origin)
		w.Header().Set("WebHook-Allowed-Rate", "*")
	}
	w.Header().Set("Allow", "POST, GET, HEAD, OPTIONS")
	if refused := h.closed(); refused != nil && r.Method != http.MethodOptions {
		w.Header().Set("Retry-After", seconds(retryAfter))
		answer(w, refused.status, map[string]any{"error": refused.text})
		return
	}
	answer(w, http.StatusOK, map[string]any{"status": "ready"})
}

// closed is what becomes of all requests while nothing is taken, nil while something is.
func (h *handler) closed() *refusal {
	switch {
	case !h.works():
		return &refusal{status: http.StatusServiceUnavailable, reason: reasonIdle, later: true, text: noSource}
	case h.full():
		return &refusal{status: http.StatusServiceUnavailable, reason: reasonFull, later: true, text: h.cfg.rememberedAll()}
	}
	return nil
}

const noSource = "no source is at work in this process: it stands by, was paused, or something it needs fails"

// refuse answers what was not taken. The connection ends: there is no telling what is on its way on it.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	w.Header().Set("Connection", "close")
	if why.later && h.cfg.Refuse == refuseDisconnect {
		panic(http.ErrAbortHandler)
	}
	if why.later {
		w.Header().Set("Retry-After", seconds(retryAfter))
	}
	switch why.status {
	case http.StatusUnauthorized:
		h.guard.challenge(w.Header())
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "POST, GET, HEAD, OPTIONS")
	}
	body := map[string]any{"error": why.text}
	if why.field != "" {
		body["field"] = why.field
	}
	answer(w, why.status, body)
}

func seconds(d time.Duration) string { return strconv.Itoa(int(max(d, time.Second) / time.Second)) }

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who is gone needs no answer
}

// busy is what becomes of a request that there is no room for.
func busy() *refusal {
	return &refusal{
		status: http.StatusServiceUnavailable, reason: reasonBusy, later: true, text: "more was posted than can be stored at once",
	}
}

// unsettled is what becomes of a request whose source ended before it knew.
func unsettled() *refusal {
	return &refusal{
		status: http.StatusServiceUnavailable, reason: reasonUnsettled, later: true, text: "it is not known whether it is stored",
	}
}

// tooLate is what becomes of a request that waits for too long.
func tooLate() *refusal {
	return &refusal{
		status: http.StatusServiceUnavailable, reason: reasonLate, later: true, text: "it was not stored in time, and may be yet",
	}
}

// post takes one request, and returns what it had once that is stored.
func (h *handler) post(w http.ResponseWriter, r *http.Request) (done outcome, _ *refusal) {
	switch {
	case r.URL.Path != h.cfg.Path:
		return done, &refusal{status: http.StatusNotFound, reason: reasonElsewhere, text: "events are posted to another path"}
	case r.Method != http.MethodPost:
		return done, &refusal{status: http.StatusMethodNotAllowed, reason: reasonElsewhere, text: "events are posted: the method is POST"}
	}
	if refused := h.guard.check(r); refused != nil {
		return done, refused
	}
	if refused := h.closed(); refused != nil {
		return done, refused
	}
	tooLarge := &refusal{status: http.StatusRequestEntityTooLarge, reason: reasonTooLarge, text: fmt.Sprintf(
		"a request may have %d bytes (limits.body)", h.cfg.Limits.Body)}
	if r.ContentLength > h.cfg.Limits.Body {
		return done, tooLarge
	}
	if refused := h.cfg.checkContent(r.Header); refused != nil {
		return done, refused
	}
	unpack, refused := unpacker(r.Header)
	if refused != nil {
		return done, refused
	}
	control := http.NewResponseController(w)
	reader := h.room.enter(r.Context(), h.conns.from(r.Context()), func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	if reader == nil {
		return done, busy()
	}
	defer reader.leave()
	h.conns.knows(r.Context())
	body, refused := reader.read(r.Context(), r.Body, h.cfg.Limits.Body, tooLarge)
	if refused != nil {
		return done, refused
	}
	reader.whole()
	_ = control.SetReadDeadline(time.Time{}) // from here on it is us who take time
	// A sender that closes its side may be gone, and may as well wait for the answer: its events are stored in either case.
	defer context.AfterFunc(r.Context(), func() { h.conns.closes(r.Context()) })()
	return h.take(r, body, unpack, reader, tooLarge)
}

// take takes a request that was read.
func (h *handler) take(
	r *http.Request, body []byte, unpack unpacking, reader *reader, tooLarge *refusal,
) (done outcome, refused *refusal) {
	if h.verifier == nil {
		done.events, refused = h.store(r, body, unpack, reader, tooLarge)
		return done, refused
	}
	name, refused := h.verifier.check(r.Header, body, time.Now())
	if refused != nil {
		return done, refused
	}
	entry, first := h.verifier.taken.begin(name, time.Now())
	if !first {
		reader.leave()
		return h.again(entry)
	}
	stored := false
	defer func() { h.verifier.taken.end(entry, done.events, stored) }()
	done.events, refused = h.store(r, body, unpack, reader, tooLarge)
	stored = refused == nil
	return done, refused
}

// again answers what was posted before as the first time is answered, or would be: that sender may not have heard of it, and
// nobody else gets anything by it.
func (h *handler) again(first *takenAt) (outcome, *refusal) {
	late := time.NewTimer(h.cfg.Limits.AnswerTime)
	defer late.Stop()
	select {
	case <-first.ended:
	case <-late.C:
		return outcome{}, tooLate()
	}
	if !first.stored {
		return outcome{}, unsettled()
	}
	return outcome{events: first.events, again: true}, nil
}

// store decodes a request and waits until its events are stored.
func (h *handler) store(r *http.Request, body []byte, unpack unpacking, reader *reader, tooLarge *refusal) (int, *refusal) {
	if h.rate != nil && !h.rate.Allow() {
		return 0, &refusal{status: http.StatusTooManyRequests, reason: reasonRate, later: true, text: fmt.Sprintf(
			"%d requests a second are taken (limits.rate)", h.cfg.Limits.Rate)}
	}
	if unpack != nil {
		unpacked, refused := reader.unpack(r.Context(), unpack, body, h.cfg.Limits.Body, tooLarge)
		if refused != nil {
			return 0, refused
		}
		return h.decoded(r, unpacked, reader)
	}
	return h.decoded(r, body, reader)
}

func (h *handler) decoded(r *http.Request, body []byte, reader *reader) (int, *refusal) {
	kind, charset := media(r.Header.Get("Content-Type"))
	m := &memory{limits: h.cfg.Limits, more: func(n int64) *refusal { return reader.grant(r.Context(), n) }}
	events, refused := h.format.decode(posted{header: r.Header, kind: kind, charset: charset, body: body, memory: m})
	if refused != nil {
		return 0, refused
	}
	reader.giveBack(m.excess())
	d := &delivery{fate: make(chan bool, 1)}
	for i := range events {
		if h.filter.Keep(events[i].eventType) {
			d.events = append(d.events, events[i].Raw)
		}
	}
	d.filtered = len(events) - len(d.events)
	if len(d.events) == 0 {
		if d.filtered > 0 {
			h.offer(d) // only to be counted
		}
		return 0, nil
	}
	if !reader.wait() {
		return 0, busy()
	}
	return len(d.events), h.await(d, reader)
}

// await waits for what becomes of a request. Its memory is given back only then, also where it was answered before.
func (h *handler) await(d *delivery, reader *reader) *refusal {
	held := reader.handOver()
	if !h.offer(d) {
		held.leave()
		return &refusal{status: http.StatusServiceUnavailable, reason: reasonIdle, later: true, text: noSource}
	}
	fate := make(chan bool, 1)
	go func() {
		stored := <-d.fate
		held.leave()
		fate <- stored
	}()
	late := time.NewTimer(h.cfg.Limits.AnswerTime)
	defer late.Stop()
	select {
	case stored := <-fate:
		if stored {
			return nil
		}
		return unsettled()
	case <-late.C:
		return tooLate()
	}
}

// readStep is what memory is taken for at once: a sender holds no more than twice what it has sent, and this.
const readStep = 32 << 10

// read reads all there is, and takes memory for it.
func (r *reader) read(ctx context.Context, from io.Reader, most int64, tooLarge *refusal) ([]byte, *refusal) {
	var body []byte
	for {
		if cap(body)-len(body) < readStep/2 && int64(cap(body)) <= most {
			step := min(max(int64(cap(body)), readStep), most+1-int64(cap(body)))
			if !r.take(ctx, step) {
				return nil, busy()
			}
			grown := make([]byte, len(body), int64(cap(body))+step)
			copy(grown, body)
			body = grown
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > most:
			return nil, tooLarge
		case err == io.EOF:
			return body, nil
		case err != nil && r.gone():
			return nil, busy()
		case err != nil:
			return nil, &refusal{
				status: http.StatusRequestTimeout, reason: reasonCut, later: true, text: "it did not come whole, or not in time",
			}
		}
	}
}
