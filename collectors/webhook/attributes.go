package webhook

import (
	"mime"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/types"

	"stackstream/event"
	"stackstream/internal/rawjson"
)

// attributes are those of a CloudEvent 1.0, of whatever form it was posted in. CloudEvents' own SDK says what a value may be. Its
// package event, which would keep them, is what the tests compare with, and not in the programs: it brings a way to read JSON that
// calls methods by names that are made at run time, by which each program has every exported method of everything and is larger by a
// fifth, and some of what strangers send makes it panic.
type attributes struct {
	version, id, eventType, dataContentType string
	source                                  string          // as it is written
	there                                   map[string]bool // in small letters
}

// add takes an attribute. One that is null is not there; a name that is none is none even then, as for the SDK.
func (of *attributes) add(name string, value rawjson.Value, where string) *refusal {
	field := inside(where, shortName(name))
	small := strings.ToLower(name)
	switch {
	case !lettersAndDigits(name):
		return invalid(field, "is a name that is not of letters and digits")
	case small == "data":
		return invalid(field, "is the name of what is no attribute")
	case of.there[small]:
		return invalid(field, "is there twice")
	case name != small && isCore(small):
		return invalid(field, "is written in small letters")
	case value.IsNull():
		return nil
	case of.there == nil:
		of.there = map[string]bool{}
	}
	of.there[small] = true
	text, isText := value.Text()
	problem, core := "", isCore(name)
	switch {
	case core && !isText:
		problem = "is no text"
	case core && text != "": // else it is as if it were not there
		problem = of.set(name, text)
	case !core && !isText && !isExtension(value):
		problem = "is neither text nor a boolean nor a number of 32 bits"
	}
	if problem != "" {
		return invalid(field, problem)
	}
	return nil
}

// set takes one of the attributes that CloudEvents itself describes. It returns what is wrong with it.
func (of *attributes) set(name, text string) (problem string) {
	switch name {
	case "specversion":
		of.version = text
	case "id":
		of.id = text
	case "type":
		of.eventType = text
	case "source":
		if of.source = text; types.ParseURIRef(text).String() == "" {
			return "is no reference to a URI"
		}
	case "datacontenttype":
		of.dataContentType = text
		if _, _, err := mime.ParseMediaType(text); err != nil {
			return "is no media type"
		}
	case "dataschema":
		if schema := types.ParseURI(text); schema == nil || !schema.Validate() {
			return "is no absolute URI"
		}
	case "subject":
		if strings.TrimSpace(text) == "" {
			return "is empty"
		}
	case "time":
		if _, err := types.ParseTime(text); err != nil {
			return "is no time like 2006-01-02T15:04:05Z"
		}
	}
	return ""
}

func isCore(name string) bool {
	switch name {
	case "specversion", "id", "type", "source", "datacontenttype", "dataschema", "subject", "time":
		return true
	}
	return false
}

// isExtension tells whether a value that is no text may be that of an extension.
func isExtension(value rawjson.Value) bool {
	if string(value) == "true" || string(value) == "false" {
		return true
	}
	number, err := strconv.ParseFloat(string(value), 64)
	if err == nil {
		_, err = types.Validate(number)
	}
	return err == nil
}

// wrong tells what keeps all of them together from being an event, and of which that is; "" if nothing does.
func (of *attributes) wrong() (field, text string) {
	if of.version != "1.0" {
		return "specversion", "is not 1.0"
	}
	for _, must := range []struct{ name, value string }{{"id", of.id}, {"source", of.source}, {"type", of.eventType}} {
		if strings.TrimSpace(must.value) == "" {
			return must.name, "is missing"
		}
	}
	return "", ""
}

// identity is the source and the id together, as they are written: two ways to write one source are two, as one event too many is
// better than one too few. A source that could be taken for another one and the beginning of an id is quoted.
func (of *attributes) identity() event.ID {
	source := of.source
	if strings.ContainsAny(source, ` "`) {
		source = string(rawjson.AppendQuoted(nil, source))
	}
	return event.ID(source + " " + of.id)
}

// shortName is a name that somebody else has chosen, for people.
func shortName(name string) string { return name[:min(len(name), 64)] }

func lettersAndDigits(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
