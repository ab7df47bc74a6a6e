package records

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stackstream/internal/jsonscan"
	"stackstream/internal/rawjson"
)

// expand makes records of the elements of a list that records have.
func (d Decoder) expand(outer [][]byte, path []string, m *meter) ([][]byte, error) {
	var all [][]byte
	missing := 0
	for i, record := range outer {
		found, err := jsonscan.Find(record, path)
		if errors.Is(err, jsonscan.ErrMissing) {
			missing++ // this one has none; XML does not write an empty list
			if missing == len(outer) && !d.Optional && d.Form != XML {
				return nil, fmt.Errorf("none of %d records has %s; the last begins with %q", missing, strings.Join(path, "."),
					record[:min(len(record), 80)])
			}
			continue
		}
		if string(found) == "null" {
			continue
		}
		elements := [][]byte{found}
		switch {
		case err == nil && (d.Form != XML || found[0] == '['):
			elements, err = m.elements(found, len(all))
		case err == nil && m.full(len(all)):
			err = m.tooMany()
		}
		if err == nil && d.Parent != "" {
			err = d.giveParent(elements, record, path, m)
		}
		if m.ended {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("record %d, %s: %w", i, strings.Join(path, "."), err)
		}
		all = append(all, elements...)
	}
	return all, nil
}

// giveParent puts into the elements of a list what else is in the record that the path leads to them from.
func (d Decoder) giveParent(elements [][]byte, record []byte, path []string, m *meter) error {
	if !slices.ContainsFunc(elements, isObject) {
		return nil
	}
	start, end, err := jsonscan.Span(record, path)
	if err != nil {
		return err
	}
	if err := m.make(len(record) - (end - start) + len("null")); err != nil {
		return err
	}
	parent := slices.Concat(record[:start], []byte("null"), record[end:])
	for i := range elements {
		if elements[i], err = m.with(elements[i], d.Parent, parent); err != nil {
			return err
		}
	}
	return nil
}

func isObject(value []byte) bool { return len(value) >= 2 && value[0] == '{' }

// with returns an object with one member more, at its end. Anything else is returned as it is.
func (m *meter) with(object []byte, name string, value []byte) ([]byte, error) {
	if !isObject(object) {
		return object, nil
	}
	quoted := rawjson.AppendQuoted(nil, name)
	size := len(object) + len(quoted) + len(value) + 2
	if err := m.make(size); err != nil {
		return nil, err
	}
	inner := bytes.TrimRight(object[1:len(object)-1], " \t\r\n")
	out := append(append(make([]byte, 0, size), '{'), inner...)
	if len(bytes.TrimSpace(inner)) > 0 {
		out = append(out, ',')
	}
	out = append(append(out, quoted...), ':')
	return append(append(out, value...), '}'), nil
}
