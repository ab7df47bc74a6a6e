package openstacktest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"stackstream/event"
)

// Event is a notification that must follow from an operation, as far as the operation determines it.
type Event struct {
	Type string
	// Targets are what the event touched, as the canonical event names it, in its order.
	Targets []event.Target
	// User and Project are who did it; "" where the service does not say.
	User, Project string
	// Request is the id of the request; "" where the service does not say.
	Request string
	// Often: it comes at least once, and perhaps several times in a row.
	Often bool
}

// Expected is an event and the operation that it must follow from.
type Expected struct {
	Event
	// Exchange is the one that the service tells it on.
	Exchange  string
	Operation string
	// From and To are when the operation began and when it was answered.
	From, To time.Time
	// Prompt: the service tells the event before it has answered. Daemons tell theirs later.
	Prompt bool
	// Sure: nothing went wrong meanwhile, so the event can't be missing.
	Sure bool
}

func (e Expected) String() string {
	return fmt.Sprintf("%s %s (%s at %s)", e.Type, targets(e.Targets), e.Operation, e.From.Format("15:04:05.000"))
}

// Ledger knows which events must follow from the operations done so far. It is safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	expected map[string][]Expected // by lane
	doubts   int                   // how often Doubt was called
	doubtful bool
	quiet    map[string]bool // users whose logins are not counted
}

// NewLedger returns an empty ledger. The logins of the services' own users are none of its business: a service does them
// when it sees fit.
func (c *Cloud) NewLedger() *Ledger {
	l := &Ledger{expected: map[string][]Expected{}, quiet: map[string]bool{}}
	for _, user := range c.users {
		l.quiet[user] = true
	}
	return l
}

// Doubt says that events of operations under way and of those done until Trust may be lost before anybody can read them.
func (l *Ledger) Doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubtful = true
	l.doubts++
}

// Trust says that from now on everything works.
func (l *Ledger) Trust() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubtful = false
}

// Len is how many events are expected, and how many of them can't be missing.
func (l *Ledger) Len() (all, sure int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lane := range l.expected {
		for _, e := range lane {
			all++
			if e.Sure {
				sure++
			}
		}
	}
	return all, sure
}

// operation is one under way.
type operation struct {
	ledger *Ledger
	name   string
	from   time.Time
	sure   bool
	doubts int
}

// begin notes the beginning of an operation. A nil ledger notes nothing.
func (l *Ledger) begin(name string) *operation {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &operation{ledger: l, name: name, from: time.Now(), sure: !l.doubtful, doubts: l.doubts}
}

// done notes what must follow from it, in this order.
func (o *operation) done(events ...Event) {
	if o == nil {
		return
	}
	l := o.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		s, lane := origin(e.Type, e.Request)
		l.expected[lane] = append(l.expected[lane], Expected{
			Event: e, Exchange: exchangeOf(s), Operation: o.name, From: o.from, To: time.Now(), Prompt: lane == string(s),
			Sure: o.sure && o.doubts == l.doubts,
		})
	}
}

// counts tells whether the event is one that the ledger knows or should know of.
func (l *Ledger) counts(e event.Event) bool {
	return e.EventType != "identity.authenticate" || e.Context == nil || !l.quiet[e.Context.UserID]
}

// Check compares events, in their order, with what must have followed. It returns those that are missing and may be, and
// as the error everything that is wrong: events that can't be missing, that nothing explains, that come twice or out of
// order, or that say something else than what was done. Events of one lane have one order: that of the operations.
func (l *Ledger) Check(events []event.Event) (missing []Expected, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var problems []error
	ids := map[string]bool{}
	got := map[string][]event.Event{}
	for _, e := range events {
		if ids[e.MessageID] {
			problems = append(problems, fmt.Errorf("%s %s comes twice", e.EventType, e.MessageID))
		}
		ids[e.MessageID] = true
		if l.counts(e) {
			request := ""
			if e.Context != nil {
				request = e.Context.RequestID
			}
			_, lane := origin(e.EventType, request)
			got[lane] = append(got[lane], e)
		}
	}
	lanes := map[string]bool{}
	for lane := range l.expected {
		lanes[lane] = true
	}
	for lane := range got {
		lanes[lane] = true
	}
	for lane := range lanes {
		m, err := align(l.expected[lane], got[lane])
		missing = append(missing, m...)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", lane, err))
		}
	}
	return missing, errors.Join(problems...)
}

// origin says which service tells an event, and in which lane it is: events of one lane come in the order in which they
// were told. What a service tells before it answers is in the lane with its name. Cinder and nova are several processes
// that tell things at the same time; so a lane of theirs is a request. And glance tells that it has sent an image when it
// has, while the next request may be under way.
func origin(eventType, request string) (s Service, lane string) {
	if eventType == "image.send" {
		return Glance, eventType
	}
	first, _, _ := strings.Cut(eventType, ".")
	switch first {
	case "identity":
		return Keystone, string(Keystone)
	case "image":
		return Glance, string(Glance)
	case "network", "subnet", "port", "router", "security_group", "security_group_rule":
		return Neutron, string(Neutron)
	case "volume", "volume_type", "snapshot":
		return Cinder, request
	}
	return Nova, request
}

// exchangeOf is where a service tells what it does.
func exchangeOf(s Service) string {
	if s == Cinder {
		return "openstack"
	}
	return string(s)
}
