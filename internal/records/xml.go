package records

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"stackstream/internal/rawjson"
)

// maxDepth is how deep elements may stand in one another.
const maxDepth = 200

// element is one that is being read.
type element struct {
	name     string
	names    []string // of the children, in order, each once
	children map[string][][]byte
	text     strings.Builder
}

func (e *element) add(name string, value []byte) {
	if _, again := e.children[name]; !again {
		e.names = append(e.names, name)
	}
	e.children[name] = append(e.children[name], value)
}

// json is the element's content: text where it has nothing else, else an object with attributes as "@name", elements by
// their name, a list where one comes more than once, and text as "#text".
func (e *element) json() []byte {
	text := strings.TrimSpace(e.text.String())
	if len(e.names) == 0 {
		return rawjson.AppendQuoted(nil, text)
	}
	if text != "" {
		e.add("#text", rawjson.AppendQuoted(nil, text))
	}
	out := []byte{'{'}
	for i, name := range e.names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(rawjson.AppendQuoted(out, name), ':')
		if values := e.children[name]; len(values) == 1 {
			out = append(out, values[0]...)
		} else {
			out = append(append(append(out, '['), bytes.Join(values, []byte{','})...), ']')
		}
	}
	return append(out, '}')
}

// decodeXML makes JSON of a document: an object with the root element. Namespaces are left out.
func decodeXML(body []byte) ([]byte, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.CharsetReader = reader
	open := []*element{newElement("")}
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			if len(open[0].names) == 0 {
				return nil, errors.New("the answer has no XML element")
			}
			return open[0].json(), nil
		case err != nil && strings.Contains(err.Error(), "unexpected EOF"):
			return nil, ErrCut
		case err != nil:
			return nil, fmt.Errorf("the answer is no XML: %w", err)
		}
		inner := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			if len(open) > maxDepth {
				return nil, fmt.Errorf("the answer has elements more than %d deep in one another", maxDepth)
			}
			e := newElement(t.Name.Local)
			for _, a := range t.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					e.add("@"+a.Name.Local, rawjson.AppendQuoted(nil, a.Value))
				}
			}
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
			open[len(open)-1].add(inner.name, inner.json())
		case xml.CharData:
			inner.text.Write(t)
		}
	}
}

func newElement(name string) *element { return &element{name: name, children: map[string][][]byte{}} }
