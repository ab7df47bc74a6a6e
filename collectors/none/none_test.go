package none_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/collectors/none"
	"stackstream/event"
)

func TestNoneIsIdle(t *testing.T) {
	for _, want := range []string{none.Kind, collectors.Auto} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := collectorstest.NewLog()
				var last event.Status
				// No Lease, no Memory and no Writer: nothing may ask for them.
				c := collectors.Collector{
					Provider: "cloud", Want: want, Candidates: []collectors.Candidate{none.Candidate()},
					Deps: collectors.Deps{Choices: log, Log: zerolog.Nop(), Hooks: collectors.Hooks{
						Status: func(s event.Status) { last = s },
					}},
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- c.Run(ctx) }()
				synctest.Wait()
				if last.State != event.StateIdle || last.Reason == "" {
					t.Errorf("the state is %+v", last)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if choice, err := log.ReadChoice(t.Context(), "cloud"); err != nil || choice.Kind != none.Kind {
					t.Errorf("recorded is %+v, %v", choice, err)
				}
			})
		})
	}
}
