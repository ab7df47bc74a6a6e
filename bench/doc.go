// Package bench measures the pipeline, beside what its parts can do by themselves.
//
// It runs the real programs as processes, with their default settings and nothing of the guarantee left out: RabbitMQ, nats-server
// that syncs every write, collector and normalizer. What they reach is told as a share of ceilings that are measured in the same
// run, in turn with them: small programs that do one part of the work and promise nothing (command ceiling).
//
//	make bench                                              throughput, latency, start: half an hour
//	make bench BENCH=-short                                 the same in about a minute, to see that it works
//	make bench BENCH="-what growth,providers,fairness"      how cost grows with events and providers
//	make bench BENCH="-servers 3 -json cluster.json"        on a cluster of three nats-servers
//
// README.md says what the figures mean. All that belongs together here is in the test files, because it is run by go test.
package bench
