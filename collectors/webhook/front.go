package webhook

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"stackstream/collectors"
	"stackstream/event"
)

const (
	// retryAfter is when a sender should try again.
	retryAfter = time.Second
	// endTime is how long requests that are under way may take when the process ends.
	endTime = 12 * time.Second
	// maxHeader bounds the header of a request.
	maxHeader = 32 << 10
)

// front is what listens: one for all sources of the provider in this process. It takes requests while any of them is at work, and
// says otherwise that it can't.
type front struct {
	cfg  Config
	opts Options

	room  *room
	conns *connections

	trying sync.Mutex // held by who tries to listen, to see whether that works

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something below changes
	open    bool          // it listens
	err     error         // why it does not
	work    map[*Source]bool
	queue   []*delivery
}

// delivery is a request that waits to be stored.
type delivery struct {
	events   []event.Raw
	filtered int
	told     time.Time // when it had come, as a watermark may tell it
	fate     chan bool // stored, or not known to be
}

func (d *delivery) stored()  { d.fate <- true }
func (d *delivery) unknown() { d.fate <- false }

func newFront(cfg Config, opts Options) *front {
	f := &front{cfg: cfg, opts: opts, room: newRoom(cfg.Limits), changed: make(chan struct{}), err: errNotYet, work: map[*Source]bool{}}
	f.room.said = opts.Hooks.Pending
	f.conns = newConnections(cfg.Limits.Connections, opts.Hooks.connections)
	return f
}

var errNotYet = errors.New("it does not listen yet")

// change changes something of the front, and tells who waits.
func (f *front) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

// serve listens until ctx ends, and then lets requests that are under way come to their end.
func (f *front) serve(ctx context.Context) {
	defer f.change(func() { f.open, f.err = false, errNotYet })
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(10*time.Second),
		backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		listened, err := f.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if listened {
			wait.Reset()
		}
		f.change(func() { f.open, f.err = false, err })
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// listen serves as long as it can.
func (f *front) listen(ctx context.Context) (listened bool, err error) {
	h, err := newHandler(f)
	if err != nil {
		return false, err
	}
	tlsConfig, err := f.cfg.TLS.config()
	if err != nil {
		return false, err
	}
	f.trying.Lock()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.cfg.Listen)
	f.trying.Unlock()
	if err != nil {
		return false, &event.Error{Kind: event.Unavailable, Op: "listen", Err: fmt.Errorf("%w (see listen)", err)}
	}
	l := f.cfg.Limits
	var protocols http.Protocols
	protocols.SetHTTP1(true) // HTTP/2 has many requests on a connection, which then neither count nor can be ended one by one
	server := &http.Server{
		Handler: h, Protocols: &protocols, TLSConfig: tlsConfig, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: l.HeaderTime, ReadTimeout: l.ReadTime, IdleTimeout: l.IdleTime,
		WriteTimeout: l.ReadTime + l.AnswerTime + 5*time.Second,
		ConnState:    f.conns.state, ConnContext: f.conns.context,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:    stdlog.New(discard{}, "", 0), // what strangers do wrong is counted
	}
	f.change(func() { f.open, f.err = true, nil })
	f.opts.listens(listener.Addr())
	ended := make(chan error, 1)
	go func() {
		if tlsConfig != nil {
			ended <- server.ServeTLS(listener, "", "")
		} else {
			ended <- server.Serve(listener)
		}
	}()
	select {
	case err := <-ended:
		_ = server.Close()
		return true, &event.Error{Kind: event.Unavailable, Op: "listen", Err: err}
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if server.Shutdown(end) != nil {
		_ = server.Close()
	}
	<-ended //nolint:errcheck // it says that it was told to end
	return true, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// offer hands a request to the sources at work; false if none is.
func (f *front) offer(d *delivery) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.work) == 0 {
		return false
	}
	d.told = f.now()
	for i := range d.events {
		d.events[i].Received, d.events[i].Time = d.told, d.told
	}
	f.queue = append(f.queue, d)
	close(f.changed)
	f.changed = make(chan struct{})
	return true
}

// listens tells whether it does.
func (f *front) listens() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// works tells whether a source is at work.
func (f *front) works() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.work) > 0
}

func (f *front) now() time.Time { return collectors.Told(f.opts.Began, time.Now()).UTC() }

// opens waits until it is known whether the front listens, and returns why not.
func (f *front) opens(ctx context.Context) error {
	for {
		f.mu.Lock()
		open, err, changed := f.open, f.err, f.changed
		f.mu.Unlock()
		switch {
		case open:
			return nil
		case !errors.Is(err, errNotYet):
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// join is called by a source that begins to work.
func (f *front) join(s *Source) {
	f.change(func() { f.work[s] = true })
	f.sayRemembered()
}

// leave is called by a source that ends. What waits when the last one does is answered.
func (f *front) leave(s *Source) {
	var left []*delivery
	f.change(func() {
		if delete(f.work, s); len(f.work) == 0 {
			left, f.queue = f.queue, nil
		}
	})
	f.sayRemembered()
	for _, d := range left {
		d.unknown()
	}
}

// remembered is how many events are known again by their ids. Sources that share their events all know the same, but for what one of
// them has heard of and another has not yet.
func (f *front) remembered() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	most := 0
	for s := range f.work {
		most = max(most, int(s.remembers.Load()))
	}
	return most
}

// full tells whether no more can be remembered. What would be taken then would have to be forgotten before the window is over, or
// take the memory of all that runs here.
func (f *front) full() bool { return f.remembered() >= f.cfg.Limits.Remembered }

// rememberedAll says that there is no more room, for people.
func (c Config) rememberedAll() string {
	return fmt.Sprintf("%d events are known again by their ids, and no more may be (limits.remembered)", c.Limits.Remembered)
}

func (f *front) sayRemembered() {
	if f.opts.Hooks.Remembered != nil {
		f.opts.Hooks.Remembered(f.remembered())
	}
}

// next waits for a request for a source that is at work, at most so long; nil if there is none. mark is the time up to which all that
// came is handed over with it. It fails when the front no longer listens.
func (f *front) next(ctx context.Context, most time.Duration) (d *delivery, mark time.Time, err error) {
	limit := time.NewTimer(most)
	defer limit.Stop()
	for late := false; ; {
		f.mu.Lock()
		open, why, changed := f.open, f.err, f.changed
		if len(f.queue) > 0 {
			d = f.queue[0]
			f.queue[0] = nil
			f.queue = f.queue[1:]
		}
		mark = f.now()
		if len(f.queue) > 0 {
			mark = f.queue[0].told
		}
		f.mu.Unlock()
		switch {
		case d != nil || late:
			return d, mark, nil
		case !open:
			return nil, mark, why
		}
		select {
		case <-changed:
		case <-limit.C:
			late = true
		case <-ctx.Done():
			return nil, mark, ctx.Err()
		}
	}
}
