// Command collector collects events into EVENTS_RAW. It is the thin main for a container.
package main

import (
	"os"

	"stackstream/internal/app/cli"
)

func main() { os.Exit(cli.Main(cli.Collector)) }
