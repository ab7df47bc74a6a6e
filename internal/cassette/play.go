package cassette

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"

	vcr "gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"
)

// Player answers from a cassette: each request with the first answer to such a request that was not given yet. Requests are
// compared by method, URL and body; what was redacted is like anything. It is safe for concurrent use.
type Player struct {
	Cassette *Cassette
	// Login tells whether a request only proves who we are. Such a one is answered again and again, and whatever it says.
	Login func(*http.Request) bool
	// Ignore are names of parameters of the query that prove who we are.
	Ignore []string
	// Again answers a request once more that was answered before: with the last such answer before Limit, or else the first.
	Again bool
	Limit int
	// Played is called with each answer that is given, by its place in the cassette.
	Played func(i int, req *http.Request)

	mu      sync.Mutex
	played  map[int]bool
	missing *Missing
}

// Missing is a request that the cassette does not have.
type Missing struct {
	Method, URL string
	// Nearest is the place of the one most like it that was not answered yet, -1 if there is none; Differs says how it differs.
	Nearest    int
	NearestURL string
	Differs    []string
}

func (m *Missing) Error() string {
	if m.Nearest < 0 {
		return fmt.Sprintf("the cassette has no answer left to %s %s", m.Method, m.URL)
	}
	return fmt.Sprintf("the cassette has no answer to %s %s; nearest is request %d, %s: %s", m.Method, m.URL, m.Nearest, m.NearestURL,
		strings.Join(m.Differs, "; "))
}

// Missing is the first request that the cassette did not have.
func (p *Player) Missing() *Missing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.missing
}

// Left is the place of the first answer that was not given yet, -1 if there is none.
func (p *Player) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.Cassette.Interactions {
		if !p.played[i] {
			return i
		}
	}
	return -1
}

// Unused is how many answers were not given.
func (p *Player) Unused() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.Cassette.Interactions) - len(p.played)
}

// RoundTrip implements http.RoundTripper.
func (p *Player) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	body, err := take(req)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.find(req, body)
	if i < 0 {
		m := p.nearest(req, body)
		if p.missing == nil {
			p.missing = m
		}
		return nil, m
	}
	if p.played == nil {
		p.played = map[int]bool{}
	}
	p.played[i] = true
	if p.Played != nil {
		p.Played(i, req)
	}
	return answer(req, &p.Cassette.Interactions[i].Response), nil
}

func (p *Player) find(req *http.Request, body string) int {
	login, last := p.Login(req), -1
	for i, x := range p.Cassette.Interactions {
		switch {
		case !p.answers(&x.Request, req, body, login):
		case p.Again:
			if last < 0 || i < p.Limit {
				last = i
			}
		case !p.played[i]:
			return i
		case login:
			last = i
		}
	}
	return last
}

// answers tells whether what was recorded is the answer to such a request. A login that was redacted has nothing left to compare.
func (p *Player) answers(recorded *vcr.Request, req *http.Request, body string, login bool) bool {
	if recorded.Body == Placeholder || login && recorded.Body == "" {
		return login && recorded.Method == req.Method && sameAddress(recorded.URL, req.URL)
	}
	return len(p.differs(recorded, req, body)) == 0
}

func sameAddress(recorded string, u *url.URL) bool {
	r, err := url.Parse(recorded)
	return err == nil && r.Host == u.Host && like(r.Path, u.Path)
}

// nearest finds what is most like a request.
func (p *Player) nearest(req *http.Request, body string) *Missing {
	m := &Missing{Method: req.Method, URL: req.URL.String(), Nearest: -1}
	for i, x := range p.Cassette.Interactions {
		if p.played[i] {
			continue
		}
		if differs := p.differs(&x.Request, req, body); m.Nearest < 0 || len(differs) < len(m.Differs) {
			m.Nearest, m.NearestURL, m.Differs = i, x.Request.URL, differs
		}
	}
	return m
}

// differs says how a request is not like a recorded one.
func (p *Player) differs(recorded *vcr.Request, req *http.Request, body string) []string {
	var found []string
	differ := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if recorded.Method != req.Method {
		differ("the method is %s, recorded is %s", req.Method, recorded.Method)
	}
	u, err := url.Parse(recorded.URL)
	if err != nil {
		return append(found, "what is recorded is no URL")
	}
	if a, b := req.URL.Scheme+"://"+req.URL.Host, u.Scheme+"://"+u.Host; a != b {
		differ("the host is %s, recorded is %s", a, b)
	}
	if !like(u.Path, req.URL.Path) {
		differ("the path is %s, recorded is %s", req.URL.Path, u.Path)
	}
	was, is := u.Query(), req.URL.Query()
	names := maps.Clone(was)
	maps.Copy(names, is)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if slices.Contains(p.Ignore, name) {
			continue
		}
		switch a, b := strings.Join(is[name], ", "), strings.Join(was[name], ", "); {
		case is[name] == nil:
			differ("%s is missing, recorded is %s", name, b)
		case was[name] == nil:
			differ("%s=%s is not recorded", name, a)
		case !like(b, a):
			differ("%s is %s, recorded is %s", name, a, b)
		}
	}
	if !sameBody(recorded.Body, body) {
		differ("the body is %s, recorded is %s", excerpt(body), excerpt(recorded.Body))
	}
	return found
}

// like tells whether a text is what was recorded, where what was redacted may have been anything.
func like(recorded, text string) bool {
	parts := strings.Split(recorded, Placeholder)
	if len(parts) == 1 {
		return recorded == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, last)
}

func sameBody(recorded, body string) bool {
	if like(recorded, body) {
		return true
	}
	var a, b any
	return json.Unmarshal([]byte(recorded), &a) == nil && json.Unmarshal([]byte(body), &b) == nil && reflect.DeepEqual(a, b)
}

func excerpt(s string) string {
	if s == "" {
		return "empty"
	}
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
