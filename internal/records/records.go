// Package records takes the answers of event services apart: JSON, JSON lines, CSV and XML become records, each a JSON
// document of its own. A record of JSON is the bytes that came. What is cut off in the middle or is something else
// altogether is an error and never taken for no records; one record that is no JSON is handed over as it is, and costs
// no other.
package records

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"stackstream/internal/jsonscan"
	"stackstream/internal/rawjson"
)

// Form is how an answer is written.
type Form string

// The forms.
const (
	JSON   Form = "json"
	NDJSON Form = "ndjson"
	CSV    Form = "csv"
	XML    Form = "xml"
)

// Shape is what the path leads to.
type Shape string

// The shapes.
const (
	List   Shape = "list"   // a list of records
	Values Shape = "values" // an object whose members are records
	One    Shape = "one"    // one record
)

// Decoder says where the records of an answer are.
type Decoder struct {
	Form Form
	// Path leads to the records, by names and indexes; empty: the answer itself.
	Path  []string
	Shape Shape // List if empty
	// Key, if set, is the name under which each record of Values that is an object gets the name it has among them.
	Key string
	// Strict: null is no empty list, and every record is an object.
	Strict bool
	// Optional: an answer that does not have the path has no records.
	Optional bool
	// Expand leads, within a record, to a list whose elements become the records; the next path leads on from these. Parent, if
	// set, is the name under which each element gets the record it was in, with null in the place of that list; elements that
	// are no objects get none.
	Expand [][]string
	Parent string
	// Comma separates the fields of CSV; 0 is a comma.
	Comma rune
	Bound Bound
}

// ErrCut is what an answer is that ends in the middle.
var ErrCut = jsonscan.ErrCut

// Page is an answer.
type Page struct {
	Records [][]byte
	// Listed is how many records the answer had before they were expanded, Last the last of them. Pages are counted and led on by
	// those.
	Listed int
	Last   []byte
	// Document is the answer as JSON, for what else is wanted of it; nil where it has no such form.
	Document []byte
	// Mended says that text of the answer may have been mended before it was taken apart, where it was not in UTF-8: what is U+FFFD in
	// it may have been anything. Of what is no XML who decodes its characters has to tell.
	Mended bool

	whole rawjson.Doc // the answer, where it was valid and the records are parts of it
	parts []int       // which ones
}

// Doc is a record that was taken apart together with the answer, so that nobody need look whether it is JSON; ok is false for
// one that was not. Own is a copy of its bytes, so that it does not keep the answer alive.
func (p *Page) Doc(i int, own []byte) (doc rawjson.Doc, ok bool) {
	if p.parts == nil {
		return doc, false
	}
	return p.whole.Inner(p.parts[i], own), true
}

// Decode takes an answer apart.
func (d Decoder) Decode(body []byte) (Page, error) {
	var page Page
	var err error
	m := &meter{Bound: d.Bound}
	switch d.Form {
	case CSV:
		page.Records, err = d.decodeCSV(body, m)
	case NDJSON:
		page.Records, err = lines(body, m)
	case XML:
		if page.Document, err = decodeXML(body); err == nil {
			page.Records, err = d.at(page.Document, m)
			page.Mended = !utf8.Valid(body)
		}
	default:
		if d.take(body, &page) {
			break
		}
		if page.Document, err = document(body); err == nil {
			page.Records, err = d.at(page.Document, m)
		}
	}
	if page.Listed = len(page.Records); page.Listed > 0 {
		page.Last = page.Records[page.Listed-1]
	}
	for i := 0; err == nil && i < len(d.Expand); i++ {
		page.parts = nil
		page.Records, err = d.expand(page.Records, d.Expand[i], m)
	}
	return page, err
}

// recordLevels is how deep records are taken apart with their answer: expressions are mostly about the members of a record and of
// the objects in it. Behind the list it is the records, their members, and those of these.
const recordLevels = 4

// take takes an answer apart in one pass, as it mostly can be: valid JSON with a list where the records should be. Of all else
// it is for others to say what it is. What it finds is what document and at find.
func (d Decoder) take(body []byte, page *Page) bool {
	// What is taken apart all at once takes several times the memory of the answer.
	if d.Bound.Take != nil || d.Shape != List && d.Shape != "" || !page.whole.Take(body, len(d.Path)+recordLevels) {
		return false
	}
	doc, at := &page.whole, 0
	for _, step := range d.Path {
		switch {
		case doc.Value(at).IsObject():
			at = doc.Member(at, step)
		case doc.Value(at).IsArray():
			at = elementAt(doc, at, step)
		default:
			return false
		}
		if at < 0 {
			return false
		}
	}
	if !doc.Value(at).IsArray() {
		return false
	}
	records, parts := [][]byte{}, []int{}
	for i, end := at+1, doc.Next(at); i < end; i = doc.Next(i) {
		record := doc.Value(i)
		if d.Strict && !record.IsObject() || d.Bound.full(len(records)) {
			return false
		}
		records, parts = append(records, record), append(parts, i)
	}
	page.Document, page.Records, page.parts = doc.Value(0), records, parts
	return true
}

