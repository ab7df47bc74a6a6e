package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// helpWidth is how wide help may be: what two windows beside each other have room for.
const helpWidth = 100

// fitHelp has what a tree of commands says of itself keep within helpWidth.
func fitHelp(root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error { return writeUsage(cmd.OutOrStderr(), cmd) })
	fill(root)
}

// writeUsage writes what follows upon the description of a command. It is not a template, as cobra would have it: who calls methods by
// names that are made while it runs keeps the linker from leaving out any, and the programs would be a third larger.
func writeUsage(w io.Writer, cmd *cobra.Command) error {
	var out strings.Builder
	out.WriteString("Usage:")
	if cmd.Runnable() {
		out.WriteString("\n  " + cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		out.WriteString("\n  " + cmd.CommandPath() + " [command]")
	}
	if cmd.HasExample() {
		out.WriteString("\n\nExamples:\n" + cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		for _, group := range append(slices.Clone(cmd.Groups()), &cobra.Group{Title: othersTitle(cmd)}) {
			list(&out, cmd, group)
		}
	}
	if cmd.HasAvailableLocalFlags() {
		out.WriteString("\n\nFlags:\n" + strings.TrimRight(cmd.LocalFlags().FlagUsagesWrapped(helpWidth), " \n"))
	}
	if cmd.HasAvailableInheritedFlags() {
		out.WriteString("\n\nGlobal Flags:\n" + strings.TrimRight(cmd.InheritedFlags().FlagUsagesWrapped(helpWidth), " \n"))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&out, "\n\nUse \"%s [command] --help\" for more information about a command.", cmd.CommandPath())
	}
	out.WriteByte('\n')
	_, err := io.WriteString(w, out.String())
	return err
}

// othersTitle is above those commands that are in no group.
func othersTitle(cmd *cobra.Command) string {
	if len(cmd.Groups()) == 0 {
		return "Available Commands:"
	}
	return "Additional Commands:"
}

// list writes the commands of a group, if there are any.
func list(out *strings.Builder, cmd *cobra.Command, group *cobra.Group) {
	title := "\n\n" + group.Title
	for _, sub := range cmd.Commands() {
		if sub.GroupID == group.ID && (sub.IsAvailableCommand() || sub.Name() == "help") {
			fmt.Fprintf(out, "%s\n  %-*s %s", title, sub.NamePadding(), sub.Name(), sub.Short)
			title = ""
		}
	}
}

func fill(cmd *cobra.Command) {
	cmd.Long = filled(cmd.Long)
	for _, sub := range cmd.Commands() {
		fill(sub)
	}
}

// filled breaks the lines of paragraphs anew. What is indented stays as it is.
func filled(text string) string {
	var out strings.Builder
	column := 0 // 0 where no paragraph is open
	end := func() {
		if column > 0 {
			out.WriteByte('\n')
		}
		column = 0
	}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" || line[0] == ' ' {
			end()
			out.WriteString(line)
			continue
		}
		for word := range strings.FieldsSeq(line) {
			width := len([]rune(word))
			switch {
			case column == 0:
			case column+1+width > helpWidth:
				end()
			default:
				out.WriteByte(' ')
				column++
			}
			out.WriteString(word)
			column += width
		}
	}
	return out.String()
}
