package author

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	vcr "gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"

	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/records"
)

// model is what is known of a service from a conversation with it: the records, in which run and on which page each showed, and
// what the pages were like apart from them. A service made of it shows what the real one would if it were asked otherwise than
// it was: of all records those that the request's bounds let through, on pages like the recorded ones.
type model struct {
	config httppoll.Config
	reader *httppoll.Source
	parts  map[string]*part
}

// part is a partition.
type part struct {
	chains []*chain // in the order in which they were read
	units  []*unit  // in the order in which they showed
	known  map[string]*unit
	latest map[event.ID]*unit
	bodies map[*chain]map[event.ID]string
	alike  []event.ID // that records have which differ, in one reading of all pages
}

// chain is the pages that were read from one first page on.
type chain struct {
	part  string
	run   int
	pages []*leaf
}

// leaf is a page.
type leaf struct {
	chain  *chain
	index  int
	place  int
	status int
	header http.Header
	body   []byte
	split  records.Parts
	units  []*unit
	value  string // what led to it
	token  string // of the cursor, behind it
}

// unit is a record as it stands in pages, or what several are taken out of.
type unit struct {
	bytes  []byte
	reads  []httppoll.Content
	run    int // in which it showed first
	until  int // in which something else was in its place, with some of the same records; 0 if never
	leaf   *leaf
	homes  map[*chain]int // the page of each chain that has it
	marker string
}

// name is that of the first record in it, for people.
func (u *unit) name() string {
	if len(u.reads) == 0 {
		return "a record without events"
	}
	return string(u.reads[0].ID)
}

// at is its time, zero where it has none.
func (u *unit) at() time.Time {
	var newest time.Time
	for _, r := range u.reads {
		if r.Time.After(newest) {
			newest = r.Time
		}
	}
	return newest
}

func (u *unit) number() *int64 {
	var highest *int64
	for _, r := range u.reads {
		if r.Number != nil && (highest == nil || *r.Number > *highest) {
			highest = r.Number
		}
	}
	return highest
}

// heard is a request for a page and its place in the cassette.
type heard struct {
	asked httppoll.Asked
	run   int
	place int
}

// newModel makes a model of the pages that were heard.
func newModel(s *Subject, reader *httppoll.Source, pages []heard, interactions []*vcr.Interaction) (*model, error) {
	m := &model{config: s.Config, reader: reader, parts: map[string]*part{}}
	var unread error
	for _, h := range pages {
		x := interactions[h.place].Response
		if !useful(x.Code) {
			continue
		}
		p := m.parts[h.asked.Partition]
		if p == nil {
			p = &part{known: map[string]*unit{}, latest: map[event.ID]*unit{}, bodies: map[*chain]map[event.ID]string{}}
			m.parts[h.asked.Partition] = p
		}
		l, err := m.leaf(h, &x)
		if err != nil {
			unread = fmt.Errorf("request %d: %w", h.place, err) // the source could not read it either, and asked again
			continue
		}
		if h.asked.Page == 0 || len(p.chains) == 0 {
			p.chains = append(p.chains, &chain{part: h.asked.Partition, run: h.run})
		}
		p.add(p.chains[len(p.chains)-1], l)
	}
	for name, p := range m.parts {
		if len(p.chains) == 0 { // none of its pages could be read
			if delete(m.parts, name); len(m.parts) == 0 {
				return nil, unread
			}
		}
	}
	return m, nil
}

// alike are the identities that records have which differ.
func (m *model) alike() []string {
	var all []string
	for _, p := range m.sorted() {
		for _, id := range p.alike {
			all = append(all, string(id))
		}
	}
	return all
}

// sorted are the partitions in the order of their names.
func (m *model) sorted() []*part {
	var all []*part
	for _, name := range slices.Sorted(maps.Keys(m.parts)) {
		all = append(all, m.parts[name])
	}
	return all
}

func useful(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNotModified, http.StatusNoContent, http.StatusPartialContent:
		return true
	}
	return false
}

// leaf reads a recorded page.
func (m *model) leaf(h heard, x *vcr.Response) (*leaf, error) {
	l := &leaf{place: h.place, status: x.Code, header: x.Headers.Clone(), body: []byte(x.Body), value: h.asked.Value}
	if l.header == nil {
		l.header = http.Header{}
	}
	if x.Code != http.StatusOK && x.Code != http.StatusPartialContent {
		l.split.Fixed = true
		return l, nil
	}
	read, err := m.reader.Read(h.asked.Partition, l.header, l.body)
	if err != nil {
		return nil, err
	}
	l.split, l.token = read.Parts, read.Token
	at := 0
	for i, bytes := range read.Parts.Units {
		u := &unit{bytes: bytes, reads: read.Records[at : at+read.Counts[i]], run: h.run, leaf: l, homes: map[*chain]int{}}
		at += read.Counts[i]
		if m.config.Pagination.Type == httppoll.PageMarker {
			if u.marker, err = m.reader.Leads(l.header, l.split.With([][]byte{bytes})); err != nil {
				return nil, err
			}
		}
		l.units = append(l.units, u)
	}
	return l, nil
}

