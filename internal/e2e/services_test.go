package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stackstream/internal/rabbitmqtest"
)

// published is a notification that the broker confirmed.
type published struct {
	notice          // without the body
	sum             [sha256.Size]byte
	exchange        string
	window          int  // of the exchange: what was published at the same time
	resent          bool // some of the window was sent twice, so that its order is not known
	sent, confirmed time.Time
}

// services are publishers of notifications, one for each exchange, and keep what the broker confirmed.
type services struct {
	exchanges []string
	recorded  map[string][]recording
	publisher map[string]*rabbitmqtest.Publisher

	mu  sync.Mutex
	all map[string][]published // by exchange
}

// windowSize is how many notifications of a service wait for their confirms at a time.
const windowSize = 50

// newServices declares the exchanges.
func newServices(
	t testing.TB, broker *rabbitmqtest.Broker, vhost string, variant rabbitmqtest.Variant, exchanges ...string,
) *services {
	t.Helper()
	s := &services{
		exchanges: exchanges, recorded: recordings(t), publisher: map[string]*rabbitmqtest.Publisher{},
		all: map[string][]published{},
	}
	for _, x := range exchanges {
		if len(s.recorded[x]) == 0 {
			t.Fatalf("there are no recordings of exchange %s", x)
		}
		s.publisher[x] = broker.Publisher(t, vhost, rabbitmqtest.As(variant), rabbitmqtest.Window(windowSize))
		if err := s.publisher[x].Declare(t.Context(), x, "notifications.info"); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// publish publishes one window and keeps it once all of it is confirmed.
func (s *services) publish(ctx context.Context, exchange string, notices ...notice) error {
	publisher := s.publisher[exchange]
	messages := make([]rabbitmqtest.Message, len(notices))
	for i, n := range notices {
		messages[i] = n.message(exchange)
	}
	before, sent := publisher.Resent(), time.Now()
	err := publisher.Publish(ctx, messages...)
	again := false
	for ; err != nil && strings.Contains(err.Error(), "no access to this vhost"); err = publisher.Publish(ctx, messages...) {
		again = true
		every(100 * time.Millisecond)(ctx) // a broker that is starting says that before it knows its vhosts
	}
	if err != nil {
		return err
	}
	confirmed := time.Now()
	resent := again || publisher.Resent() > before
	s.mu.Lock()
	defer s.mu.Unlock()
	window := 0
	if n := len(s.all[exchange]); n > 0 {
		window = s.all[exchange][n-1].window + 1
	}
	for _, n := range notices {
		p := published{
			notice: n, sum: sha256.Sum256(n.body), exchange: exchange, window: window, resent: resent,
			sent: sent, confirmed: confirmed,
		}
		p.body = nil
		s.all[exchange] = append(s.all[exchange], p)
	}
	return nil
}

// emit publishes recorded notifications to each exchange, each time that pace lets it, with something hostile in every
// window when asked for: at least n to each, and until enough is closed. It returns when all are confirmed.
func (s *services) emit(
	ctx context.Context, n int, enough <-chan struct{}, withHostile bool, pace func(ctx context.Context),
) error {
	going := func(k int) bool {
		select {
		case <-enough:
			return k < n
		default:
			return true
		}
	}
	var group sync.WaitGroup
	errs := make([]error, len(s.exchanges))
	for i, x := range s.exchanges {
		group.Go(func() {
			for k := 0; going(k) && errs[i] == nil; {
				pace(ctx)
				var window []notice
				for range windowSize {
					window = append(window, s.recorded[x][k%len(s.recorded[x])].fresh())
					k++
				}
				if withHostile {
					window[windowSize/2] = hostile((k/windowSize)*len(s.exchanges) + i)
				}
				errs[i] = s.publish(ctx, x, window...)
			}
		})
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("publish on exchange %s: %w", s.exchanges[i], err)
		}
	}
	return nil
}

// confirmed are all notifications that the broker confirmed so far.
func (s *services) confirmed() []published {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []published
	for _, x := range s.exchanges {
		all = append(all, s.all[x]...)
	}
	return all
}

func (s *services) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, all := range s.all {
		n += len(all)
	}
	return n
}

