package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors/panko"
	"stackstream/event"
	"stackstream/internal/app/config"
	"stackstream/internal/openstack/standin"
)

// DemoProvider is the name of the cloud that the demo collects from.
const DemoProvider = "demo"

// Demo is the whole pipeline against a stand-in for an OpenStack cloud, over real HTTP and on the embedded server.
type Demo struct {
	Dir     string // for the streams
	Listen  string // for other NATS clients; "" lets nobody in
	Events  uint64 // how many events will be looked at; 0: no end is known
	Version string
	Log     zerolog.Logger
	// OpenStore opens the embedded server.
	OpenStore OpenStore
}

// Run starts the stand-in and the pipeline, calls look with both, and ends
// everything in good order when look has returned. It returns look's error, or what ended the pipeline before.
func (d Demo) Run(ctx context.Context, look func(ctx context.Context, r Running, cloud string) error) error {
	// What ends ctx ends looking first, and then the rest: look may still ask the server something at its end.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	cloud, endCloud, err := d.cloud(background)
	if err != nil {
		return err
	}
	defer endCloud()
	started := make(chan Running, 1)
	pipeline := &Pipeline{
		Config: d.config(cloud), Collect: true, Normalize: true, Provision: true, Version: d.Version, Log: d.Log,
		OpenStore: d.OpenStore, Started: func(r Running) { started <- r },
	}
	ended := make(chan error, 1)
	go func() { ended <- pipeline.Run(background) }()

	looking, endLook := context.WithCancelCause(ctx)
	defer endLook(nil)
	looked := make(chan error, 1)
	select {
	case running := <-started:
		go func() { looked <- look(looking, running, cloud) }()
	case err := <-ended:
		return err
	}
	select {
	case err = <-looked:
		stop()
		return errors.Join(err, <-ended)
	case err = <-ended:
		endLook(err)
		return errors.Join(err, <-looked)
	}
}

// rates of the stand-in: some events are there when the collector comes, the others follow.
const (
	demoBurst = 40
	demoRate  = 8.0
)

// cloud starts the stand-in and returns its address and how to end it.
func (d Demo) cloud(ctx context.Context) (address string, end func(), err error) {
	options := standin.Options{Burst: demoBurst, Rate: demoRate, LateOneIn: 10, Lateness: 2 * time.Second}
	if d.Events > 0 {
		// All of them within a few seconds.
		options.Burst = max(1, int(min(d.Events/2, 5000)))
		options.Rate = max(demoRate, float64(min(d.Events, 10_000))/8)
	}
	cloud := standin.New(options)
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("start the stand-in: %w", err)
	}
	server := &http.Server{Handler: cloud, ReadHeaderTimeout: 10 * time.Second}
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{}, 2)
	go func() { _ = cloud.Run(running); done <- struct{}{} }()
	go func() { _ = server.Serve(listener); done <- struct{}{} }()
	return "http://" + listener.Addr().String(), func() {
		stop()
		_ = server.Close()
		<-done
		<-done
	}, nil
}

// config is a configuration like any other.
func (d Demo) config(cloud string) *config.Config {
	account := standin.Admin()
	settings := panko.Default()
	settings.Auth.URL = cloud + "/v3"
	settings.Auth.User, settings.Auth.Domain = account.User, account.Domain
	settings.Auth.Project, settings.Auth.ProjectDomain = account.Project, account.Domain
	settings.Auth.Password = event.Secret(account.Password)
	settings.Every, settings.Jitter, settings.Overlap = 250*time.Millisecond, 0, 3*time.Second
	settings.Limit = 100

	cfg := config.Default()
	cfg.NATS.Embedded.Dir, cfg.NATS.Embedded.Listen = d.Dir, d.Listen
	cfg.Streams.Replicas = 1
	cfg.Admin.Listen = "127.0.0.1:0"
	cfg.Providers = config.Providers{
		DemoProvider: {Events: panko.Kind, Sources: map[string]any{panko.Kind: &settings}},
	}
	return cfg
}
