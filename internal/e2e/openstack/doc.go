// Package openstack has the tests that run the whole pipeline beside a real cloud: keystone and glance, and with SERVICES
// in the environment also cinder, neutron and nova, from Debian's packages, on a real RabbitMQ. Operations are performed
// over HTTP while the collector is killed and the broker restarted, and what must follow from them is compared with what
// a subscriber to events.normalized.* is given.
//
// The tests have the build tag openstack, since they need packages that nobody has by chance: `make e2e-openstack`
// installs them and runs the tests.
package openstack
