// Package deploytest tests the files with which stackstream is deployed: compose.yaml and what it names, the generated
// secrets, and the configurations of NATS, run as three server processes, and of RabbitMQ, run as a broker, with the
// users and rights that they give. It has tests only.
package deploytest
