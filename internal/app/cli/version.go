package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"stackstream/normalizer"
)

// Version is set by the linker for a release: -X stackstream/internal/app/cli.Version=v1.2.3.
var Version = "" //nolint:gochecknoglobals // the linker sets variables only

func (p Program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, what it was built from and with",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return p.say(versionLine()) },
	}
}

func (p Program) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the canonical event",
		Example: "  stackstream schema > event.schema.json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := p.Stdout.Write(normalizer.Schema())
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
