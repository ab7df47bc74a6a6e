// Package deploytest tests the files with which stackstream is deployed: compose.yaml and what it names, the generated
// secrets, the alert rules, and the NATS configuration, run as three server processes with the users and rights it
// gives. It has tests only.
package deploytest
