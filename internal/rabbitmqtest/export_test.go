package rabbitmqtest

import "path/filepath"

// Root is the directory of the broker and its port mapper, by which Processes finds what was started.
func (b *Broker) Root() string { return b.epmd.dir }

// Pid is the process of the broker itself.
func (b *Broker) Pid() int { return b.now().process.cmd.Process.Pid }

// Processes are the processes with the given root that still run: the broker's, its port mapper's and theirs.
func Processes(root string) []int {
	return marked(func(dir string) bool { return dir == root || filepath.Dir(dir) == root })
}

var (
	ErrNotInstalled = errNotInstalled
	Find            = find
	Poll            = func(done func() bool) bool { return poll(timeout, done) }
	State           = state
)
