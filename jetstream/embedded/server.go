// Package embedded runs a nats-server in this process, for `stackstream up`: every write is synced to disk before it is acknowledged,
// its directory has one owner at a time, and when its disk was full it is started again once there is room. It is apart from package
// jetstream so that programs that work against a cluster have no server in them.
package embedded

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"stackstream/event"
	"stackstream/jetstream"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

const (
	defaultMaxMemory = 64 << 20
	startTimeout     = 30 * time.Second
	// diskShare is how much of the disk space that is free, or is ours already, the server may fill.
	diskShare = 0.75
	// serverSyncInterval is how often the server looks after its files; every write is synced at once all the same.
	serverSyncInterval = 2 * time.Minute
)

// Server is a nats-server with JetStream in this process. Every write is synced to disk before it is acknowledged.
type Server struct {
	dir     string
	lock    *os.File
	options server.Options
	maxFile int64
	log     zerolog.Logger

	turn sync.Mutex // held while the server is stopped or started; guards lock and options

	mu     sync.Mutex     // never held for long: clients ask while they hold locks of their own
	server *server.Server // nil while it is stopped
	lines  *serverLog     // of the server that was started last
}

// Open starts the server on its directory, which it creates if need be. A directory that another process uses
// is refused; the error names both. A disk that is full is a *jetstream.DiskFull. When it fails, nothing of it is left running.
func Open(cfg jetstream.EmbeddedConfig, log zerolog.Logger) (*Server, error) {
	const op = "start the embedded NATS server"
	if problems := cfg.Validate(); len(problems) > 0 {
		return nil, invalid(op, errors.New(problems[0].String()))
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, invalid(op, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return nil, invalid(op, err)
	}
	if err := roomToStart(dir, cfg); err != nil {
		return nil, unavailable(op, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	e := &Server{dir: dir, lock: lock, log: log}
	if err := e.configure(cfg); err != nil {
		return nil, errors.Join(invalid(op, err), lock.Close())
	}
	if err := e.start(); err != nil {
		return nil, errors.Join(unavailable(op, err), lock.Close())
	}
	if cfg.ListenPublic {
		log.Warn().Str("url", e.ClientURL()).Msg("whoever reaches the embedded NATS server may read and write everything")
	}
	return e, nil
}

func (e *Server) configure(cfg jetstream.EmbeddedConfig) error {
	maxFile, err := allowedFile(e.dir, cfg.MaxFile)
	if err != nil {
		return err
	}
	if cfg.MaxFile > maxFile {
		e.log.Warn().Int64("wanted", cfg.MaxFile).Int64("allowed", maxFile).
			Msg("max_file of the embedded NATS server is more than the disk has; it is lowered")
	}
	o := server.Options{
		ServerName: jetstream.EmbeddedName,
		DontListen: cfg.Listen == "",
		Host:       "127.0.0.1",
		NoSigs:     true,

		JetStream:          true,
		StoreDir:           e.dir,
		SyncAlways:         !cfg.Bulk,
		SyncInterval:       serverSyncInterval,
		JetStreamMaxStore:  maxFile,
		JetStreamMaxMemory: defaultMaxMemory,
		JetStreamLimits: server.JSLimitOpts{
			MaxBatchInflightPerStream: 50,
			MaxBatchInflightTotal:     200,
			MaxBatchSize:              1000,
			MaxBatchTimeout:           10 * time.Second,
			DefaultMaxConsumers:       -1, // each provider has one in EVENTS_RAW; the server would stop at 1,000
		},
		MaxPayload:             jetstream.MaxPayload,
		MaxPending:             64 << 20,
		DisableJetStreamBanner: true,
	}
	e.maxFile = maxFile
	if cfg.Bulk {
		o.JetStreamMaxStore = math.MaxInt64
	}
	if cfg.MaxMemory > 0 {
		o.JetStreamMaxMemory = cfg.MaxMemory
	}
	if cfg.MaxPayload > 0 {
		o.MaxPayload = int32(cfg.MaxPayload)
	}
	if cfg.Listen != "" {
		host, port, err := cfg.Address()
		if err != nil {
			return err
		}
		o.Host, o.Port = host, port
		if port == 0 {
			o.Port = server.RANDOM_PORT
		}
	}
	e.options = o
	return nil
}

// start makes a server of the options and waits until it serves.
func (e *Server) start() error {
	s, err := server.NewServer(e.options.Clone())
	if err != nil {
		return err
	}
	lines := &serverLog{log: e.log}
	s.SetLoggerV2(lines, false, false, false)
	s.Start()
	if err := lines.fatal(); err != nil || !s.ReadyForConnections(startTimeout) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		if err == nil {
			err = errors.Join(fmt.Errorf("not ready after %s", startTimeout), lines.fatal())
		}
		return err
	}
	if !e.options.DontListen {
		// After a restart the clients look for it where it was.
		e.options.Port = s.Addr().(*net.TCPAddr).Port
	}
	e.mu.Lock()
	e.server, e.lines = s, lines
	e.mu.Unlock()
	return nil
}

// Restart stops the server and starts it again on the same data and address. A disk that was full needs this once
// there is space again, and KeepWriting sees to it; clients reconnect by themselves.
func (e *Server) Restart() error {
	const op = "restart the embedded NATS server"
	e.turn.Lock()
	defer e.turn.Unlock()
	if e.lock == nil {
		return invalid(op, errors.New("it is closed"))
	}
	e.stop()
	if err := e.start(); err != nil {
		return unavailable(op, err)
	}
	return nil
}

// Sync makes durable what was written in bulk so far.
func (e *Server) Sync() error { return e.durable(func() error { return syncTree(e.dir) }) }

// Settle makes durable what was written in bulk, and every write from now on. The server is stopped for it and started again;
// clients reconnect by themselves.
func (e *Server) Settle() error {
	return e.durable(func() error {
		e.stop()
		if err := syncTree(e.dir); err != nil {
			return err
		}
		e.options.SyncAlways = true
		return e.start()
	})
}

// durable calls make where the server leaves writes to the system.
func (e *Server) durable(make func() error) error {
	const op = "make the streams durable"
	e.turn.Lock()
	defer e.turn.Unlock()
	if e.lock == nil {
		return invalid(op, errors.New("the server is closed"))
	}
	if e.options.SyncAlways {
		return nil
	}
	if err := make(); err != nil {
		return unavailable(op, err)
	}
	return nil
}

// Close stops the server and gives the directory free. Closing again is no error.
func (e *Server) Close() error {
	e.turn.Lock()
	defer e.turn.Unlock()
	e.stop()
	if e.lock == nil {
		return nil
	}
	err := e.lock.Close()
	e.lock = nil
	return err
}

// Stop stops the server until Restart; the directory stays ours.
func (e *Server) Stop() {
	e.turn.Lock()
	defer e.turn.Unlock()
	e.stop()
}

func (e *Server) stop() {
	e.mu.Lock()
	s := e.server
	e.server = nil
	e.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

var errStopped = errors.New("the embedded NATS server is stopped")

// InProcessConn is for nats.InProcessServer; after a restart it leads to the new server.
func (e *Server) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return nil, errStopped
	}
	return e.server.InProcessConn()
}

// ClientURL is where other clients reach the server, "" if it does not listen.
func (e *Server) ClientURL() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil || e.server.Addr() == nil {
		return ""
	}
	return e.server.ClientURL()
}

// MaxFile is the most that the streams may take on disk.
func (e *Server) MaxFile() int64 { return e.maxFile }

func unavailable(op string, err error) error {
	return &event.Error{Kind: event.Unavailable, Op: op, Err: err}
}

func invalid(op string, err error) error {
	return &event.Error{Kind: event.Invalid, Op: op, Err: err}
}
