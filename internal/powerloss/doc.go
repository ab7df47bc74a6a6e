// Package powerloss has the tests that cut the power: the real pipeline runs on an embedded server whose store is on a file
// system that remembers what was durable when (package crashfs), and every moment of that run may be the last. What the
// disk may hold then is made, a server is started on it, and it must have all that was acknowledged to the event service
// before, once, in order and whole; and from there the pipeline must get to the end as if nothing had been.
//
// The tests mount file systems: they need Linux, /dev/fuse and the right to mount.
package powerloss
