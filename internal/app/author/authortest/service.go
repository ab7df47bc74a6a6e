// Package authortest has a stand-in for an event service that asks who one is in every way there is and shows its events in
// pages of every kind.
package authortest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Secrets are what the service knows one by.
const (
	Password = "pass/word+correct=horse"
	Key      = "key-8d2f\"<9a1c>&x"
	Token    = "tok-0123456789abcdef"
	Cookie   = "sid-fedcba9876543210"
)

// All are all of them, and what an event has that services should not send.
func All() []string { return []string{Password, Key, Token, Cookie, operators} }

const operators = "an-operators-secret"

// Service is an event service. Its fields may be changed before it is asked.
type Service struct {
	// Auth: none, bearer, basic, header, query, oauth2, keystone, or a login whose token goes back in a header (session), the query
	// (session-query) or a cookie (session-cookie).
	Auth string
	// Paging: none, page, offset, token, next_url, link_header, marker.
	Paging string
	// Descending shows the newest first.
	Descending bool
	// Details says that there is more of each event at its own address, Regions that it has parts, which it lists.
	Details bool
	Regions []string
	// Size of a page.
	Size int

	mu     sync.Mutex
	events []Event
	asked  int
}

// Event is one of the service.
type Event struct {
	ID      string    `json:"id"`
	N       int       `json:"n"`
	Created time.Time `json:"created"`
	Kind    string    `json:"kind"`
	By      struct {
		User string `json:"user"`
	} `json:"by"`
	Server string `json:"server"`
	// Password is what services should not send, and do.
	Password string `json:"password,omitempty"`
}

// New has so many events, one each second from a time on.
func New(n int, from time.Time) *Service {
	s := &Service{Auth: "bearer", Paging: "marker", Size: 10}
	for range n {
		s.Put(from.Add(time.Duration(len(s.events)) * time.Second))
	}
	return s
}

// Put adds an event of a time.
func (s *Service) Put(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.events) + 1
	e := Event{ID: fmt.Sprintf("e-%03d", n), N: n, Created: at.UTC(), Kind: "server.created", Server: fmt.Sprintf("s-%d", n)}
	e.By.User = "ann"
	if n%2 == 0 {
		e.Kind = "server.deleted"
	}
	s.events = append(s.events, e)
}

// Events are all of them.
func (s *Service) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Asked is how often the service was asked for events.
func (s *Service) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/token":
		s.token(w, r)
	case "/v3/auth/tokens":
		s.keystone(w, r)
	case "/login":
		s.login(w, r)
	case "/v1/events", "/v1/regions", "/v1/detail":
		if !s.knows(r) {
			http.Error(w, `{"error": "who are you?"}`, http.StatusUnauthorized)
			return
		}
		s.tell(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *Service) tell(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/events":
		s.answer(w, r)
	case "/v1/regions":
		write(w, map[string]any{"regions": s.Regions})
	case "/v1/detail":
		write(w, map[string]any{"of": r.URL.Query().Get("id"), "words": "more of it", "seen": s.secret()})
	}
}

func (s *Service) login(w http.ResponseWriter, r *http.Request) {
	var body struct{ User, Pass string }
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		_ = json.NewDecoder(r.Body).Decode(&body)
	} else {
		body.User, body.Pass = r.PostFormValue("user"), r.PostFormValue("pass")
	}
	if body.User != "ann" || body.Pass != Password {
		http.Error(w, `{"error": "no"}`, http.StatusUnauthorized)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "sid", Value: Token, Path: "/", HttpOnly: true})
	write(w, map[string]any{"session": map[string]any{"sid": Token, "lives": 3600}})
}

