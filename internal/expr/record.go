package expr

import (
	"iter"
	"math"
	"strconv"

	"cel.dev/cel-go/common/types/ref"

	"stackstream/internal/rawjson"
)

// Record is a JSON value that many expressions are about: it is taken apart once. It is not safe for concurrent use.
type Record struct{ *record }

type record struct {
	object
	doc     rawjson.Doc
	val     ref.Val // the object, or what else it is
	reading reading
}

// NewRecord makes a Record of a value.
func NewRecord(v rawjson.Value) Record {
	r := &record{object: object{json: v}}
	r.become()
	return Record{r}
}

// become makes the value of CEL.
func (r *record) become() {
	r.read = &r.reading
	if r.val = &r.object; !r.json.IsObject() {
		r.val = r.read.value(r.json)
	}
}

// Rounded tells whether a number of the record became a value of CEL that is another one: a double has some 16 digits, and ends at
// 1e308.
func (r Record) Rounded() bool { return r.record != nil && r.reading.rounded != nil }

// Nudged are records with the next larger double, or the next smaller one, in the place of numbers that are not what stands there: of
// all of them, and of each alone, as those of two that go the same way cancel each other out in a difference. What is made of the
// record and of each of these, and is the same, has nothing of such a number in it. Of more than eight, those that were read last go
// several at a time. One is to be used before the next one is asked for: they take the memory of one together.
func (r Record) Nudged() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		var granted int64
		both := func(marks uint8) bool {
			return yield(r.nudged(math.Inf(1), marks, &granted)) && yield(r.nudged(math.Inf(-1), marks, &granted))
		}
		if !both(everyMark) || r.reading.rounded == nil || r.reading.rounded.n < 2 {
			return
		}
		for i := 0; i < r.reading.rounded.n && both(1<<i); i++ {
		}
	}
}

func (r Record) nudged(nudge float64, marks uint8, granted *int64) Record {
	n := &record{
		object:  object{json: r.json, doc: r.object.doc, at: r.at},
		reading: reading{rounded: r.reading.rounded, nudge: nudge, marks: marks},
	}
	if r.take != nil {
		used := int64(0)
		n.take = func(bytes int64) bool {
			used += bytes
			if used > *granted && r.take(used-*granted) {
				*granted = used
			}
			return used <= *granted
		}
	}
	if !r.json.IsObject() && !n.grants(r.json) {
		return NewRecord(nil)
	}
	n.become()
	return Record{n}
}

// NewOpenRecord makes a Record of a value that was taken apart already.
func NewOpenRecord(doc rawjson.Doc) Record {
	r := NewRecord(doc.Value(0))
	if r.val == &r.object && doc.Known(0) {
		r.doc = doc
		r.object.doc = &r.doc
	}
	return r
}

// NewMeteredRecord is NewOpenRecord for who counts memory: take is called before a list or an object of the record becomes a value of
// CEL, which is many times as long, with how much that is at the most. Where it returns false they have nothing in them, and what
// expressions make of the record is not to be used.
func NewMeteredRecord(doc rawjson.Doc, take func(bytes int64) bool) Record {
	if v := doc.Value(0); !v.IsObject() && !take(valueSize(v)) {
		return NewRecord(nil)
	}
	r := NewOpenRecord(doc)
	r.take = take
	return r
}

// opened is the record, if it is an object.
func (r Record) opened() (o *object, ok bool) {
	if r.record == nil || r.val != &r.object {
		return nil, false
	}
	r.open()
	return &r.object, true
}

// Members are the members of a record that is an object, nil else.
func (r Record) Members() rawjson.Object {
	o, ok := r.opened()
	if !ok {
		return nil
	}
	return o.doc.Members(o.at)
}

// Find follows names and indexes (in digits) into the record, nil where they lead nowhere.
func (r Record) Find(path []string) rawjson.Value {
	o, ok := r.opened()
	if !ok || len(path) == 0 {
		return nil
	}
	at := o.member(path[0])
	for _, name := range path[1:] {
		if at.IsArray() {
			elements, _ := at.Elements()
			i, err := strconv.Atoi(name)
			if at = nil; err == nil && i >= 0 && i < len(elements) && strconv.Itoa(i) == name {
				at = elements[i]
			}
			continue
		}
		members, _ := at.Members()
		at = members.Get(name)
	}
	return at
}
