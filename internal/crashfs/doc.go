// Package crashfs is a file system that remembers everything that was done to it, to find out what would be left if the
// power failed. It is for tests.
//
// Mount makes one: whatever is done below its directory by this or another process is done in memory, and every change
// (files and directories made, renamed and removed, writes, truncations) and every fsync is kept as an Op, in the order
// in which the callers saw them return. History.Image makes of the first k of them what a disk may hold after a cut at
// that moment, in a directory of its own: all that was durable, and of the rest what Choice takes.
//
// # What is durable
//
// The content of a file: what was written before the last fsync or fdatasync of it (which need not be through the same
// descriptor). A write through a descriptor with O_SYNC or O_DSYNC is a write and an fsync. Of what was written later any part may be
// there: any of its pages of 4 KiB, without the ones before it (then zeros are in their place), the last one in part. A
// truncation may have happened or not, but nothing that was written after it is there without it.
//
// Names are another matter, and there are two models of them.
//
// Journal is what ext4 and xfs do. The names of all directories change in one order, that of the journal, so that after a
// cut there is a state of them that once was. An fsync of a file or a directory makes the journal durable up to the last
// change that concerns it: its own name, the names of the directories above it, and for a directory the names in it. So
// the fsync of a new file makes the file durable and not just its content, also in a directory that is new. That is less
// than ext4 really does, which writes all of its journal, and what the documentation of both promises. Whoever
// renames a file and does neither fsync it nor its directory may find the old name. Journal says nothing about the order
// between names and content: a file that was renamed without an fsync before may be empty, as on xfs, or on ext4 mounted
// with noauto_da_alloc.
//
// Strict is POSIX to the letter. A name made, changed or removed is durable only once its directory was synced, by an
// fsync of the directory itself. Names that were not may be there or not, each on its own; a rename is still one change. A
// directory whose name is lost takes with it what is in it.
//
// # What it leaves out
//
// A disk that says a flush was done and did it not, and one that damages what it does not write. Links, attributes,
// times and owners of files, holes, mmap for writing (which is refused by nothing, but what it writes is recorded when
// the kernel writes it back, as what was not synced). Within one write system call the kernel may hand over several,
// which are then Ops of their own.
package crashfs
