package httppoll

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/mapping"
	"stackstream/internal/openstack"
	"stackstream/internal/rawjson"
	"stackstream/internal/records"
)

// Detail is one further request for each record, whose answer becomes a part of it.
type Detail struct {
	// URL is a text with rec and partition, or {{rec.url}}: an address that the record has, which must be on the host of
	// request.url. Without it there is no such request.
	URL string `yaml:"url"`
	// Method is POST for services that are asked by a body.
	Method string `yaml:"method" words:"GET,POST"`
	// Query has the parameters of the query; texts may have expressions between {{ and }}.
	Query map[string][]string `yaml:"query"`
	// Headers has headers to send; texts may have expressions between {{ and }}.
	Headers map[string]string `yaml:"headers"`
	// Body is what is sent where the method is POST; it may have expressions between {{ and }}.
	Body string `yaml:"body"`
	// Path is where in the answer, which is JSON, that is what is wanted; empty: all of it.
	Path string `yaml:"path"`
	// As is the member of the record that takes it. event.id, cursor.field and records.filter go by the record as it was listed.
	As string `yaml:"as"`
	// Merge makes the members of what is wanted the record's, in place of those of the same names; then there is no As.
	Merge bool `yaml:"merge"`
	// When is an expression of rec and partition: only records for which it is true are asked about.
	When string `yaml:"when"`
	// On says what a status ("404", "4xx") means: keep, the record goes without. Everything else that is no success fails the page.
	On map[string]string `yaml:"on" words:"keep"`
	// Concurrency is how many are asked for at once.
	Concurrency int `yaml:"concurrency"`
}

const maxConcurrency = 64

func (d Detail) validate(ps *problems) {
	if d.URL == "" {
		if len(d.Query) > 0 || len(d.Headers) > 0 || d.Body+d.Path+d.As+d.When != "" || d.Merge || len(d.On) > 0 {
			ps.add("detail.url", "is missing: where there is more of a record")
		}
		return
	}
	if !strings.HasPrefix(d.URL, "{{") && !strings.HasPrefix(d.URL, "/") {
		ps.address("detail.url", d.URL)
	}
	if d.Body != "" && d.Method != http.MethodPost {
		ps.add("detail.body", "is for the method POST")
	}
	ps.path("detail.path", d.Path)
	switch {
	case d.As == "" && !d.Merge:
		ps.add("detail.as", "is missing: the member of the record that takes the answer (or set merge: true)")
	case d.As != "" && d.Merge:
		ps.add("detail.as", "can't be set together with merge")
	}
	for _, keys := range slices.Sorted(maps.Keys(d.On)) {
		ps.statuses("detail.on."+keys, keys)
	}
	if d.Concurrency < 1 || d.Concurrency > maxConcurrency {
		ps.add("detail.concurrency", "must be from 1 to %d", maxConcurrency)
	}
}

// listed adds a problem for each setting that goes by records as they are listed, and wants what their detail has.
func (d Detail) listed(ps *problems, id, filter, field string, expand []string) {
	if d.URL == "" || d.As == "" {
		return
	}
	below := func(path string) bool { return path == d.As || strings.HasPrefix(path, d.As+".") }
	member := regexp.MustCompile(`\brec\.\??` + regexp.QuoteMeta(d.As) + `\b`)
	for _, s := range []struct {
		name string
		uses bool
	}{
		{"event.id", member.MatchString(id)}, {"records.filter", member.MatchString(filter)},
		{"cursor.field", below(field)}, {"records.expand", slices.ContainsFunc(expand, below)},
	} {
		if s.uses {
			ps.add(s.name, "goes by the record as it was listed, which has no %s yet: that is detail.as", d.As)
		}
	}
}

// address adds a problem unless text is a URL whose host no expression decides.
func (ps *problems) address(field, text string) {
	if msg := openstack.CheckURL(between.ReplaceAllString(text, "x")); msg != "" {
		if strings.Contains(text, "?") && !strings.HasPrefix(field, "auth.") {
			msg += "; parameters go into " + strings.TrimSuffix(field, "url") + "query"
		}
		ps.add(field, "%s", msg)
	} else if i := strings.Index(text, "{{"); i >= 0 && strings.Count(text[:i], "/") < 3 {
		ps.add(field, "must name the host: no expression decides who is asked; a provider for each host does")
	}
}

