// Tutorial is Turnstile, the invented event service of docs/add-an-event-service.md: who went through which door, with a history
// of two hours and something new all the time.
//
//	go run ./examples/tutorial
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8085", "`ADDRESS` on loopback to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address string) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%q is not an address on loopback, like 127.0.0.1:8085", address)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Turnstile is at http://%s/api/v2/activity, and takes the token %s. Interrupt ends it.\n",
		listener.Addr(), token)
	server := &http.Server{
		Handler: &turnstile{
			began: time.Now().Truncate(time.Second), now: time.Now, live: 2 * time.Second, late: 20 * time.Second, most: 10,
		},
		ReadHeaderTimeout: 5 * time.Second,
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
