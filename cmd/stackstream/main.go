// Command stackstream is the whole of stackstream in one binary: it runs the pipeline and has the operator's commands.
package main

import (
	"os"

	"stackstream/internal/app"
	"stackstream/internal/app/cli"
	"stackstream/jetstream/embedded"
)

func main() { os.Exit(cli.Main(cli.Stackstream(app.Stores(embedded.Open)))) }