// statuses adds a problem for each of some keys that is no status.
func (ps *problems) statuses(field, keys string) {
	for key := range strings.SplitSeq(keys, ",") {
		if key = strings.TrimSpace(key); !statuses.MatchString(key) {
			ps.add(field, "%s is no status like 410, nor a class like 5xx", strconv.Quote(key))
		}
	}
}

const opDetail = "ask for the detail of a record"

// details completes records by what is asked for each of them, several at once; their order stays. A record that was handed over
// in this run of the source, and is read back, is not asked about: what was handed over with it is durable by now or will be read
// again from the start. What fails fails the page.
func (w *walk) details(ctx context.Context, items []item) error {
	if w.cfg.Detail.URL == "" {
		return nil
	}
	w.detailed.Store(0)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(w.cfg.Detail.Concurrency)
	for i := range items {
		r := &items[i]
		if r.left || r.early || r.outside || r.vars == nil {
			continue
		}
		if r.told = w.told.has(r.raw.ID); r.told {
			continue
		}
		if when := w.programs.detail.when; when != nil {
			if wanted, err := truth(when, r.vars); err == nil && !wanted {
				continue
			}
		}
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error { return w.detail(groupCtx, r) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// wereTold remembers what was handed over.
func (w *walk) wereTold(items []item) {
	if w.cfg.Detail.URL == "" {
		return
	}
	for i := range items {
		if r := &items[i]; !r.left && !r.early {
			w.told.add(r.raw.ID)
			w.fetched.drop(r.raw.ID)
		}
	}
}

// detail completes one record.
func (w *walk) detail(ctx context.Context, r *item) error {
	found, known := w.fetched.get(r.raw.ID)
	if !known {
		var err error
		found, err = retrying(ctx, w, func() ([]byte, error) { return w.askDetail(ctx, r.vars) })
		if err != nil {
			return err
		}
		w.fetched.put(r.raw.ID, found, w.cfg.Request.MaxBody)
	}
	if w.detailed.Add(int64(len(found))) > w.cfg.Request.MaxBody {
		return &event.Error{Kind: event.Invalid, Op: opDetail, Err: errors.New("the details of a page are together larger than max_body")}
	}
	if found == nil { // by detail.on
		return nil
	}
	name := ""
	if !w.cfg.Detail.Merge {
		name = w.cfg.Detail.As
	}
	body, err := complete(r.raw.Body, name, found)
	if err != nil {
		return &event.Error{Kind: event.Invalid, Op: opDetail, Err: err}
	}
	rec, err := rawjson.Parse(body)
	if err != nil {
		return &event.Error{Kind: event.Invalid, Op: opDetail, Err: err}
	}
	r.raw.Body = body
	r.eventType, _ = w.programs.mapping.Type(mapping.Vars(expr.NewRecord(rec), w.partitionVar(w.part)))
	return nil
}

// askDetail is one request about a record and what is wanted of its answer, nil where the record goes without.
func (w *walk) askDetail(ctx context.Context, vars expr.Vars) ([]byte, error) {
	address, err := w.detailAddress(vars)
	if err != nil {
		return nil, err
	}
	resp, err := w.exchange(ctx, func() (*http.Request, error) {
		t := w.programs.detail.texts
		t.url = template{{literal: address}}
		req, err := t.write(asks(ctx, Asked{What: AskedDetail, Partition: w.part}), w.cfg.Detail.Method, "", vars)
		if err != nil {
			return nil, err
		}
		setDefault(req.Header, "Accept", "application/json")
		setDefault(req.Header, "User-Agent", w.userAgent())
		return req, nil
	})
	if err != nil {
		return nil, err
	}
	defer drop(resp.Response)
	if _, keep := actionOf(w.cfg.Detail.On, resp.StatusCode); keep {
		return nil, nil
	}
	if !resp.success() || resp.StatusCode == http.StatusNoContent {
		return nil, w.refusal(resp)
	}
	body, err := w.bodyOf(resp.Response)
	if err != nil {
		return nil, err
	}
	wrong := func(err error) error {
		return &event.Error{Kind: event.Invalid, Op: opDetail, Err: fmt.Errorf("%s answered %d: %w", openstack.Address(resp.Request.URL),
			resp.StatusCode, err)}
	}
	page, err := records.Decoder{Form: records.JSON, Path: steps(w.cfg.Detail.Path), Shape: records.One}.Decode(body)
	if errors.Is(err, records.ErrCut) {
		return nil, &event.Error{Kind: event.Unavailable, Op: opDetail, Err: fmt.Errorf("the answer: %w", err)}
	}
	if err != nil {
		return nil, wrong(err)
	}
	found, err := rawjson.Parse(page.Records[0])
	if err != nil {
		return nil, wrong(err)
	}
	return found, nil
}

// detailAddress is where the detail of a record is: on a host that the configuration names, or on that of request.url where the
// record has the address.
func (w *walk) detailAddress(vars expr.Vars) (string, error) {
	t := w.programs.detail.url
	if len(t) > 0 && t[0].program == nil && !strings.HasPrefix(t[0].literal, "/") {
		return t.path(vars)
	}
	text, err := t.text(vars)
	if err == nil && len(t) > 0 && t[0].program == nil {
		text, err = t.path(vars)
	}
	if err != nil {
		return "", badRequest("detail.url", err)
	}
	own, _ := url.Parse(between.ReplaceAllString(w.cfg.Request.URL, "x"))
	if text == "" {
		return "", badRequest("detail.url", errors.New("is empty for a record (see detail.when)"))
	}
	at, err := own.Parse(text)
	if err != nil {
		return "", badRequest("detail.url", errors.New("is no URL for a record"))
	}
	if !sameOrigin(own, at) || at.User != nil {
		return "", badRequest("detail.url", fmt.Errorf("a record leads to another host, %s, which is not asked", at.Host))
	}
	return at.String(), nil
}

// path is a text of a URL's path: what expressions put in stays within it, and no part of it leads upwards.
func (t template) path(vars expr.Vars) (string, error) {
	var b strings.Builder
	for _, p := range t {
		if p.program == nil {
			b.WriteString(p.literal)
			continue
		}
		text, err := textOf(p.program, vars)
		switch {
		case err != nil:
			return "", badRequest("detail.url", err)
		case text == "" || text == "." || text == "..":
			return "", badRequest("detail.url", fmt.Errorf("%s is %q for a record (see detail.when)", p.program, text))
		}
		b.WriteString(url.PathEscape(text))
	}
	return b.String(), nil
}

// complete returns a record with the member name, or, where that is empty, with the members of the addition. What it had of the
// same names is replaced where it stands; what is new comes behind. The same record and addition make the same bytes.
func complete(record []byte, name string, addition []byte) ([]byte, error) {
	members, ok := rawjson.Value(bytes.TrimSpace(record)).Members()
	if !ok {
		return nil, fmt.Errorf("a record is no object but begins with %q: it has no members", record[:min(len(record), 20)])
	}
	added := rawjson.Object{{Name: []byte(name), Value: addition}}
	if name == "" {
		if added, ok = rawjson.Value(addition).Members(); !ok {
			begins := addition[:min(len(addition), 20)]
			return nil, fmt.Errorf("the detail is no object but begins with %q, and detail.merge wants one", begins)
		}
	}
	out := append(make([]byte, 0, len(record)+len(addition)+len(name)+8), '{')
	put := func(m rawjson.Member) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(rawjson.AppendQuoted(out, string(m.Name)), ':'), m.Value...)
	}
	replaced := map[string]bool{}
	for _, m := range members {
		if v := added.Get(string(m.Name)); v != nil {
			if replaced[string(m.Name)] {
				continue
			}
			replaced[string(m.Name)] = true
			m.Value = v
		}
		put(m)
	}
	for _, m := range added {
		if !replaced[string(m.Name)] {
			put(m)
		}
	}
	return append(out, '}'), nil
}

// detailCache has what was asked for pages that are not handed over yet, so that a page which fails, or has to wait, does not ask
// for all of it again.
type detailCache struct {
	mu    sync.Mutex
	found map[event.ID][]byte
	bytes int64
}

func (c *detailCache) get(id event.ID) (found []byte, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, known = c.found[id]
	return found, known
}

// put keeps what was found. Where that is more than one answer may have, it begins anew.
func (c *detailCache) put(id event.ID, found []byte, most int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes += int64(len(found) - len(c.found[id])); c.bytes > most || c.found == nil {
		c.found, c.bytes = map[event.ID][]byte{}, int64(len(found))
	}
	c.found[id] = found
}

func (c *detailCache) drop(id event.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes -= int64(len(c.found[id]))
	delete(c.found, id)
}
