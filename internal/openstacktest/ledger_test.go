package openstacktest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
)

// told is an event that a subscriber was given.
func told(id, eventType, request string) event.Event {
	return event.Event{MessageID: id, EventType: eventType, Context: &event.Context{RequestID: request, UserID: "somebody"}}
}

func expects(l *Ledger, request string, types ...string) {
	o := l.begin("do something")
	for _, t := range types {
		o.done(Event{Type: t, Request: request, User: "somebody"})
	}
}

// now gives events the time, which stands still in these tests.
func now(events ...event.Event) []event.Event {
	for i := range events {
		events[i].Timestamp = event.NewTimestamp(time.Now())
	}
	return events
}

func TestLedger(t *testing.T) {
	c := &Cloud{users: []string{"nova"}}
	login := told("9", "identity.authenticate", "")
	login.Context.UserID = "nova"
	for _, k := range []struct {
		name string
		got  []event.Event
		err  string
	}{
		{"as it was done", []event.Event{
			told("1", "identity.user.created", "r1"), told("2", "volume.create.start", "r2"), told("3", "volume.create.end", "r2"),
			told("4", "volume.delete.start", "r3"),
		}, ""},
		{"services and requests have no order", []event.Event{
			told("4", "volume.delete.start", "r3"), told("2", "volume.create.start", "r2"), told("1", "identity.user.created", "r1"),
			told("3", "volume.create.end", "r2"),
		}, ""},
		{"a request has one", []event.Event{
			told("1", "identity.user.created", "r1"), told("3", "volume.create.end", "r2"), told("2", "volume.create.start", "r2"),
			told("4", "volume.delete.start", "r3"),
		}, "event 1 of 2 is volume.create.end"},
		{"services may log in", []event.Event{
			login, told("1", "identity.user.created", "r1"), told("2", "volume.create.start", "r2"), told("3", "volume.create.end", "r2"),
			told("4", "volume.delete.start", "r3"),
		}, ""},
		{"an event comes twice", []event.Event{
			told("1", "identity.user.created", "r1"), told("1", "identity.user.created", "r1"), told("2", "volume.create.start", "r2"),
			told("3", "volume.create.end", "r2"), told("4", "volume.delete.start", "r3"),
		}, "identity.user.created 1 comes twice"},
		{"a request that nobody made", []event.Event{
			told("1", "identity.user.created", "r1"), told("2", "volume.create.start", "r2"), told("3", "volume.create.end", "r2"),
			told("4", "volume.delete.start", "r3"), told("5", "compute.instance.update", "r4"),
		}, "r4: nothing explains event 1 of 1"},
	} {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := c.NewLedger()
				expects(l, "r1", "identity.user.created")
				expects(l, "r2", "volume.create.start", "volume.create.end")
				expects(l, "r3", "volume.delete.start")
				missing, err := l.Check(now(k.got...))
				switch {
				case len(missing) > 0:
					t.Errorf("missing %v", missing)
				case k.err == "" && err != nil, k.err != "" && (err == nil || !strings.Contains(err.Error(), k.err)):
					t.Errorf("error %v, want one with %q", err, k.err)
				}
			})
		})
	}
}

// Doubt is about what is under way and what is done then, not about what was done before.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := (&Cloud{}).NewLedger()
		expects(l, "r1", "volume.create.end")
		under := l.begin("do something meanwhile")
		l.Doubt()
		expects(l, "r2", "volume.update.end")
		l.Trust()
		under.done(Event{Type: "volume.attach.end", Request: "r3", User: "somebody"})
		expects(l, "r4", "volume.delete.end")

		if all, sure := l.Len(); all != 4 || sure != 2 {
			t.Errorf("%d are expected, %d for sure; want 4 and 2", all, sure)
		}
		first, last := told("1", "volume.create.end", "r1"), told("4", "volume.delete.end", "r4")
		missing, err := l.Check(now(first, last))
		if err != nil || len(missing) != 2 || missing[0].Exchange != "openstack" {
			t.Errorf("missing %v, error %v", missing, err)
		}
		if _, err := l.Check(now(first)); err == nil {
			t.Error("what was done in peace may not be missing")
		}
	})
}
