// Command normalizer turns raw events into canonical ones. It is the thin main for a container.
package main

import (
	"os"

	"stackstream/internal/app/cli"
)

func main() { os.Exit(cli.Main(cli.Normalizer)) }
