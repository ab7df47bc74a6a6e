package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// helpWidth is how wide help may be: what two windows beside each other have room for.
const helpWidth = 100

// fitHelp has what a tree of commands says of itself keep within helpWidth.
func fitHelp(root *cobra.Command) {
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", ".FlagUsagesWrapped 100 "))
	fill(root)
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
