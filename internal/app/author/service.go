package author

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"stackstream/collectors/httppoll"
	"stackstream/internal/cassette"
)

// service answers as a model says, and misbehaves once.
type service struct {
	model  *model
	others *cassette.Player // what is not a page is answered as it was
	clock  *clock
	told   []time.Time // the times of the runs
	kill   func()      // the process that asks
	waits  waiting
	before func(run int) int

	mu       sync.Mutex
	world    world
	fault    *fault
	sessions map[string]*session
	served   map[string]sheet // last, by partition
	log      []asking
	injected bool // the fault was
	expired  bool // whoever asks has to log in again
}

// asking is a request that was made.
type asking struct {
	method, url string
	login       bool
	page        bool
	asked       httppoll.Asked
	before      sheet // the page before it
	sheet       sheet
	chain       *chain
}

// fault is what goes wrong with a request, or with so many from one on.
type fault struct {
	kind  *kind
	at    int
	times int

	run  int   // for those of a run
	unit *unit // for those of a record
}

func (f *fault) hits(i int) bool {
	return f != nil && f.kind.request && i >= f.at && i < f.at+max(f.times, 1)
}

var errConnection = errors.New("connection reset by peer")

// RoundTrip implements http.RoundTripper.
func (s *service) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, context.Cause(req.Context())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, asks := httppoll.AskedOf(req.Context())
	i := len(s.log)
	page := asks && a.What == httppoll.AskedPage
	s.log = append(s.log, asking{method: req.Method, url: req.URL.String(), login: !asks, page: page, asked: a})
	word := ""
	if s.fault.hits(i) {
		word = s.fault.kind.name
	}
	s.injected = s.injected || word != ""
	switch word {
	case faultKilled:
		s.kill()
		return nil, context.Canceled
	case faultDown:
		return nil, errConnection
	case fault500:
		return refuse(req, http.StatusInternalServerError, ""), nil
	case fault429, fault429Long:
		return refuse(req, http.StatusTooManyRequests, "900"), nil
	case fault429Date:
		return refuse(req, http.StatusTooManyRequests, s.clock.Now().Add(2*time.Minute).UTC().Format(http.TimeFormat)), nil
	case fault401:
		s.expired = true
	}
	if !asks {
		s.expired = false
	}
	if s.expired {
		// Who can't log in again was refused by mistake.
		s.expired = s.model.config.Auth.Renews()
		return refuse(req, http.StatusUnauthorized, ""), nil
	}
	if !page {
		s.others.Limit = s.before(s.world.run)
		resp, err := s.others.RoundTrip(req)
		if err != nil || word == "" {
			return resp, err
		}
		return spoil(word, resp)
	}
	sh, ok := s.page(a)
	if ok && word == faultDoubled && a.Page > 0 && s.sessions[a.Partition].shift(a) {
		sh, ok = s.page(a)
		word = ""
	}
	if !ok {
		return refuse(req, http.StatusBadRequest, ""), nil
	}
	entry := &s.log[i]
	entry.before, entry.sheet, entry.chain = s.served[a.Partition], sh, s.sessions[a.Partition].chain
	if word != "" && !s.fault.kind.fits(s.model.config, *entry) {
		s.fault.at, word, s.injected = i+1, "", false // what is asked depends on what was answered: it happens to the next one that it may
	}
	sh = distort(word, sh, entry)
	s.served[a.Partition] = sh
	resp := s.response(req, sh)
	return spoil(word, resp)
}

// spoil has an answer arrive otherwise than it was sent.
func spoil(word string, resp *http.Response) (*http.Response, error) {
	switch word {
	case faultHTML:
		resp.Header = http.Header{"Content-Type": {"text/html"}}
		resp.Body = io.NopCloser(bytes.NewReader([]byte("<!DOCTYPE html>\n<html><body><form>Log in, please</form></body></html>\n")))
		resp.ContentLength = -1
	case faultCut:
		whole, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), broken{}))
	}
	return resp, nil
}

// distort is a page that is not as it should be.
func distort(word string, sh sheet, entry *asking) sheet {
	before := entry.before
	switch word {
	case faultTwice:
		return before
	case faultDoubled:
		n := len(before.units)
		return sheet{sh.like, slices.Concat(before.units[n-1:], sh.units)}
	case faultBack:
		return sheet{entry.chain.pages[0], sh.units}
	}
	return sh
}

// page is the page that is asked for.
func (s *service) page(a httppoll.Asked) (sheet, bool) {
	session := s.sessions[a.Partition]
	for s.world.run+1 < len(s.told) && !s.told[s.world.run+1].After(s.clock.Now()) {
		s.world.run++ // the world does not wait for us
	}
	if a.Page == 0 || session == nil {
		session = s.model.open(a.Partition, a, s.world, nil)
		if session == nil {
			return sheet{}, false
		}
		s.sessions[a.Partition] = session
		delete(s.served, a.Partition)
	}
	sh, ok := session.find(a)
	if ok {
		return sh, true
	}
	for _, c := range s.model.parts[a.Partition].chains {
		if !slices.ContainsFunc(c.pages, func(l *leaf) bool { return a.Value != "" && l.value == a.Value }) {
			continue
		}
		session = s.model.open(a.Partition, a, s.world, c)
		if sh, ok = session.find(a); ok {
			s.sessions[a.Partition] = session
			return sh, true
		}
	}
	return sheet{}, false
}

// response is the answer with a page, told now.
func (s *service) response(req *http.Request, sh sheet) *http.Response {
	body, header, status := sh.body(), sh.like.header.Clone(), sh.like.status
	header.Del("Content-Length")
	header.Del("Content-Encoding")
	if at, err := http.ParseTime(header.Get("Date")); err == nil {
		skew := at.Sub(s.told[sh.like.chain.run])
		header.Set("Date", s.clock.Now().Add(skew).UTC().Format(http.TimeFormat))
	}
	if !bytes.Equal(body, sh.like.body) {
		header.Del("ETag")
	} else if tag := header.Get("ETag"); tag != "" && tag == req.Header.Get("If-None-Match") {
		body, status = nil, http.StatusNotModified
	}
	return &http.Response{
		Status: strconv.Itoa(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

func refuse(req *http.Request, status int, after string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	if after != "" {
		h.Set("Retry-After", after)
	}
	return &http.Response{
		Status: strconv.Itoa(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(bytes.NewReader([]byte(`{"error": "injected"}`))), ContentLength: -1, Request: req,
	}
}

// broken is a connection that is lost.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
