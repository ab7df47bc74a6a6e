// Package rabbitmqtest runs real RabbitMQ brokers for tests: one, several side by side, or a cluster; and what a test
// needs around them: a publisher that does what oslo.messaging does, a TCP proxy that goes half-open, certificates.
//
// A broker is the one that the package rabbitmq-server of Debian installs. It listens on free ports of 127.0.0.1, has an
// Erlang port mapper, a cookie and a directory of its own, and does not see the settings of a broker that the machine may
// run. Everything is gone when the test is: also after a panic, and when the process of the test is killed, by a watcher
// that outlives it. Where RabbitMQ is not installed tests fail and say how to install it; they never skip.
package rabbitmqtest
