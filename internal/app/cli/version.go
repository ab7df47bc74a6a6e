package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"stackstream/docs"
	"stackstream/normalizer"
)

// Version is set by the linker for a release: -X stackstream/internal/app/cli.Version=v1.2.3.
var Version = "" //nolint:gochecknoglobals // the linker sets variables only

func (p Program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, what it was built from and with",
		Long: `version prints one line: the release, the commit that it was built from, the version of Go, and what it
was built for.`,
		Example: "  stackstream version",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return p.say(versionLine()) },
	}
}

func (p Program) schemaCommand() *cobra.Command {
	schemas := map[string]func() []byte{"event": normalizer.Schema, "config": docs.ConfigSchema}
	return &cobra.Command{
		Use:   "schema [event|config]",
		Short: "Print the JSON Schema of the canonical event, or of the configuration",
		Long: `schema prints a JSON Schema: that of the canonical event or, for editors that complete and check YAML
while it is written, that of the configuration. An editor with a YAML language server takes it from
the first line of the configuration:

  # yaml-language-server: $schema=stackstream.schema.json`,
		Example:   "  stackstream schema > event.schema.json\n  stackstream schema config > stackstream.schema.json",
		ValidArgs: []string{"event", "config"},
		RunE: func(_ *cobra.Command, args []string) error {
			of := append(args, "event")[0]
			if schemas[of] == nil || len(args) > 1 {
				return usagef("takes event or config, has %q", strings.Join(args, " "))
			}
			_, err := p.Stdout.Write(schemas[of]())
			return err
		},
	}
}

// versionShort is "v1.2.3", or "devel" for a build that was not given a version.
func versionShort() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// versionLine is "stackstream v1.2.3 (commit abc, modified) go1.26.0 linux/amd64".
func versionLine() string {
	settings := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	from := ""
	if commit := settings["vcs.revision"]; commit != "" {
		from = " (commit " + commit[:min(12, len(commit))]
		if settings["vcs.modified"] == "true" {
			from += ", modified"
		}
		from += ")"
	}
	return fmt.Sprintf("stackstream %s%s %s %s/%s", versionShort(), from, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
