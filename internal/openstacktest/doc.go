// Package openstacktest runs real OpenStack services for tests, from Debian's packages, and performs operations on them over
// HTTP, noting which notifications must follow.
//
// Every service is a child of the test with its own directory, an sqlite database and a loopback port that nobody else can
// have: the test itself listens on it and hands the socket over. Nothing is shared with other instances on the machine, and
// nothing outlives the test.
//
//	cloud := openstacktest.New(t, openstacktest.Keystone, openstacktest.Glance)   // prepares databases
//	cloud.Start(t, openstacktest.Broker{URL: "rabbit://…"})                       // runs the services
//	ledger := cloud.NewLedger()
//	workers, err := cloud.Workers(ctx, ledger)
//	err = workers[0].Work(ctx, "a name")                                          // the ledger knows what must follow
//	missing, err := ledger.Check(events)
//
// The package knows what the services send, not how stackstream reads it. It is for the versions of Debian 12: keystone 22,
// glance 25, cinder 21, neutron 21, nova 26.
package openstacktest
