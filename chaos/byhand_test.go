//go:build chaos

package chaos

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"stackstream/chaos/proxy"
)

// offer says where everything is, for somebody who does harm by hand, and takes orders for what has no process:
//
//	curl 'http://ADDRESS/link?a=collector-0&b=node-1&do=cut'     or half-open, delay, heal
//	curl 'http://ADDRESS/broker?do=kill'                         or run, pause, resume
//
// Who is killed by hand is started again after a second.
func (w *world) offer(ctx context.Context) {
	for _, host := range slices.Sorted(maps.Keys(w.process)) {
		p := w.process[host]
		if p.pid() == 0 {
			continue
		}
		p.mu.Lock()
		p.revive = true
		p.mu.Unlock()
		w.say("%s: process %d, log %s, admin server %s", host, p.pid(), p.log, cmp.Or(w.admin[host], "none"))
	}
	for i := range nodes {
		w.say("%s listens at %s", node(i), w.addr[node(i)])
	}
	w.say("broker %s listens at %s", w.broker.Node(), w.broker.Addr())
	orders := http.NewServeMux()
	orders.HandleFunc("/link", w.orderLink)
	orders.HandleFunc("/broker", w.orderBroker)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Error(err)
		return
	}
	server := &http.Server{Handler: orders, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }() // until ctx ends
	w.say("orders for links and the broker are taken at http://%s", l.Addr())
}

func (w *world) orderLink(answer http.ResponseWriter, r *http.Request) {
	a, b := r.FormValue("a"), r.FormValue("b")
	f, known := map[string]proxy.Fault{
		"cut": {Cut: true}, "half-open": {Hold: proxy.Both}, "delay": {Delay: 200 * time.Millisecond, Jitter: 100 * time.Millisecond}, "heal": {},
	}[r.FormValue("do")]
	lines := w.network.Between(a, b)
	if !known || len(lines.Proxies()) == 0 {
		http.Error(answer, fmt.Sprintf("do is cut, half-open, delay or heal; a and b are two of %v", w.links()), http.StatusBadRequest)
		return
	}
	if err := lines.Set(f); err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	w.say("by hand: %s - %s: %s", a, b, r.FormValue("do"))
}

func (w *world) orderBroker(answer http.ResponseWriter, r *http.Request) {
	do, known := map[string]func(){
		"kill": func() { w.broker.Kill(w.t) }, "run": func() { w.broker.Run(w.t) },
		"pause": func() { w.broker.Pause(w.t) }, "resume": func() { w.broker.Resume(w.t) },
	}[r.FormValue("do")]
	if !known {
		http.Error(answer, "do is kill, run, pause or resume", http.StatusBadRequest)
		return
	}
	do()
	w.say("by hand: broker: %s", r.FormValue("do"))
}
