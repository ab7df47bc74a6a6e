package rabbitmqtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
)

// epmd is an Erlang port mapper, with the cookie of the brokers that use it and a directory for theirs. It ends with the
// last of them.
type epmd struct {
	dir     string
	port    *port
	cookie  string
	process *process
	users   atomic.Int64
	names   atomic.Int64 // given to virtual hosts and users so far
}

// startEpmd starts a port mapper in the foreground. Its watcher removes the directory.
func startEpmd() (*epmd, error) {
	p, err := takePort()
	if err != nil {
		return nil, err
	}
	e := &epmd{port: p, cookie: rand.Text()}
	if e.dir, err = os.MkdirTemp("", "rabbitmqtest"); err != nil {
		p.give()
		return nil, err
	}
	cmd := command("epmd")
	cmd.Env, cmd.Dir = append(e.env(), mark+"="+e.dir), "/"
	if e.process, err = start(cmd, e.dir); err != nil {
		p.give()
		return nil, errors.Join(err, os.RemoveAll(e.dir))
	}
	poll(timeout, func() bool {
		if !e.process.runs() {
			return true
		}
		c, err := new(net.Dialer).DialContext(context.Background(), "tcp4", p.addr())
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
	if !e.process.runs() {
		return nil, errors.Join(fmt.Errorf("epmd ended at once: %s is taken (eaddrinuse)?", p.addr()), e.use().release())
	}
	return e, nil
}

func (e *epmd) use() *epmd {
	e.users.Add(1)
	return e
}

func (e *epmd) release() error {
	if e.users.Add(-1) > 0 {
		return nil
	}
	e.process.end()
	e.port.give()
	return os.RemoveAll(e.dir)
}

// env makes Erlang use this port mapper, never start one, and listen on 127.0.0.1 only.
func (e *epmd) env() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8",
		fmt.Sprintf("ERL_EPMD_PORT=%d", e.port.number),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"ERL_AFLAGS=-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false",
	}
}
