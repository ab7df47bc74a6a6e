package author

import (
	"cmp"
	"slices"
	"strconv"

	"stackstream/collectors/httppoll"
)

// session is what a service shows to one that begins with a first page.
type session struct {
	model  *model
	chain  *chain
	sheets []sheet
	all    []*unit // in the order in which they are shown
	size   int
}

// sheet is a page of a session: like a recorded one, with these records.
type sheet struct {
	like  *leaf
	units []*unit
}

// open begins a session. like, if not nil, is the chain that it has to be like.
func (m *model) open(name string, asked httppoll.Asked, w world, like *chain) *session {
	p := m.parts[name]
	if p == nil {
		return nil
	}
	var visible []*unit
	for _, u := range p.units {
		if u.run <= w.run && (u.until == 0 || u.until > w.run) && !w.hidden[u] && m.shows(p, u, asked, w) {
			visible = append(visible, u)
		}
	}
	c := like
	if c == nil {
		c = p.like(visible, w.run, m.config.Cursor.Type == httppoll.CursorNone)
	}
	if c == nil {
		return nil
	}
	if m.config.Cursor.Type == httppoll.CursorNone { // it shows what it shows now
		visible = slices.DeleteFunc(visible, func(u *unit) bool { _, here := u.homes[c]; return !here && !w.late[u] })
	}
	s := &session{model: m, chain: c}
	s.lay(visible, w)
	return s
}

// lay puts records on pages.
func (s *session) lay(visible []*unit, w world) {
	s.sheets = make([]sheet, len(s.chain.pages))
	var strangers []*unit
	for i, l := range s.chain.pages {
		s.sheets[i].like = l
	}
	is := map[*unit]bool{}
	for _, u := range visible {
		is[u] = true
		if _, here := u.homes[s.chain]; !here {
			strangers = append(strangers, u)
		}
	}
	for i, l := range s.chain.pages {
		for _, u := range l.units {
			if is[u] && s.chain == homeOf(u, s.chain, i) {
				s.sheets[i].units = append(s.sheets[i].units, u)
				s.size = max(s.size, 1)
			}
		}
		s.size = max(s.size, len(l.units))
	}
	for _, u := range strangers {
		s.insert(u)
	}
	if w.reversed {
		s.reverse()
	}
	for _, sh := range s.sheets {
		s.all = append(s.all, sh.units...)
	}
	if n := s.model.config.Pagination.Size; n > 0 {
		s.size = n
	}
	switch p := s.model.config.Pagination; {
	case p.Type == httppoll.PageNone:
	case p.Type == httppoll.PageNumber, p.Type == httppoll.PageOffset, p.Type == httppoll.PageMarker, p.Stop == "short_page":
		s.cut()
	default:
		last := len(s.sheets) - 1
		s.sheets = slices.DeleteFunc(s.sheets, func(sh sheet) bool {
			return len(sh.units) == 0 && sh.like.index != s.chain.pages[last].index && !sh.like.split.Fixed
		})
	}
}

// homeOf is the chain if the unit's home in it is that page; a record that was on two pages shows on the first.
func homeOf(u *unit, c *chain, page int) *chain {
	if at, here := u.homes[c]; here && at == page {
		return c
	}
	return nil
}

// insert puts a record among others where the order wants it.
func (s *session) insert(u *unit) {
	page, at := -1, 0
	order := s.model.config.Cursor.Order
	for i, sh := range s.sheets {
		for j, other := range sh.units {
			c := compare(other, u)
			if order == "ascending" && c <= 0 || order == "descending" && c >= 0 || order == "unordered" {
				page, at = i, j+1
			}
		}
	}
	if page < 0 {
		page = max(slices.IndexFunc(s.sheets, func(sh sheet) bool { return !sh.like.split.Fixed }), 0)
	}
	s.sheets[page].units = slices.Insert(s.sheets[page].units, at, u)
}

