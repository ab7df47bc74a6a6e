// Package standin is an OpenStack on loopback that has the two services which the event collector talks to: Keystone,
// version 3, and Panko, version 2, or Ceilometer's older API in its place. It speaks real HTTP and serves recorded events with
// fresh ids and times.
//
// It is strict where the real services are, so that a client which gets on with it gets on with them: a request without
// a token is refused, a token expires, an operator or an argument that Panko does not know is an error with Panko's
// words, and the quirks are kept (an unknown marker is a 500, an unknown field is a trait that no event has, all_tenants
// counts for an administrator only). Faults can be added: errors, delays, short pages, events that show late.
//
// It is for the demo and for tests. It keeps everything in memory and answers anybody who knows the password.
package standin

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options say what the stand-in is like. The zero Options are an OpenStack with the Admin account and no events.
type Options struct {
	// Accounts that Keystone knows; Admin alone if there is none.
	Accounts []Account
	// Region of the catalogue's endpoints, RegionOne if empty.
	Region string
	// NoEventService leaves Panko, or Ceilometer, out of the catalogue.
	NoEventService bool
	// Ceilometer has its own events API, as in the release Newton, in place of Panko's.
	Ceilometer bool
	// MovedTo is where Ceilometer sends everybody, because Panko is there.
	MovedTo string
	// MaxLimit, if not 0, is the most events that an answer has, whatever is asked for.
	MaxLimit int
	// TokenLife is how long a token is good, an hour if 0.
	TokenLife time.Duration
	// Seed makes ids and faults repeatable; 0 takes another each time.
	Seed uint64

	// Run puts Burst events at once, with times over the last minute, and then Rate events a second. One in LateOneIn
	// (0: none) shows up to Lateness after its time.
	Burst     int
	Rate      float64
	LateOneIn int
	Lateness  time.Duration
}

// Faults are what goes wrong. The zero Faults are none.
type Faults struct {
	// ErrorRate is the share of requests to Panko that are answered with a 500.
	ErrorRate float64
	// Delay before each answer of Panko.
	Delay time.Duration
	// ShortPages makes pages end early, though more events follow.
	ShortPages bool
	// Unordered makes a page any of the events that were asked for, in no order.
	Unordered bool
}

// Service is the stand-in. It is an http.Handler and safe for concurrent use.
type Service struct {
	opts      Options
	templates []Event
	events    store

	mu        sync.Mutex
	random    *rand.Rand
	tokens    map[string]token
	faults    Faults
	intercept func(http.ResponseWriter, *http.Request) bool
	made      int // events made by Generate
}

// New makes a stand-in. Run makes it produce events.
func New(opts Options) *Service {
	if len(opts.Accounts) == 0 {
		opts.Accounts = []Account{Admin()}
	}
	if opts.Region == "" {
		opts.Region = "RegionOne"
	}
	if opts.TokenLife == 0 {
		opts.TokenLife = time.Hour
	}
	if opts.Seed == 0 {
		opts.Seed = rand.Uint64()
	}
	templates := RecordedEvents()
	if opts.Ceilometer {
		templates = RecordedCeilometerEvents()
	}
	return &Service{opts: opts, templates: templates, random: rand.New(rand.NewPCG(opts.Seed, 1)), tokens: map[string]token{}}
}

// SetFaults replaces the faults.
func (s *Service) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Intercept shows every request to look first. If it returns true it has answered. nil ends it.
func (s *Service) Intercept(look func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = look
}

// ServeHTTP is Keystone below /v3, and Panko or Ceilometer below /v2.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	look := s.intercept
	s.mu.Unlock()
	if look != nil && look(w, r) {
		return
	}
	switch path := r.URL.Path; {
	case path == "/" || path == "/v3" || strings.HasPrefix(path, "/v3/"):
		s.serveKeystone(w, r)
	default:
		s.servePanko(w, r)
	}
}

// shuffle puts events in no order.
func (s *Service) shuffle(events []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
}

// roll returns a random number from 0 to below 1.
func (s *Service) roll() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64()
}

func (s *Service) currentFaults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}
