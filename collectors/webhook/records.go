package webhook

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/mapping"
	"stackstream/internal/rawjson"
	"stackstream/internal/records"
)

// recordsFormat is any JSON, as the configuration describes it: with the same records and expressions as the source http.
type recordsFormat struct {
	name    string
	cfg     Config
	decoder records.Decoder
	filter  *expr.Program
	mapping *mapping.Mapping
}

func newRecordsFormat(c Config, name string) (*recordsFormat, []Problem) {
	var found problems
	f := &recordsFormat{name: name, cfg: c, decoder: records.Decoder{
		Form: records.JSON, Path: steps(c.Records.Path), Shape: c.Records.Shape, Key: c.Records.Key,
		Optional: c.Records.OnMissing == "empty", Parent: c.Records.Parent,
	}}
	for _, path := range c.Records.Expand {
		f.decoder.Expand = append(f.decoder.Expand, steps(path))
	}
	env, err := expr.NewEnv(map[string]expr.Type{"rec": expr.Any, "partition": expr.Map})
	if err == nil && c.Records.Filter != "" {
		f.filter, err = env.Compile(c.Records.Filter, expr.Bool)
	}
	if err != nil {
		found.add("records.filter", "%s", err)
	}
	m, mistakes := mapping.Compile(c.Event)
	for _, mistake := range mistakes {
		found.add("event."+mistake.Field, "%s", mistake.Msg)
	}
	f.mapping = m
	return f, found
}

// steps are the names of a dotted path.
func steps(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, ".")
}

func (f *recordsFormat) decode(p posted) ([]made, *refusal) {
	body, refused := p.utf8()
	if refused != nil {
		return nil, refused
	}
	found, err := f.records(body, p.memory.bound())
	if err != nil {
		return nil, notTaken("", err)
	}
	if refused := p.memory.keep(eventCost * int64(len(found))); refused != nil {
		return nil, refused
	}
	all := make([]made, 0, len(found))
	var doc rawjson.Doc
	for i, record := range found {
		m, keep, refused := f.record(p, &doc, i, record)
		if refused != nil {
			return nil, refused
		}
		if keep {
			all = append(all, m)
		}
	}
	return all, nil
}

// utf8 is the body in UTF-8.
func (p posted) utf8() ([]byte, *refusal) {
	charset := records.Charset(p.charset)
	// A byte of another charset becomes three at the most, and what is made of them grows. Once more it is looked at whether it is what
	// came.
	if !charset.IsUTF8() {
		if refused := p.memory.keep(6 * int64(len(p.body))); refused != nil {
			return nil, refused
		}
		if refused := p.memory.briefly(6 * int64(len(p.body))); refused != nil {
			return nil, refused
		}
	}
	body, err := charset.UTF8(p.body)
	if err != nil {
		return nil, invalid("Content-Type", err.Error())
	}
	if charset.Mended(p.body, body) {
		return nil, invalid("Content-Type", "the body has what is no character of "+p.charset)
	}
	return body, nil
}

// records takes a body apart. Where it may be a list or one record, what is there decides.
func (f *recordsFormat) records(body []byte, bound records.Bound) ([][]byte, error) {
	d := f.decoder
	d.Bound = bound
	if d.Shape == shapeAuto {
		d.Shape, d.Expand = records.One, nil
		found, err := d.Decode(body)
		if err != nil {
			return nil, err
		}
		d.Shape, d.Expand = records.List, f.decoder.Expand
		if len(found.Records) == 1 && rawjson.Value(found.Records[0]).IsObject() {
			d.Shape = records.One
		}
	}
	page, err := d.Decode(body)
	return page.Records, err
}

// record is an event made of a record; keep is false for one that records.filter leaves out.
func (f *recordsFormat) record(p posted, doc *rawjson.Doc, i int, record []byte) (m made, keep bool, _ *refusal) {
	where := fmt.Sprintf("record %d", i)
	valid, err := p.memory.take(doc, record, rawjson.All)
	if err != nil {
		return m, false, notTaken(where, err)
	}
	m, keep, refused := f.mapped(p, *doc, record, valid, where)
	if full := p.memory.refused(); full != nil {
		return m, false, full // of what was not there nothing was right
	}
	if refused == nil && keep {
		refused = p.named(&m)
	}
	return m, keep, refused
}

// mapped is what the expressions make of a record. Valid is one that is text as it came.
func (f *recordsFormat) mapped(p posted, doc rawjson.Doc, record []byte, valid bool, where string) (m made, keep bool, _ *refusal) {
	m.Raw = event.Raw{Format: f.name, ContentType: "application/json", Body: record}
	_ = p.memory.briefly(2 * int64(len(record))) // for the texts in it
	take := func(bytes int64) bool { return p.memory.briefly(bytes) == nil }
	vars := mapping.Vars(expr.NewMeteredRecord(doc, take), nil)
	if f.filter != nil {
		val, err := f.filter.Eval(vars)
		if err == nil {
			keep, err = val.Bool()
		}
		if err != nil && !errors.Is(err, expr.ErrMissing) {
			return m, false, invalid(where, "records.filter: "+err.Error())
		}
		if err == nil && !keep {
			return m, false, nil
		}
	}
	// One whose filter asks for a member that it does not have is kept: it may be an event.
	id, exact := f.mapping.ID(vars, m.Body, take)
	if m.ID = event.BoundID(id); m.ID == "" || !exact || !valid && !utf8.Valid(record) {
		if f.cfg.Event.ID != "" && m.ID == "" {
			return m, false, invalid(where, "event.id: "+f.cfg.Event.ID+" is nothing: it would not be known again")
		}
		m.ID, m.Hashed = event.HashID(m.Body), true
	}
	var err error
	if m.eventType, err = f.mapping.Type(vars); err != nil {
		return m, false, invalid(where, "event."+err.Error())
	}
	return m, true, nil
}
