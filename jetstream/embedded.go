package jetstream

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// MaxPayload is what the embedded server takes in one message, headers included: 8 MiB of body and 64 KiB beside it.
// A cluster should be configured likewise.
const MaxPayload = 8<<20 + 64<<10

const (
	embeddedName     = "stackstream"
	defaultMaxMemory = 64 << 20
	startTimeout     = 30 * time.Second
	// diskShare is how much of the disk space that is free, or is ours already, the server may fill.
	diskShare = 0.75
	// serverSyncInterval is how often the server looks after its files; every write is synced at once all the same.
	serverSyncInterval = 2 * time.Minute
)

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
		if _, _, err := c.address(); err != nil {
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

// address splits Listen and refuses what is reachable from elsewhere unless that is meant.
func (c EmbeddedConfig) address() (host string, port int, err error) {
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

// Embedded is a nats-server with JetStream in this process. Every write is synced to disk before it is acknowledged.
type Embedded struct {
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

// OpenEmbedded starts the server on its directory, which it creates if need be. A directory that another process uses
// is refused; the error names both. A disk that is full is a *DiskFull. When it fails, nothing of it is left running.
func OpenEmbedded(cfg EmbeddedConfig, log zerolog.Logger) (*Embedded, error) {
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
	e := &Embedded{dir: dir, lock: lock, log: log}
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

func (e *Embedded) configure(cfg EmbeddedConfig) error {
	maxFile, err := allowedFile(e.dir, cfg.MaxFile)
	if err != nil {
		return err
	}
	if cfg.MaxFile > maxFile {
		e.log.Warn().Int64("wanted", cfg.MaxFile).Int64("allowed", maxFile).
			Msg("max_file of the embedded NATS server is more than the disk has; it is lowered")
	}
	o := server.Options{
		ServerName: embeddedName,
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
		MaxPayload:             MaxPayload,
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
		host, port, err := cfg.address()
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
func (e *Embedded) start() error {
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
func (e *Embedded) Restart() error {
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
func (e *Embedded) Sync() error { return e.durable(func() error { return syncTree(e.dir) }) }

// Settle makes durable what was written in bulk, and every write from now on. The server is stopped for it and started again;
// clients reconnect by themselves.
func (e *Embedded) Settle() error {
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
func (e *Embedded) durable(make func() error) error {
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
func (e *Embedded) Close() error {
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
func (e *Embedded) Stop() {
	e.turn.Lock()
	defer e.turn.Unlock()
	e.stop()
}

func (e *Embedded) stop() {
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
func (e *Embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return nil, errStopped
	}
	return e.server.InProcessConn()
}

// ClientURL is where other clients reach the server, "" if it does not listen.
func (e *Embedded) ClientURL() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil || e.server.Addr() == nil {
		return ""
	}
	return e.server.ClientURL()
}

// MaxFile is the most that the streams may take on disk.
func (e *Embedded) MaxFile() int64 { return e.maxFile }
