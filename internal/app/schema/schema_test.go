package schema_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/app/schema"
)

var update = flag.Bool("update", false, "write the schema and the reference anew")

const root = "../../.."

// The committed files are what the code makes.
func TestGenerated(t *testing.T) {
	settings := config.Describe(app.Kinds())
	for name, generate := range map[string]func(*config.Setting, string) ([]byte, error){
		"stackstream.schema.json": schema.JSONSchema, "reference.md": schema.Reference,
	} {
		got, err := generate(settings, root)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		file := filepath.Join(root, "docs", name)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what the code says (%v): run make generate", name, err)
		}
	}
}
