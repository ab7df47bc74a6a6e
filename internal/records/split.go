package records

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"slices"

	"stackstream/internal/jsonscan"
)

// Parts is an answer taken apart, so that another one can be made of it with other records: Units are its records as they stand
// in it, or what Expand takes records out of.
type Parts struct {
	Units                  [][]byte
	before, between, after []byte
	// Fixed says that there is no place to put other records in.
	Fixed bool
}

// With is the answer with these units in place of its own; one that is fixed stays as it is.
func (p Parts) With(units [][]byte) []byte {
	if p.Fixed {
		return slices.Concat(p.before, p.after)
	}
	return slices.Concat(p.before, bytes.Join(units, p.between), p.after)
}

// Split takes an answer apart that Decode understands. What Decode finds in With(units) is what it finds in these units.
func (d Decoder) Split(body []byte) (Parts, error) {
	if _, err := d.Decode(body); err != nil {
		return Parts{}, err
	}
	switch d.Form {
	case CSV:
		return d.splitCSV(body), nil
	case NDJSON:
		units, err := lines(body, &meter{})
		return Parts{Units: units, between: []byte("\n"), after: []byte("\n")}, err
	case XML:
		return d.splitXML(body), nil
	default:
		return d.splitJSON(body)
	}
}

func (d Decoder) splitJSON(body []byte) (Parts, error) {
	body, err := document(body)
	if err != nil {
		return Parts{}, err
	}
	start, end, err := jsonscan.Span(body, d.Path)
	if err != nil { // it is optional
		return Parts{before: body, Fixed: true}, nil
	}
	found := body[start:end]
	p := Parts{between: []byte(",")}
	switch {
	case d.Shape == One:
		return Parts{Units: [][]byte{found}, before: body, Fixed: true}, nil
	case string(found) == "null" && d.Shape == Values:
		p.before, p.after = slices.Concat(body[:start], []byte("{")), slices.Concat([]byte("}"), body[end:])
		return p, nil
	case string(found) == "null":
		p.before, p.after = slices.Concat(body[:start], []byte("[")), slices.Concat([]byte("]"), body[end:])
		return p, nil
	case d.Shape == Values:
		var names, values [][]byte
		names, values, err = jsonscan.Members(found)
		for i := range names {
			p.Units = append(p.Units, slices.Concat(names[i], []byte(":"), values[i]))
		}
	default:
		p.Units, err = jsonscan.Elements(found)
	}
	p.before, p.after = body[:start+1], body[end-1:]
	return p, err
}

func (d Decoder) splitCSV(body []byte) Parts {
	r := csv.NewReader(bytes.NewReader(body))
	if d.Comma != 0 {
		r.Comma = d.Comma
	}
	p := Parts{between: []byte("\n"), after: []byte("\n")}
	at := int64(0)
	for first := true; ; first = false {
		if _, err := r.Read(); errors.Is(err, io.EOF) || err != nil {
			return p
		}
		row := bytes.Trim(body[at:r.InputOffset()], "\r\n")
		if at = r.InputOffset(); first {
			p.before = append(row[:len(row):len(row)], '\n')
			continue
		}
		p.Units = append(p.Units, row)
	}
}

// splitXML finds the elements that the path leads to. Where there are none nobody can tell where they would be.
func (d Decoder) splitXML(body []byte) Parts {
	fixed := Parts{before: body, Fixed: true}
	if d.Shape == Values || d.Shape == One {
		return fixed
	}
	var p Parts
	var open []string
	r := xml.NewDecoder(bytes.NewReader(body))
	first, last, began := -1, 0, 0
	for {
		at := int(r.InputOffset())
		token, err := r.Token()
		if err != nil {
			break
		}
		switch t := token.(type) {
		case xml.StartElement:
			open = append(open, t.Name.Local)
			if slices.Equal(open, d.Path) {
				began = at
				if first < 0 {
					first = at
				}
			}
		case xml.EndElement:
			if slices.Equal(open, d.Path) {
				last = int(r.InputOffset())
				p.Units = append(p.Units, body[began:last:last])
			}
			open = open[:len(open)-1]
		}
	}
	if first < 0 {
		return fixed
	}
	p.before, p.after = body[:first], body[last:]
	return p
}
