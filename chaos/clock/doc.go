// Package clock makes the wall clock jump for one process that runs, and for no other.
//
// In the world this is an operator who sets the clock, a virtual machine that was paused, or NTP that steps after a long time
// without it. Time namespaces have no wall clock, and a preloaded library does not reach a program that is linked statically, as
// Go's are. So Jump replaces the code that the kernel lends to the process to read the clock (the vDSO) by code that asks the
// kernel and adds an offset. It needs the right to trace the process: its parent has it, and root.
//
// What it does not reach: a program that asks the kernel by a system call of its own, timers of the wall clock (timerfd), and
// times that the kernel itself writes, as those of files. A process that is started anew has the true time. Having jumped once,
// reading the time costs a process a system call, also after the offset is 0 again. The monotonic clock stays what it is, which
// is what Go's timers use.
package clock

import "errors"

// ErrUnsupported says that there is no way to do it on this machine.
var ErrUnsupported = errors.New("clock: the wall clock of a process can be moved on linux/amd64 only")
