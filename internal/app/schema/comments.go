package schema

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"stackstream/internal/app/config"
	"stackstream/internal/setting"
)

// module is what the import paths of our packages begin with.
const module = "stackstream/"

// comments reads what the doc comments of the configuration's structs say, from the sources below root.
type comments struct {
	root     string
	packages map[string]map[string]*ast.TypeSpec // by directory and name
	docs     map[*ast.TypeSpec]string
	lacking  []error
}

func newComments(root string) *comments {
	return &comments{root: root, packages: map[string]map[string]*ast.TypeSpec{}, docs: map[*ast.TypeSpec]string{}}
}

// describe is the description of a setting: the comment of the field it fills or, where it has none, that of the field's type.
// Where there is neither, c.lacking tells.
func (c *comments) describe(s *config.Setting) string {
	if s.About != "" {
		return sentence(s.About)
	}
	text, err := c.field(s.Owner, s.Field)
	if err == nil && text == "" && s.Form == config.Mapping {
		text, err = c.typ(s.Type)
	}
	if err == nil && text == "" {
		err = fmt.Errorf("%s.%s has no comment, and is the setting %s: say in one what it is", s.Owner, s.Field, s.Name)
	}
	if err != nil {
		c.lacking = append(c.lacking, err)
	}
	return text
}

// field is the comment above a field, for people who know settings and no fields.
func (c *comments) field(owner reflect.Type, name string) (string, error) {
	spec, err := c.spec(owner)
	if err != nil {
		return "", err
	}
	fields, ok := spec.Type.(*ast.StructType)
	if !ok {
		return "", fmt.Errorf("%s is no struct", owner)
	}
	for _, f := range fields.Fields.List {
		for _, ident := range f.Names {
			if ident.Name != name {
				continue
			}
			text := people(f.Doc.Text(), name, owner)
			if odd := goName.FindString(text); odd != "" && !slices.Contains(knownNames(), odd) {
				return "", fmt.Errorf("the comment of %s.%s has %s, which is no setting beside it", owner, name, odd)
			}
			return text, nil
		}
	}
	return "", fmt.Errorf("%s has no field %s", owner, name)
}

func (c *comments) typ(t reflect.Type) (string, error) {
	spec, err := c.spec(t)
	if err != nil {
		return "", err
	}
	return people(c.docs[spec], t.Name(), t), nil
}

// spec is the declaration of a type of ours.
func (c *comments) spec(t reflect.Type) (*ast.TypeSpec, error) {
	rest, ours := strings.CutPrefix(t.PkgPath(), module)
	if !ours {
		return nil, fmt.Errorf("%s is no type of ours", t)
	}
	dir := filepath.Join(c.root, filepath.FromSlash(rest))
	if c.packages[dir] == nil {
		if err := c.read(dir); err != nil {
			return nil, err
		}
	}
	spec := c.packages[dir][t.Name()]
	if spec == nil {
		return nil, fmt.Errorf("%s has no type %s", dir, t.Name())
	}
	return spec, nil
}

func (c *comments) read(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	found := map[string]*ast.TypeSpec{}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		name := filepath.Join(dir, file.Name())
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range general.Specs {
				if typ, ok := spec.(*ast.TypeSpec); ok {
					found[typ.Name.Name] = typ
					doc := typ.Doc
					if doc == nil {
						doc = general.Doc
					}
					c.docs[typ] = doc.Text()
				}
			}
		}
	}
	c.packages[dir] = found
	return nil
}

var (
	// What stands between a name and what is said of it, and goes with the name: Every is the time … A verb that says more stays.
	isSomething = regexp.MustCompile(`^(?:(?:is|are|says that|says|has) |: ?)`)
	does        = regexp.MustCompile(`^[a-z]+s `)
	goName      = regexp.MustCompile(`\b[A-Z][a-z0-9]+[A-Z][A-Za-z0-9]*\b`)
	identifier  = regexp.MustCompile(`\b[A-Z][A-Za-z0-9]*(?:\.[A-Z][A-Za-z0-9]*)*\b`)
)

// people makes of a Go comment what people read who know no Go: the name that it begins with goes, names of fields become names
// of settings.
func people(text, name string, owner reflect.Type) string {
	text = strings.Join(strings.Fields(text), " ")
	if rest, ok := strings.CutPrefix(text, name); ok && !startsWord(rest) {
		rest = strings.TrimSpace(rest)
		if begins := isSomething.FindString(rest); begins != "" || does.MatchString(rest) {
			text = rest[len(begins):]
		}
	}
	text = identifier.ReplaceAllStringFunc(text, func(word string) string {
		if word == strings.ToUpper(word) { // URL, TLS: people know them
			return word
		}
		if path := settingPath(owner, strings.Split(word, ".")); path != "" {
			return path
		}
		return word
	})
	return sentence(text)
}

// knownNames look like names of Go and are known to people.
func knownNames() []string {
	return []string{"RabbitMQ", "JetStream", "OpenStack", "KiB", "MiB", "GiB", "TiB"}
}

func startsWord(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// settingPath is the path of a field of a field of a struct, "" if it is no setting.
func settingPath(owner reflect.Type, names []string) string {
	path := ""
	for _, name := range names {
		for owner.Kind() == reflect.Pointer {
			owner = owner.Elem()
		}
		if owner.Kind() != reflect.Struct {
			return ""
		}
		field, ok := owner.FieldByName(name)
		if !ok {
			return ""
		}
		tag, _, ok := setting.Tag(field)
		if !ok || tag == "" {
			return ""
		}
		path, owner = setting.Join(path, tag), field.Type
	}
	return path
}

// sentence begins with a capital letter, unless it begins with a word that is written as it is, and ends with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	first, _, _ := strings.Cut(text, " ")
	if plain := strings.Trim(first, ",.;:"); strings.IndexFunc(plain, func(r rune) bool { return !unicode.IsLower(r) }) < 0 {
		r, n := utf8.DecodeRuneInString(text)
		text = string(unicode.ToUpper(r)) + text[n:]
	}
	if !strings.ContainsAny(text[len(text)-1:], ".?!)") {
		text += "."
	}
	return text
}
