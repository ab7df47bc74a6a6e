package jetstream

import (
	"fmt"
	"net"
	"strconv"

	"stackstream/event"
)

// The server itself is in package embedded: a nats-server is a good part of a program, and only one that may run it has it.

// EmbeddedName is what the embedded server calls itself.
const EmbeddedName = "stackstream"

// MaxPayload is what the embedded server takes in one message, headers included: 8 MiB of body and 64 KiB beside it.
// A cluster should be configured likewise.
const MaxPayload = 8<<20 + 64<<10

// EmbeddedConfig says how to run the embedded server.
type EmbeddedConfig struct {
	// Dir is the directory that holds the streams. It has one owner at a time.
	Dir string `yaml:"dir"`
	// Listen is an address for other NATS clients, like the nats CLI: "127.0.0.1:4222". Port 0 takes a free one.
	// Empty: none, the server is used in process only.
	Listen string `yaml:"listen"`
	// ListenPublic allows an address other than loopback. The server asks nobody who they are: whoever reaches it may
	// read and write everything.
	ListenPublic bool `yaml:"listen_public"`
	// MaxFile is the most that the streams may take on disk; 0, or more than three quarters of what is free, is three
	// quarters of what is free.
	MaxFile int64 `yaml:"max_file,size"`
	// MaxMemory is the most that memory streams may take; 0 is 64 MiB.
	MaxMemory int64 `yaml:"max_memory,size"`
	// MaxPayload is the most that one message may have; 0 is the constant MaxPayload.
	MaxPayload int64 `yaml:"-"`
	// Bulk leaves writes to the system until Settle, and does not count what streams may grow to: for streams that are restored, of
	// which nobody was told anything yet. A server whose streams may take more than it has, because others fill its disk, would not
	// even take a change of their settings.
	Bulk bool `yaml:"-"`
	// Least is what the streams need at least. The server is not opened where the disk has not as much for it.
	Least int64 `yaml:"-"`
}

// Validate returns every mistake that shows without touching the directory.
func (c EmbeddedConfig) Validate() []Problem {
	var found []Problem
	if c.Dir == "" {
		found = append(found, Problem{"dir", "is missing: the directory that holds the streams"})
	}
	if c.Listen != "" {
		if _, _, err := c.Address(); err != nil {
			found = append(found, Problem{"listen", err.Error()})
		}
	}
	if c.MaxFile < 0 {
		found = append(found, Problem{"max_file", "is negative"})
	}
	if c.MaxMemory < 0 {
		found = append(found, Problem{"max_memory", "is negative"})
	}
	return found
}

// Address splits Listen and refuses what is reachable from elsewhere unless that is meant.
func (c EmbeddedConfig) Address() (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not an address like 127.0.0.1:4222", c.Listen)
	}
	number, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q has no port number", c.Listen)
	}
	ip := net.ParseIP(host)
	if !c.ListenPublic && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", 0, fmt.Errorf("%q is not a loopback address; the server asks nobody who they are, "+
			"so set listen_public if others are really meant to reach it", c.Listen)
	}
	return host, int(number), nil
}

// StoreInUse says that another process has the store directory of an embedded server.
type StoreInUse struct {
	Dir, Process string
}

func (e *StoreInUse) Error() string { return e.Dir + " is in use by process " + e.Process }

// DiskFull is why the embedded server was not started.
type DiskFull struct {
	Dir string
	// Free is what the disk has for the streams; Need is how much that would have to be.
	Free, Need int64
}

func (d *DiskFull) Error() string {
	return fmt.Sprintf("the disk of %s is full: %s are free for the streams, %s are needed", d.Dir, Bytes(d.Free),
		Bytes(d.Need))
}

// DiskHooks are told how the embedded server's disk fares. Any may be nil. They are called by one goroutine and must not
// block.
type DiskHooks struct {
	// State is called with every look at the disk. live: all is well; degraded: the disk is full, which the server has
	// not run into yet; backoff: the server can't write, and reason says what has to happen.
	State func(state event.State, reason string)
	// Free is called with every look at the disk with the bytes that are free, and those that it has.
	Free func(bytes, size int64)
	// Restarted is called after every restart, with why there was none if it failed.
	Restarted func(err error)
}

// Bytes is a size, for people.
type Bytes int64

func (n Bytes) String() string {
	const kib = 1 << 10
	switch {
	case n < kib:
		return fmt.Sprintf("%d bytes", n)
	case n < kib*kib:
		return fmt.Sprintf("%.1f KiB", float64(n)/kib)
	case n < kib*kib*kib:
		return fmt.Sprintf("%.1f MiB", float64(n)/(kib*kib))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(kib*kib*kib))
	}
}
