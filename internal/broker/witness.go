package broker

import (
	"net"
	"sync"
)

// Witness remembers what the library's errors do not tell: how the other side's first bytes look, and how reading
// ended.
type Witness struct {
	net.Conn
	mu    sync.Mutex
	first [8]byte
	n     int
	err   error
}

func (w *Witness) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n < len(w.first) {
		w.n += copy(w.first[w.n:], p[:n])
	}
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

// Saw returns the first bytes that came, and the first error of reading.
func (w *Witness) Saw() (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.first[:w.n]), w.err
}
