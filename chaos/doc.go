// Package chaos tries hard to break the promise, and decides whether it held.
//
// It runs the real programs (collectors, normalizers, three nats-servers, RabbitMQ, event services that misbehave,
// subscribers) as processes, lets them work under load, and does to them what machines, networks and people do: kill -9,
// pauses after which a process goes on as if nothing had been, restarts, leaders that step down, disks and streams that
// fill up, networks that cut, hold and delay, clocks that jump, second writers without a lease. What is done and when
// comes from a seed that is printed, so that a run can be done again.
//
//	make chaos                                                            three minutes, a fault of every kind
//	make chaos SEED=42 CHAOS="-events 5000000 -faults 500 -rate 0"        hours
//
// The parts are below: checker decides and knows nothing of the pipeline's code; proxy, clock and disk do harm. What
// belongs together here is in the test files, because it is run by go test: world (what runs), traffic (what the
// event services hand out), faults (what is done to them), watch (what is seen from outside) and report.
package chaos