// add puts a page behind those of a chain. What showed before is the same record again.
func (p *part) add(c *chain, l *leaf) {
	l.chain, l.index = c, len(c.pages)
	if p.bodies[c] == nil {
		p.bodies[c] = map[event.ID]string{}
	}
	c.pages = append(c.pages, l)
	for i, u := range l.units {
		var ids []string
		for _, r := range u.reads {
			ids = append(ids, string(r.ID))
		}
		for _, r := range u.reads {
			if body, again := p.bodies[c][r.ID]; again && !r.Left && body != string(r.Body) && !slices.Contains(p.alike, r.ID) {
				p.alike = append(p.alike, r.ID)
			} else if !again {
				p.bodies[c][r.ID] = string(r.Body)
			}
		}
		key := strings.Join(ids, "\n")
		if len(ids) == 0 {
			key = string(u.bytes)
		}
		if again := p.known[key]; again != nil {
			u = again
			l.units[i] = u
		} else {
			p.known[key] = u
			p.units = append(p.units, u)
			for _, r := range u.reads {
				if before := p.latest[r.ID]; before != nil && before.run < u.run && before.until == 0 {
					before.until = u.run
				}
				p.latest[r.ID] = u
			}
		}
		if _, here := u.homes[c]; !here {
			u.homes[c] = l.index
		}
	}
}

// world is how a service is at some time of a scenario.
type world struct {
	run      int            // everything that showed up to this run is there
	hidden   map[*unit]bool // but this
	late     map[*unit]bool // what was hidden before
	reversed bool           // records are shown in the opposite order
}

// like chooses the chain that a session is like: the one that has most of what is to be shown, the newest of several.
func (p *part) like(visible []*unit, run int, newest bool) *chain {
	var best *chain
	most := -1
	for _, c := range p.chains {
		if c.run > run || c.pages[0].status == http.StatusNotModified {
			continue
		}
		n := 0
		for _, u := range visible {
			if _, here := u.homes[c]; here {
				n++
			}
		}
		if n >= most || newest {
			best, most = c, n
		}
	}
	return best
}

// shows tells whether the bounds of a request let a record through. What has nothing that they go by always shows.
func (m *model) shows(p *part, u *unit, asked httppoll.Asked, w world) bool {
	c := m.config.Cursor
	strict := c.Boundary == "exclusive"
	switch c.Type {
	case httppoll.CursorTime:
		at := u.at()
		if at.IsZero() {
			return true
		}
		if m.sends("from") && !asked.From.IsZero() && (at.Before(asked.From) || strict && at.Equal(asked.From)) {
			return false
		}
		return c.Send.Until == "" || asked.Until.IsZero() || !at.After(asked.Until)
	case httppoll.CursorInteger:
		n := u.number()
		return n == nil || asked.Number == nil || *n > *asked.Number || !strict && *n == *asked.Number
	case httppoll.CursorToken:
		behind := p.behind(asked.Token, w.run)
		return behind == nil || w.late[u] || u.leaf.place > behind.place
	}
	return true
}

// behind is the page that a token of the cursor was handed out with; nil where it was with none.
func (p *part) behind(token string, run int) *leaf {
	var found *leaf
	for _, c := range p.chains {
		for _, l := range c.pages {
			if c.run <= run && token != "" && l.token == token {
				found = l
			}
		}
	}
	return found
}

// sends tells whether requests have the lower bound in them.
func (m *model) sends(what string) bool {
	if m.config.Cursor.Send.Name != "" {
		return true
	}
	r := m.config.Request
	text := r.URL + r.Body
	for _, values := range r.Query {
		text += strings.Join(values, "")
	}
	for _, value := range r.Headers {
		text += value
	}
	return strings.Contains(text, "{{") && strings.Contains(text, what)
}

// promises tells whether the configuration promises that a record is found though it shows in a later run than f.run: that it is
// not older than the overlap behind what the cursor passed without it.
func (m *model) promises(f *fault, r httppoll.Content, start time.Time) bool {
	c := m.config.Cursor
	var newest time.Time
	var highest *int64
	for _, u := range m.parts[f.unit.leaf.chain.part].units {
		if u.run > f.run || u == f.unit {
			continue
		}
		if u.at().After(newest) {
			newest = u.at()
		}
		if n := u.number(); n != nil && (highest == nil || *n > *highest) {
			highest = n
		}
	}
	switch c.Type {
	case httppoll.CursorTime:
		if c.Send.Until != "" {
			newest = start
		}
		if settled := start.Add(-c.Settle); newest.After(settled) {
			newest = settled
		}
		return r.Time.IsZero() || newest.IsZero() || !r.Time.Before(newest.Add(-c.Overlap))
	case httppoll.CursorInteger:
		return r.Number == nil || highest == nil || *r.Number > *highest
	}
	return true
}
