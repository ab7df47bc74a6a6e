package e2e

import (
	"strings"
	"testing"
	"time"
)

// The disk of a server without replicas becomes full. What writes to it waits, and readiness names the server that has to be
// restarted; once there is space and it is, each event is there once and in order, without a restart of ours.
func TestAFullDiskOfTheOnlyServerIsNamed(t *testing.T) {
	t.Parallel()
	sky := newCloud(t, seed+70)
	disk := newDisk(t, diskSize)
	startServer, url := singleServer(t, disk.store())
	server := startServer()
	file := sky.configFile(t, "  url: "+url+"\nstreams: {replicas: 1, budget: 128MiB}")
	resize(t, file)
	nc := connect(t, url)
	plain, durable := plainSubscriber(t, nc), durableSubscriber(t, nc)
	collector := start(t, "collector", "-c", file, "--source", "panko")
	normalizer := start(t, "normalizer", "-c", file)
	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		sky.emit(t.Context(), 1000, 6*time.Second, seed+70)
	}()
	eventually(t, time.Minute, "events to flow", func() bool { return durable.len() > 50 },
		func() string { return whereabouts(nc, durable, []*process{collector, normalizer}) })
	disk.fill(100_000)
	<-emitted
	said := ""
	eventually(t, 2*time.Minute, "readiness to name the server", func() bool {
		said = collector.ask("/readyz")
		return strings.Contains(said, "NATS server solo, which leads EVENTS_RAW, does not store what it takes, mostly because its disk is full")
	}, func() string { return said })
	t.Log(said)
	disk.clear()
	server.stop(t)
	startServer()
	want := sky.ids()
	waitForAll(t, 2*time.Minute, nc, durable, len(want), collector, normalizer)
	expectReady(t, collector, normalizer)
	verify(t, sky, want, nc, plain, durable)
}

// The disk of one server of three becomes full: it disables its JetStream, the others go on, and readiness names it. Once
// there is space and it is restarted it has everything again.
func TestAFullDiskOfOneServerOfThree(t *testing.T) {
	t.Parallel()
	sky := newCloud(t, seed+80)
	disk := newDisk(t, diskSize)
	cluster, file := startServers(t, func(nats string) string { return sky.configFile(t, nats) }, disk.store())
	nc := connect(t, strings.Join(cluster.urls, ","))
	plain, durable := plainSubscriber(t, nc), durableSubscriber(t, nc)
	collector := start(t, "collector", "-c", file, "--source", "panko")
	normalizer := start(t, "normalizer", "-c", file)
	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		sky.emit(t.Context(), 2000, 10*time.Second, seed+80)
	}()
	eventually(t, time.Minute, "events to flow", func() bool { return durable.len() > 50 },
		func() string { return whereabouts(nc, durable, []*process{collector, normalizer}) })
	disk.fill(100_000)
	<-emitted
	want := sky.ids()
	waitForAll(t, 2*time.Minute, nc, durable, len(want), collector, normalizer)
	said := ""
	eventually(t, time.Minute, "readiness to name the server", func() bool {
		said = collector.ask("/readyz")
		return strings.Contains(said, "replicas: degraded: NATS server node-0 does not keep up with EVENTS_RAW and EVENTS_NORMALIZED")
	}, func() string { return said })
	disk.clear()
	cluster.running[0].stop(t)
	cluster.start(0)
	w := &works{t: t, cluster: cluster, nc: nc, observer: observe(t, nc, "panko")}
	w.expectReplicas()
	expectReady(t, collector, normalizer)
	verifyAfterServersDied(t, sky, want, nc, plain, durable)
}
