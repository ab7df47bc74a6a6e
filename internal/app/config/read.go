package config

import (
	"errors"
	"fmt"
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

// File reads and validates a file. The error, if any, is a check.Findings with every mistake of the file in it, in the
// order of the file.
func (r Reader) File(path string) (*Config, error) {
	data, err := os.ReadFile(path)
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

// Bytes is File for a file that was read already; name stands for it in what is found.
func (r Reader) Bytes(name string, data []byte) (*Config, error) {
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
			Severity: check.Mistake, Position: pos, Message: "is not YAML: " + message,
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

// parse reads YAML. The library's parser is not proof against every input: what makes it panic is not YAML either.
func parse(data []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("the YAML reader gave up: %v", r)
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}
