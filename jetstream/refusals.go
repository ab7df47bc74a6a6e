package jetstream

import (
	"strings"
	"sync"
)

// refusals hands permission violations, which the server reports apart from the request that they concern, to those
// who wait for an answer that will not come.
type refusals struct {
	mu      sync.Mutex
	next    int
	waiting map[int]refusalWatch
	logged  map[string]bool
}

type refusalWatch struct {
	match   func(subject string) bool
	refused chan error
}

// maxRefusalsLogged bounds how many refused subjects are remembered, so that each is logged once.
const maxRefusalsLogged = 256

// watchRefusals tells of the first subject from now on that the server does not let this connection use and that match
// accepts: refused then yields one error of the kind event.Invalid. match must not block. stop must be called.
func (c *Client) watchRefusals(match func(subject string) bool) (refused <-chan error, stop func()) {
	r := &c.refusals
	ch := make(chan error, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = map[int]refusalWatch{}
	}
	id := r.next
	r.next++
	r.waiting[id] = refusalWatch{match: match, refused: ch}
	return ch, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, id)
	}
}

// refuse gives the error to all who watch for the subject; fresh tells whether the subject was not refused before.
func (r *refusals) refuse(subject string, err error) (fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.waiting {
		if !w.match(subject) {
			continue
		}
		select {
		case w.refused <- err:
		default: // it was told of another one
		}
	}
	if r.logged[subject] || len(r.logged) >= maxRefusalsLogged {
		return false
	}
	if r.logged == nil {
		r.logged = map[string]bool{}
	}
	r.logged[subject] = true
	return true
}

// forget lets every subject count as fresh again: rights may differ after a reconnection.
func (r *refusals) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logged = nil
}

// parseRefusal reads what is refused and for which subject, from a text as the server sends it:
// `Permissions Violation for Publish to "ingest.raw.p.s"`.
func parseRefusal(text string) (what, subject string, ok bool) {
	_, rest, ok := strings.Cut(text, "Permissions Violation for ")
	if !ok {
		return "", "", false
	}
	what, rest, ok = strings.Cut(rest, `"`)
	if !ok {
		return "", "", false
	}
	subject, _, ok = strings.Cut(rest, `"`)
	return strings.ToLower(strings.TrimSpace(what)), subject, ok
}
