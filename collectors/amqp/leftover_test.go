package amqp

import (
	"strings"
	"testing"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// What a source leaves on its broker is found by its cursor and removed, and nothing else is.
func TestWhatASourceLeavesIsRemoved(t *testing.T) {
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	service := newService(t, broker, vhost, "nova", true)
	r := newRig(t, broker, vhost, func(c *Config) { c.Exchanges = []string{"nova"} })
	stop := r.run()
	r.live(Kind, "nova")
	r.wantIDs(service.notify(3))
	left, ok, err := LeftBy(Kind, r.log.Cursor(cloud, Kind))
	if err != nil || !ok || left != (Leftover{Source: Kind, Queue: ourQueue, VHost: vhost}) {
		t.Fatalf("left is %+v, %v, %v", left, ok, err)
	}
	remove := func() (int, error) { return left.Remove(t.Context(), r.cfg, r.options(Kind, nil)) }
	if _, err := remove(); err == nil || !strings.Contains(err.Error(), "somebody consumes it") {
		t.Errorf("a queue that is consumed is removed: %v", err)
	}
	stop()
	service.notify(4)
	other := left
	other.VHost = "/elsewhere"
	if _, err := other.Remove(t.Context(), r.cfg, r.options(Kind, nil)); event.KindOf(err) != event.Invalid {
		t.Errorf("in another vhost: %v", err)
	}
	if lost, err := remove(); err != nil || lost != 4 {
		t.Errorf("removed with %d, %v, want 4", lost, err)
	}
	if queues := queuesIn(t, broker, vhost); len(queues) > 0 {
		t.Errorf("there are still %q", queues)
	}
	if lost, err := remove(); err != nil || lost != 0 {
		t.Errorf("once more: %d, %v", lost, err)
	}
}

func TestLeftByOthers(t *testing.T) {
	for name, c := range map[event.Source]string{
		"panko": `{"after":"x"}`, Kind: "", "amqp-nova": `{"keys":["notifications.info"]}`,
	} {
		cursor := event.RawCursor{}
		if c != "" {
			cursor.Cursor = event.Cursor(c)
		}
		if left, ok, err := LeftBy(name, cursor); ok || err != nil {
			t.Errorf("%s has left %+v, %v", name, left, err)
		}
	}
	if _, _, err := LeftBy(Kind, event.RawCursor{Progress: event.Progress{Cursor: event.Cursor(`{"after":"x"}`)}}); err == nil {
		t.Error("a cursor of another kind is taken")
	}
}