// ids are those of the given notifications.
func ids(of []published) map[string]bool {
	found := make(map[string]bool, len(of))
	for i := range of {
		found[of[i].id] = true
	}
	return found
}

// checkArrival finds fault unless those of got that an exchange handed out come in the order in which they were published:
// one window after the other, and in order within a window if none of it was sent twice.
func checkArrival(sent []published, got []entry) error {
	place := make(map[string]int, len(got))
	for i, e := range got {
		place[e.id] = i
	}
	type last struct{ any, settled int } // of the window, of those before
	seen, window := map[string]*last{}, map[string]int{}
	var problems []error
	for _, p := range sent {
		at, there := place[p.id]
		if !there {
			continue // another check's business
		}
		l := seen[p.exchange]
		if l == nil {
			l = &last{-1, -1}
			seen[p.exchange] = l
		}
		if window[p.exchange] != p.window {
			window[p.exchange] = p.window
			l.settled = l.any
		}
		if at <= l.settled || !p.resent && at <= l.any {
			problems = append(problems, fmt.Errorf("%s of exchange %s comes before what was confirmed earlier", p.id, p.exchange))
		}
		l.any = max(l.any, at)
	}
	return summary(problems)
}

// claim is a watermark, and how many events of the source were collected when it was made.
type claim struct {
	watermark time.Time
	events    int
}

// checkClaims finds fault unless everything that was confirmed before a watermark is among the events that were collected
// by then. got are the events of the source, sent the notifications that are its business.
func checkClaims(sent []published, got []entry, claims []claim) error {
	place := make(map[string]int, len(got))
	for i, e := range got {
		place[e.id] = i
	}
	sorted := slices.SortedFunc(slices.Values(sent), func(a, b published) int { return a.confirmed.Compare(b.confirmed) })
	furthest := make([]int, len(sorted)) // how many events have to be collected for all up to this one to be there
	need := 0
	for i := range sorted {
		at, there := place[sorted[i].id]
		if !there {
			at = len(got)
		}
		need = max(need, at+1)
		furthest[i] = need
	}
	var problems []error
	for _, c := range claims {
		n, _ := slices.BinarySearchFunc(sorted, c.watermark, func(p published, at time.Time) int { return p.confirmed.Compare(at) })
		if n > 0 && furthest[n-1] > c.events {
			problems = append(problems, fmt.Errorf("the watermark %v is told after %d events, and what was confirmed by then comes up to the %dth",
				c.watermark, c.events, furthest[n-1]))
		}
	}
	return summary(problems)
}

// claimsOf are those that the events themselves carry.
func claimsOf(got []entry) []claim {
	var claims []claim
	for i, e := range got {
		if !e.watermark.IsZero() {
			claims = append(claims, claim{e.watermark, i + 1})
		}
	}
	return claims
}

// amqpFile writes a configuration for one provider whose notifications come from a vhost of the broker. nats is the content
// of the nats section, more what else stands in that of the source.
func amqpFile(t testing.TB, broker *rabbitmqtest.Broker, vhost, nats, more string) string {
	t.Helper()
	dir := t.TempDir()
	secret, file := filepath.Join(dir, "password"), filepath.Join(dir, "stackstream.yaml")
	text := fmt.Sprintf(`nats:
%s
admin:
  listen: 127.0.0.1:0
providers:
  prod:
    events: amqp
    amqp:
      hosts: ["%s"]
      vhost: %s
      user: guest
      password_file: %s
      topics: [notifications, versioned_notifications]
%s`, nats, broker.Addr(), vhost, secret, indent(more))
	for name, content := range map[string]string{secret: "guest\n", file: text} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func indent(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString("      " + line)
	}
	return b.String()
}
