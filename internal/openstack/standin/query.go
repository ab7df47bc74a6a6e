package standin

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaultLimit is how many events are shown when nobody asks for a number.
const defaultLimit = 100

// query is what a GET /v2/events asks for.
type query struct {
	keep       func(*Event) bool
	limit      int
	marker     string
	descending bool // by generated
	idsDown    bool // by message_id, among equal times
}

// refusal is an error in the words of Panko.
type refusal struct {
	status int
	text   string
}

func refuse(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, text: fmt.Sprintf(format, args...)}
}

func fail(format string, args ...any) *refusal {
	return &refusal{status: http.StatusInternalServerError, text: fmt.Sprintf(format, args...)}
}

// parseQuery reads a question. That of Ceilometer has no marker and no order, and knows nothing of tenants.
func parseQuery(values url.Values, who Account, ceilometer bool) (query, *refusal) {
	q := query{limit: defaultLimit, marker: values.Get("marker")}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case name == "q.field", name == "q.op", name == "q.value", name == "q.type", name == "limit":
		case !ceilometer && (name == "marker" || name == "sort"):
		case name == "q":
			return q, refuse("Invalid input for field/attribute q. Value: '%s'. unable to convert to ArrayType. "+
				"Error: Base.__init__() takes 1 positional argument but 2 were given", values.Get("q"))
		default:
			return q, refuse("Unknown argument: %q", name)
		}
	}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return q, refuse("Invalid input for field/attribute limit. Value: '%s'. unable to convert to int. "+
				"Error: invalid literal for int() with base 10: '%s'", text, text)
		case ceilometer && n <= 0:
			return q, refuse("Limit must be positive")
		case n < 0:
			return q, refuse("Invalid input for field/attribute limit. Value: '%s'. the limit should be a positive integer.", text)
		case n > 0:
			q.limit = n
		}
	}
	if bad := q.parseSort(values["sort"]); bad != nil {
		return q, bad
	}
	return q, q.parseFilters(values, who, ceilometer)
}

func (q *query) parseSort(sorts []string) *refusal {
	for _, text := range sorts {
		key, direction, _ := strings.Cut(text, ":")
		if key != "generated" && key != "message_id" {
			return refuse("Invalid input for field/attribute sort. Value: '%s'. the sort parameter should be a pair of sort "+
				"key and sort dir combined with ':', or only sort key specified and sort dir will be default 'asc', the "+
				"supported sort keys are: ('message_id', 'generated')", text)
		}
		if direction != "" && direction != "asc" && direction != "desc" {
			return refuse("Invalid input for field/attribute sort direction. Value: '%s'. the sort parameter should be a pair "+
				"of sort key and sort dir combined with ':', or only sort key specified and sort dir will be default 'asc', "+
				"the supported sort directions are: ('asc', 'desc')", text)
		}
		if key == "generated" {
			q.descending = direction == "desc"
		} else {
			q.idsDown = direction == "desc"
		}
	}
	return nil
}

