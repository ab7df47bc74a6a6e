package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"stackstream/internal/check"
)

// Reader reads configuration files.
type Reader struct {
	// Env looks up environment variables for ${NAME}.
	Env func(string) (string, bool)
	// Kinds of sources that a provider may have.
	Kinds []Kind
}

// maxFile is the most bytes of a configuration, enough for thousands of clouds. What is larger is another file, and the
// YAML parser's stack and memory grow with it without a bound.
const maxFile = 1 << 20

// File reads and validates a file. The error, if any, is a check.Findings with every mistake of the file in it, in the
// order of the file.
func (r Reader) File(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		var cause *os.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, check.Findings{{
			Severity: check.Mistake, Position: check.Position{File: path}, Message: fmt.Sprintf("can't be read: %v", err),
		}}
	}
	return r.Bytes(path, data)
}

// readFile reads no more than a configuration may have, also of what never ends.
func readFile(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it has more than %d bytes, which no configuration needs", maxFile)
	}
	return data, err
}

// maxNesting is how deep brackets may stand in one another. What the YAML parser takes grows with the square of that.
const maxNesting = 50

// tooDeep tells whether brackets stand deeper in one another than any setting does, and in which line. It does not know
// of quotes; a text with that many brackets open is none of ours.
func tooDeep(data []byte) (line int, deep bool) {
	line, depth := 1, 0
	for _, c := range data {
		switch c {
		case '\n':
			line++
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		}
		if depth > maxNesting {
			return line, true
		}
	}
	return 0, false
}

// Bytes is File for a file that was read already; name stands for it in what is found.
func (r Reader) Bytes(name string, data []byte) (*Config, error) {
	if line, deep := tooDeep(data); deep {
		return nil, check.Findings{{
			Severity: check.Mistake, Position: check.Position{File: name, Line: line, Column: 1},
			Message: fmt.Sprintf("has brackets more than %d deep in one another, which no configuration needs", maxNesting),
		}}
	}
	d := &decoder{file: name, env: r.Env, kinds: r.Kinds, positions: map[string]check.Position{}}
	cfg := Default()
	if d.document(data, reflect.ValueOf(cfg).Elem()) {
		d.validate(cfg)
	}
	d.findings.Sort()
	if err := d.findings.Err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// document decodes the one document of a file; false if it is not YAML at all.
func (d *decoder) document(data []byte, into reflect.Value) bool {
	file, err := parse(data)
	if err != nil {
		pos := check.Position{File: d.file}
		message := strings.SplitN(err.Error(), "\n", 2)[0]
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			message = syntax.GetMessage()
			if t := syntax.GetToken(); t != nil && t.Position != nil {
				pos.Line, pos.Column = t.Position.Line, t.Position.Column
			}
		}
		d.findings = append(d.findings, check.Finding{
			Severity: check.Mistake, Position: pos, Message: "is not YAML: " + message, Hint: yamlHint(message, data, pos.Line),
		})
		return false
	}
	var root ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case doc.Body.Type() == ast.CommentType:
		case root != nil:
			d.mistake("", doc.Body, "", "a second document begins here; the configuration is one document")
			return false
		default:
			root = doc.Body
		}
	}
	if root == nil {
		root = ast.Null(token.New("", "", &token.Position{Line: 1, Column: 1}))
	}
	d.value("", root, into)
	return true
}

// yamlHint says what to look at where a text is no YAML; most often it is one of a few things.
func yamlHint(message string, data []byte, number int) string {
	line := ""
	if lines := strings.Split(string(data), "\n"); number > 0 && number <= len(lines) {
		line = lines[number-1]
	}
	quoted := strings.ContainsAny(line, `"'`)
	switch {
	case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		return "indent with spaces: YAML takes no tabs"
	case strings.Contains(line, "{{") && strings.Contains(line, "}}"):
		return "text with {{ and }} in it needs quotes here"
	case strings.Contains(message, "non-map value is specified"):
		return "a key is followed by a colon and a space"
	case strings.Contains(message, "mapping value is not allowed"):
		return "text with a colon and a space in it needs quotes"
	case strings.Contains(message, "must be specified"), strings.Contains(message, "end token"),
		strings.Contains(message, "character corresponding"):
		return "a bracket or brace is not closed, or text in them needs quotes"
	case strings.Contains(message, "value is not allowed in this context") && quoted:
		return "what follows a text in quotes belongs to nothing: put quotes around all of it; within '…' a ' is written twice"
	case strings.Contains(message, "value is not allowed in this context"):
		return "the keys of one mapping stand exactly below one another"
	case strings.Contains(message, "could not find end character"):
		return "a quote is not closed"
	}
	return ""
}

// parse reads YAML. The library's parser is not proof against every input: what makes it panic is not YAML either.
func parse(data []byte) (file *ast.File, err error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // the mark that some editors put at the beginning
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("the YAML reader gave up: %v", r)
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}