func elementAt(doc *rawjson.Doc, list int, step string) int {
	n, err := strconv.Atoi(step)
	if err != nil || strconv.Itoa(n) != step {
		return -1
	}
	return doc.Element(list, n)
}

func document(body []byte) ([]byte, error) {
	start := bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(start) > 0 && !strings.ContainsRune(`{["-0123456789tfnNI`, rune(start[0])) {
		return nil, fmt.Errorf("the answer is no JSON but begins with %q", start[:min(len(start), 20)])
	}
	return jsonscan.Document(body)
}

// at finds the records of a document.
func (d Decoder) at(document []byte, m *meter) ([][]byte, error) {
	found, err := jsonscan.Find(document, d.Path)
	where := "the answer"
	if len(d.Path) > 0 {
		where = strings.Join(d.Path, ".")
	}
	if errors.Is(err, jsonscan.ErrMissing) && d.Form == XML && len(d.Path) > 1 {
		// An XML list without elements is an element with nothing in it.
		if _, outer := jsonscan.Find(document, d.Path[:len(d.Path)-1]); outer == nil {
			return nil, nil
		}
	}
	switch {
	case errors.Is(err, jsonscan.ErrMissing) && d.Optional:
		return nil, nil
	case errors.Is(err, jsonscan.ErrMissing):
		return nil, fmt.Errorf("the answer has no %s; it begins with %q", where, document[:min(len(document), 80)])
	case err != nil:
		return nil, err
	}
	if string(found) == "null" && d.Shape != One && !d.Strict {
		return nil, nil // how many services write an empty list
	}
	var all [][]byte
	switch {
	case d.Shape == One, d.Form == XML && d.Shape != Values && found[0] != '[':
		return [][]byte{found}, nil // of XML nobody can tell a list of one
	case d.Shape == Values:
		all, err = d.values(found, m)
	default:
		all, err = m.elements(found, 0)
	}
	for i, record := range all {
		if d.Strict && err == nil && record[0] != '{' {
			err = fmt.Errorf("record %d is no object but begins with %q", i, record[:min(len(record), 20)])
		}
	}
	if err != nil && !errors.Is(err, ErrCut) && !m.ended {
		err = fmt.Errorf("%s: %w", where, err)
	}
	return all, err
}

func (d Decoder) values(object []byte, m *meter) ([][]byte, error) {
	names, all, err := m.members(object)
	for i := 0; err == nil && d.Key != "" && i < len(all); i++ {
		all[i], err = m.with(all[i], d.Key, names[i])
	}
	return all, err
}

func lines(body []byte, m *meter) ([][]byte, error) {
	var all [][]byte
	for line := range bytes.Lines(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if m.full(len(all)) {
			return nil, m.tooMany()
		}
		all = append(all, line)
	}
	if len(all) > 0 && all[0][0] == '<' {
		return nil, fmt.Errorf("the answer is no JSON lines but begins with %q", all[0][:min(len(all[0]), 20)])
	}
	if n := len(all); n > 0 && body[len(body)-1] != '\n' {
		if _, err := jsonscan.Document(all[n-1]); errors.Is(err, ErrCut) {
			return nil, fmt.Errorf("the last line: %w", err)
		}
	}
	return all, nil
}

func (d Decoder) decodeCSV(body []byte, m *meter) ([][]byte, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	// Nearly everything is CSV: a login page, and an error that is told as JSON, would be a table without rows.
	if start := bytes.TrimLeft(body, " \t\r\n"); len(start) > 0 && (start[0] == '<' || start[0] == '{') {
		return nil, fmt.Errorf("the answer is no CSV but begins with %q", start[:min(len(start), 20)])
	}
	r := csv.NewReader(bytes.NewReader(body))
	if d.Comma != 0 {
		r.Comma = d.Comma
	}
	names, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the answer is empty: its first line should name the fields")
	}
	for i, name := range names {
		if first := slices.Index(names, name); first < i {
			return nil, fmt.Errorf("the first line names %q twice, fields %d and %d: one would hide the other", name, first+1, i+1)
		}
	}
	quoted, around := make([][]byte, len(names)), 2
	for i, name := range names {
		quoted[i] = rawjson.AppendQuoted(nil, name)
		around += len(quoted[i]) + len(`:"",`)
	}
	var all [][]byte
	for err == nil {
		var fields []string
		if fields, err = r.Read(); err != nil {
			break
		}
		size := around
		for _, field := range fields {
			size += len(field)
		}
		if m.full(len(all)) {
			return nil, m.tooMany()
		}
		if err := m.make(size); err != nil {
			return nil, err
		}
		record := append(make([]byte, 0, size), '{')
		for i, field := range fields {
			if i > 0 {
				record = append(record, ',')
			}
			record = append(append(record, quoted[i]...), ':')
			record = rawjson.AppendQuoted(record, field)
		}
		record = append(record, '}')
		if err := m.make(max(len(record)-size, 0)); err != nil { // what had to be escaped
			return nil, err
		}
		all = append(all, record)
	}
	if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the answer is no CSV: %w", err)
	}
	return all, nil
}
