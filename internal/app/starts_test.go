package app

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
)

// Parts begin in turn. What is at work, fails or stands by makes room at once, what says nothing after a moment.
func TestPartsBeginInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const atOnce, within = 2, time.Second
		waits, began := make(chan part, 10), make(chan part, 10)
		s := newStarts(atOnce, within, func(p part) { waits <- p })
		ctx, cancel := context.WithCancel(t.Context())
		begin := func(n int) part {
			p := part{role: event.RoleCollector, provider: event.Provider(fmt.Sprint("p", n))}
			go func() { s.begin(ctx, p); began <- p }()
			synctest.Wait()
			if len(waits) != 1 || <-waits != p {
				t.Errorf("%s waits for its turn without a word", p.provider)
			}
			return p
		}
		expect := func(n int) {
			t.Helper()
			synctest.Wait()
			if len(began) != n {
				t.Errorf("%d parts began, want %d", len(began), n)
			}
			for range len(began) {
				<-began
			}
		}
		first := begin(1)
		begin(2)
		expect(2)
		begin(3)
		begin(4)
		say := func(source event.Source, state event.State) {
			s.status(event.Status{Role: first.role, Provider: first.provider, Source: source, State: state})
		}
		say("", event.StateLive) // it has chosen a source
		say("panko", event.StateStarting)
		expect(0)
		say("panko", event.StateLive)
		expect(1)
		say("panko", event.StateBackoff)
		expect(0)
		time.Sleep(within)
		expect(1)

		// One that begins again has one place.
		again := begin(5)
		expect(1)
		s.begin(ctx, again)
		<-waits
		begin(6)
		expect(0)
		cancel()
		expect(1)
		time.Sleep(within)
		synctest.Wait()
		if len(s.under) > 0 || len(s.places) > 0 {
			t.Errorf("%d parts have %d places at the end", len(s.under), len(s.places))
		}
	})
}