// parseFilters makes q.keep of the q.… arguments, which belong together by their position.
func (q *query) parseFilters(values url.Values, who Account, ceilometer bool) *refusal {
	fields, ops, wanted, types := values["q.field"], values["q.op"], values["q.value"], values["q.type"]
	if len(types) > 0 && len(types) != max(len(fields), len(wanted)) {
		return fail("list index out of range")
	}
	var all []func(*Event) bool
	everybody := false
	for i := range max(len(fields), len(wanted)) {
		f := filter{field: at(fields, i), op: at(ops, i), value: at(wanted, i), kind: at(types, i)}
		if f.op == "" {
			f.op = "eq"
		}
		if !slices.Contains([]string{"lt", "le", "eq", "ne", "ge", "gt"}, f.op) {
			return refuse("Operator %s is not supported. The supported operators are: ('lt', 'le', 'eq', 'ne', 'ge', 'gt')", f.op)
		}
		switch {
		case f.field == "":
			return fail("(sqlite3.ProgrammingError) Error binding parameter 1: type 'UnsetType' is not supported")
		case i >= len(wanted):
			continue // a filter without a value is no filter
		case !ceilometer && f.field == "all_tenants" && who.admin():
			everybody = slices.Contains([]string{"1", "t", "true", "on", "y", "yes"}, strings.ToLower(f.value))
			continue
		}
		keep, bad := f.compile()
		if bad != nil {
			return bad
		}
		all = append(all, keep)
	}
	switch {
	case !who.admin():
		all = append(all, hasTrait("project_id", who.ProjectID), hasTrait("user_id", who.UserID))
	case !everybody:
		mine := hasTrait("project_id", who.ProjectID)
		all = append(all, func(e *Event) bool { return mine(e) || e.trait("project_id") == nil })
	}
	q.keep = func(e *Event) bool {
		for _, keep := range all {
			if !keep(e) {
				return false
			}
		}
		return true
	}
	return nil
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

func hasTrait(name, value string) func(*Event) bool {
	return func(e *Event) bool {
		t := e.trait(name)
		return t != nil && t.Value == value
	}
}

func (e *Event) trait(name string) *trait {
	for i := range e.traits {
		if e.traits[i].Name == name {
			return &e.traits[i]
		}
	}
	return nil
}

// filter is one field, operator, value and type of a query.
type filter struct{ field, op, value, kind string }

func (f filter) compile() (func(*Event) bool, *refusal) {
	only := map[string]string{"start_timestamp": "ge", "end_timestamp": "le", "event_type": "eq", "message_id": "eq"}
	if op, special := only[f.field]; special && f.op != op {
		return nil, refuse("Operator %s is not supported. Only `%s' operator is available for field %s", f.op, op, f.field)
	}
	switch f.field {
	case "event_type":
		return func(e *Event) bool { return e.Type == f.value }, nil
	case "message_id":
		return func(e *Event) bool { return e.ID == f.value }, nil
	case "start_timestamp", "end_timestamp":
		when, ok := parseTime(f.value)
		if !ok {
			return nil, fail("Unable to parse date string '%s'", f.value)
		}
		if f.field == "start_timestamp" {
			return func(e *Event) bool { return !e.Generated.Before(when) }, nil
		}
		return func(e *Event) bool { return !e.Generated.After(when) }, nil
	}
	return f.compileTrait()
}

// compileTrait takes any other field for a trait, as Panko does.
func (f filter) compileTrait() (func(*Event) bool, *refusal) {
	kind := f.kind
	if kind == "" {
		kind = "string"
	}
	if !slices.Contains([]string{"integer", "float", "string", "datetime"}, kind) {
		return nil, refuse("The data type %s is not supported. The supported data type list is: "+
			"['integer', 'float', 'string', 'datetime']", kind)
	}
	if _, ok := compareAs(kind, f.value, f.value); !ok {
		return nil, refuse("Unable to convert the value %s to the expected data type %s.", f.value, kind)
	}
	return func(e *Event) bool {
		t := e.trait(f.field)
		if t == nil || t.Type != kind {
			return false
		}
		order, ok := compareAs(kind, t.Value, f.value)
		switch f.op {
		case "lt":
			return ok && order < 0
		case "le":
			return ok && order <= 0
		case "ge":
			return ok && order >= 0
		case "gt":
			return ok && order > 0
		case "ne":
			return ok && order != 0
		default:
			return ok && order == 0
		}
	}, nil
}

func compareAs(kind, a, b string) (order int, ok bool) {
	switch kind {
	case "integer", "float":
		x, errX := strconv.ParseFloat(a, 64)
		y, errY := strconv.ParseFloat(b, 64)
		if errX != nil || errY != nil {
			return 0, false
		}
		switch {
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, true
	case "datetime":
		x, okX := parseTime(a)
		y, okY := parseTime(b)
		return x.Compare(y), okX && okY
	default:
		return strings.Compare(a, b), true
	}
}

// parseTime reads a time; without a zone it is UTC. A plus sign that was not escaped has become a space: as in Panko,
// that is no time.
func parseTime(text string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", time.RFC3339, "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