func compare(a, b *unit) int {
	if x, y := a.number(), b.number(); x != nil && y != nil {
		return cmp.Compare(*x, *y)
	}
	return a.at().Compare(b.at())
}

// reverse has the records in the opposite order on the same pages.
func (s *session) reverse() {
	var all []*unit
	for _, sh := range s.sheets {
		all = append(all, sh.units...)
	}
	slices.Reverse(all)
	for i, sh := range s.sheets {
		n := len(sh.units)
		s.sheets[i].units, all = all[:n:n], all[n:]
	}
}

// cut puts the records on full pages, as a service does that counts. The last pages are like the last ones that were recorded,
// because those say that nothing follows.
func (s *session) cut() {
	likes := s.chain.pages
	end := likes[len(likes)-1]
	empty := len(end.units) == 0 && len(likes) > 1
	if empty {
		likes = likes[:len(likes)-1]
	}
	s.sheets = nil
	chunks := slices.Collect(slices.Chunk(s.all, max(s.size, 1)))
	for i, units := range chunks {
		s.sheets = append(s.sheets, sheet{likes[max(0, len(likes)-len(chunks)+i)], units})
	}
	if empty || len(chunks) == 0 {
		s.sheets = append(s.sheets, sheet{end, nil})
	}
}

// shift has all records from a page on move by one, as they do where pages are counted and the list grows before them. False
// where pages are not counted.
func (s *session) shift(asked httppoll.Asked) bool {
	n, err := strconv.Atoi(asked.Value)
	switch p := s.model.config.Pagination; p.Type {
	case httppoll.PageNumber:
		n = (n - p.First) * s.size
	case httppoll.PageOffset:
	default:
		return false
	}
	if n = min(n, len(s.all)); err != nil || n < 1 {
		return false
	}
	s.all = slices.Insert(s.all, n, s.all[n-1])
	s.cut()
	return true
}

// find is the page that a request asks for; false where there is no such.
func (s *session) find(asked httppoll.Asked) (sheet, bool) {
	last := s.chain.pages[len(s.chain.pages)-1]
	n, err := strconv.Atoi(asked.Value)
	switch s.model.config.Pagination.Type {
	case httppoll.PageNone:
		return s.sheets[0], true
	case httppoll.PageNumber:
		if n -= s.model.config.Pagination.First; err != nil || n < 0 {
			return sheet{}, false
		}
		if n >= len(s.sheets) {
			return sheet{last, nil}, true
		}
		return s.sheets[n], true
	case httppoll.PageOffset:
		if err != nil || n < 0 {
			return sheet{}, false
		}
		return s.from(n, last), true
	case httppoll.PageMarker:
		if asked.Value == "" {
			return s.from(0, last), true
		}
		i := slices.IndexFunc(s.all, func(u *unit) bool { return u.marker == asked.Value })
		return s.from(i+1, last), i >= 0
	}
	if asked.Value == "" {
		return s.sheets[0], true
	}
	from := slices.IndexFunc(s.chain.pages, func(l *leaf) bool { return l.value == asked.Value })
	if from < 0 {
		return sheet{}, false
	}
	i := slices.IndexFunc(s.sheets, func(sh sheet) bool { return sh.like.index >= from })
	if i < 0 {
		return sheet{last, nil}, true
	}
	return s.sheets[i], true
}

// from is the page that begins with the n-th record.
func (s *session) from(n int, last *leaf) sheet {
	if n >= len(s.all) {
		if len(last.units) > 0 && len(s.sheets) > 0 {
			last = s.sheets[len(s.sheets)-1].like
		}
		return sheet{last, nil}
	}
	i := min(n/max(s.size, 1), len(s.sheets)-1)
	return sheet{s.sheets[i].like, s.all[n:min(n+s.size, len(s.all))]}
}

// body is what is answered.
func (sh sheet) body() []byte {
	if slices.Equal(sh.units, sh.like.units) {
		return sh.like.body
	}
	var units [][]byte
	for _, u := range sh.units {
		units = append(units, u.bytes)
	}
	return sh.like.split.With(units)
}
