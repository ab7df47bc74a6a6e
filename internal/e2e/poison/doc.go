// Package poison gives the pipeline what no service would send. The tests run all of it in this process, on an embedded
// server that syncs every write: any number of notifications that are random, or were made of recorded ones by changing
// them, come in, and every one comes out, either normalized or as a dead letter with the bytes that came in.
//
// The package holds nothing but tests.
package poison
