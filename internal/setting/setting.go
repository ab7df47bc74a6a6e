// Package setting reads what the tags of a configuration's structs say: the name of a setting, and the words that it takes.
// The words stand in the tag and nowhere else, so that what refuses a value, what completes it in an editor and what
// documents it can't disagree.
package setting

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Tag is the name of a field's setting and the options of its yaml tag; ok is false for a field that is no setting.
func Tag(field reflect.StructField) (name string, options []string, ok bool) {
	text, tagged := field.Tag.Lookup("yaml")
	if !tagged || text == "-" || !field.IsExported() {
		return "", nil, false
	}
	parts := strings.Split(text, ",")
	return parts[0], parts[1:], true
}

// Words are what a field takes, by its tag words:"a,b,c"; nil where it takes anything. Each element of a list and each value
// of a map is one of them. An empty word in the tag says that the empty text is taken, too; it is in the list.
func Words(field reflect.StructField) []string {
	text, tagged := field.Tag.Lookup("words")
	if !tagged {
		return nil
	}
	return strings.Split(text, ",")
}

// WordsOf are the words of a struct's field.
func WordsOf[Struct any](field string) []string {
	f, ok := reflect.TypeFor[Struct]().FieldByName(field)
	if !ok {
		return nil
	}
	return slices.DeleteFunc(Words(f), func(word string) bool { return word == "" })
}

// Problem is a value that is none of the words: Field is the path of the setting.
type Problem struct{ Field, Msg string }

// Check returns every value in a struct of settings that is none of the words of its field.
func Check(settings any) []Problem {
	v := reflect.ValueOf(settings)
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	var found []Problem
	check(v, "", nil, &found)
	return found
}

func check(v reflect.Value, path string, words []string, found *[]Problem) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			check(v.Elem(), path, words, found)
		}
	case reflect.Struct:
		for field, value := range v.Fields() {
			name, options, ok := Tag(field)
			switch {
			case !ok:
			case slices.Contains(options, "inline"):
				check(value, path, nil, found)
			default:
				check(value, Join(path, name), Words(field), found)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			check(v.Index(i), path+"["+strconv.Itoa(i)+"]", words, found)
		}
	case reflect.Map:
		keys := map[string]reflect.Value{}
		for _, key := range v.MapKeys() {
			keys[key.String()] = v.MapIndex(key)
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			check(keys[key], Join(path, key), words, found)
		}
	case reflect.String:
		if words != nil && !slices.Contains(words, v.String()) {
			*found = append(*found, Problem{path, None(v.String(), words)})
		}
	}
}

// None says that a value is none of the words, and which one is near.
func None(value string, words []string) string {
	words = slices.DeleteFunc(slices.Clone(words), func(word string) bool { return word == "" })
	if value == "" {
		return fmt.Sprintf("is missing: one of %s", strings.Join(words, ", "))
	}
	message := fmt.Sprintf("is %q; one of %s is meant", value, strings.Join(words, ", "))
	if near := Nearest(value, words); near != "" {
		message += fmt.Sprintf(" (did you mean %s?)", near)
	}
	return message
}

// Join is the path of a setting below another one.
func Join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Nearest is the known word that somebody probably meant who wrote another one; "" if none is near. Small and large letters
// are the same, and so are - and _.
func Nearest(word string, known []string) string {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), "-", "_") }
	nearest, least := "", 0
	for _, candidate := range known {
		d := distance(plain(word), plain(candidate))
		if d <= max(1, len(candidate)/4) && d < len(candidate) && (nearest == "" || d < least) {
			nearest, least = candidate, d
		}
	}
	if nearest != "" || len(word) < 3 {
		return nearest
	}
	for _, candidate := range known { // one of them with its end or its beginning left out
		if len(candidate) >= 3 && (strings.HasPrefix(plain(word), plain(candidate)) || strings.HasPrefix(plain(candidate), plain(word))) {
			return candidate
		}
	}
	return ""
}

// distance is the number of single letters to insert, remove, replace or swap with the next one that makes b of a.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