func (s *Service) knows(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	switch s.Auth {
	case "basic":
		return user == "ann" && password == Password
	case "header":
		return r.Header.Get("X-Key") == "key="+Key
	case "query":
		return r.URL.Query().Get("k") == Key
	case "session":
		return r.Header.Get("X-Session") == "sid="+Token
	case "session-query":
		return r.URL.Query().Get("s") == Token
	case "session-cookie":
		c, err := r.Cookie("sid")
		return err == nil && c.Value == Token
	case "keystone":
		return r.Header.Get("X-Auth-Token") == Token
	case "bearer", "oauth2":
		return r.Header.Get("Authorization") == "Bearer "+Token
	}
	return true
}

// secret is what the service knows one by; services repeat it where nobody thinks of it.
func (s *Service) secret() string {
	switch s.Auth {
	case "none":
		return ""
	case "basic":
		return Password
	case "header", "query":
		return Key
	}
	return Token
}

func (s *Service) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if id == "" {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	} else {
		secret, _ = url.QueryUnescape(secret)
	}
	if id != "stackstream" || secret != Password {
		http.Error(w, `{"error": "invalid_client"}`, http.StatusUnauthorized)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "sid", Value: Cookie, Path: "/"})
	write(w, map[string]any{"access_token": Token, "token_type": "Bearer", "expires_in": 3600, "refresh_token": Key})
}

func (s *Service) keystone(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Auth struct {
			Identity struct {
				Password struct {
					User struct {
						Password string `json:"password"`
					} `json:"user"`
				} `json:"password"`
			} `json:"identity"`
		} `json:"auth"`
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || body.Auth.Identity.Password.User.Password != Password {
		http.Error(w, `{"error": {"message": "no"}}`, http.StatusUnauthorized)
		return
	}
	w.Header().Set("X-Subject-Token", Token)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
		"issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2026-01-01T01:00:00.000000Z", "roles": []any{},
	}})
}

// shown are the events that a request is answered with.
func (s *Service) shown(query url.Values) []Event {
	all := slices.Clone(s.events)
	if from, err := time.Parse(time.RFC3339Nano, query.Get("time_from")); err == nil {
		all = slices.DeleteFunc(all, func(e Event) bool { return e.Created.Before(from) })
	}
	if until, err := time.Parse(time.RFC3339Nano, query.Get("time_to")); err == nil {
		all = slices.DeleteFunc(all, func(e Event) bool { return !e.Created.Before(until) })
	}
	if region := query.Get("region"); region != "" {
		at := slices.Index(s.Regions, region)
		all = slices.DeleteFunc(all, func(e Event) bool { return e.N%len(s.Regions) != at })
	}
	slices.SortStableFunc(all, func(a, b Event) int {
		if s.Descending {
			a, b = b, a
		}
		return a.Created.Compare(b.Created)
	})
	return all
}

func (s *Service) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	query := r.URL.Query()
	all := s.shown(query)
	start := 0
	switch s.Paging {
	case "none":
		s.Size = len(all)
	case "page":
		n, _ := strconv.Atoi(query.Get("page"))
		start = max(n-1, 0) * s.Size
	case "marker":
		if after := query.Get("after"); after != "" {
			start = 1 + slices.IndexFunc(all, func(e Event) bool { return e.ID == after })
		}
	default:
		start, _ = strconv.Atoi(strings.TrimPrefix(query.Get("token"), "position-"))
	}
	start = min(start, len(all))
	end := min(start+s.Size, len(all))
	page := append([]Event{}, all[start:end]...)
	if start == 0 && len(page) > 0 {
		page[0].Password = operators
	}
	body := map[string]any{"events": page, "more": end < len(all), "seen": s.secret() + " of " + r.URL.RequestURI()}
	if end < len(all) {
		query.Set("token", "position-"+strconv.Itoa(end))
		next := r.URL.Path + "?" + query.Encode()
		switch s.Paging {
		case "token":
			body["token"] = "position-" + strconv.Itoa(end)
		case "next_url":
			body["next"] = next
		case "link_header":
			w.Header().Set("Link", "<"+next+`>; rel="next"`)
		}
	}
	http.SetCookie(w, &http.Cookie{Name: "sid", Value: Cookie, Path: "/"})
	write(w, body)
}

func write(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
