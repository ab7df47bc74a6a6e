package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	token   = "turnstile-secret"
	history = 2 * time.Hour
	past    = 720 // entries of the history: one every ten seconds
	maxPage = 100
)

// turnstile is an event service as there are many: it tells who went through which door. What it shows follows from the time
// alone, so that two copies of it that were started at the same moment tell the same.
type turnstile struct {
	began time.Time
	now   func() time.Time
	live  time.Duration // from one entry to the next since it began
	late  time.Duration // how much later than it happened an entry may show
	most  int           // requests in a second

	mu     sync.Mutex
	second int64
	asked  int // in that second
}

// entry is an element of the list.
type entry struct {
	UUID   string  `json:"uuid"`
	At     int64   `json:"at"`
	What   string  `json:"what"`
	Door   thing   `json:"door"`
	Person *thing  `json:"person,omitempty"`
	Badge  *string `json:"badge,omitempty"`

	seq   int
	shows time.Time // when it is in the list
}

type thing struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// when is the moment of an entry by its number: the history ends when the service begins, and goes on from there.
func (s *turnstile) when(seq int) time.Time {
	if seq < past {
		return s.began.Add(-history + time.Duration(seq)*history/past)
	}
	return s.began.Add(time.Duration(seq-past) * s.live)
}

// entry makes an entry by its number. One in seven was kept by a door that could not reach the service, and shows late; one in six
// happened in the same millisecond as the one before.
func (s *turnstile) entry(seq int) entry {
	at := s.when(seq)
	if seq%6 == 5 {
		at = s.when(seq - 1)
	}
	doors := []thing{{"d-1", "North gate"}, {"d-2", "Loading bay"}, {"d-3", "Server room"}}
	people := []thing{{"p-17", "Ann Meyer"}, {"p-4", "Bo Larsen"}, {"p-32", "Chidi Okafor"}, {"p-8", "Dana Ruiz"}}
	what := []string{"opened", "closed", "refused", "opened", "forced"}
	e := entry{
		UUID: fmt.Sprintf("0190%04x-7a3c-7000-8000-%012x", seq%0x10000, seq), At: at.UnixMilli(), What: what[seq%len(what)],
		Door: doors[seq%len(doors)], seq: seq, shows: at,
	}
	if e.What != "forced" { // nobody showed a badge
		person, badge := people[seq%len(people)], fmt.Sprintf("%06d", 4711*(seq%len(people)+1))
		e.Person, e.Badge = &person, &badge
	}
	if seq%7 == 3 {
		e.shows = at.Add(s.late)
	}
	return e
}

// list returns the entries after a moment and after a number that are in the list by now, in the order of their numbers.
func (s *turnstile) list(since time.Time, after, size int, want func(entry) bool) (page []entry, more bool) {
	now := s.now()
	for seq := after + 1; !s.when(seq).After(now); seq++ {
		e := s.entry(seq)
		if !time.UnixMilli(e.At).After(since) || e.shows.After(now) || !want(e) {
			continue
		}
		if len(page) == size {
			return page, true
		}
		page = append(page, e)
	}
	return page, false
}

// ServeHTTP answers what docs/add-an-event-service.md quotes of the documentation.
func (s *turnstile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.tooFast():
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "slow down")
		return
	case r.URL.Path != "/api/v2/activity":
		refuse(w, http.StatusNotFound, "no such resource")
		return
	case r.Header.Get("Authorization") != "Bearer "+token:
		refuse(w, http.StatusUnauthorized, "who are you?")
		return
	}
	query := r.URL.Query()
	size, after, since := 20, -1, time.Time{}
	if text := query.Get("page_size"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			refuse(w, http.StatusBadRequest, "page_size is a number from 1 to 100")
			return
		}
		size = n
	}
	if text := query.Get("since"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			refuse(w, http.StatusBadRequest, "since is a number of seconds")
			return
		}
		since = time.Unix(n, 0)
	}
	if text := query.Get("page_token"); text != "" {
		plain, err := base64.RawURLEncoding.DecodeString(text)
		if err == nil {
			after, err = strconv.Atoi(string(plain))
		}
		if err != nil || after < 0 {
			refuse(w, http.StatusBadRequest, "this page_token is none of ours")
			return
		}
	}
	page, more := s.list(since, after, size, func(e entry) bool { return query.Get("door") == "" || query.Get("door") == e.Door.ID })
	answer := map[string]any{"activity": map[string]any{"entries": append([]entry{}, page...)}}
	if more {
		answer["paging"] = map[string]string{"next": base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(page[len(page)-1].seq)))}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// tooFast counts the requests of a second.
func (s *turnstile) tooFast() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if second := s.now().Unix(); second != s.second {
		s.second, s.asked = second, 0
	}
	s.asked++
	return s.asked > s.most
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"message": message}})
}
