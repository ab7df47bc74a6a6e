// Package e2e has the tests that run the real programs: built binaries as processes of their own, a real nats-server or
// a real cluster of them, an event service that misbehaves over real HTTP or a real RabbitMQ, and kill -9 at moments nobody
// chose.
//
// What they decide by is in ledger_test.go: it reads the streams from outside, as a subscriber could, and compares
// them with what the event service handed out.
package e2e
