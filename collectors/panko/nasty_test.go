package panko

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

const (
	nastyEvents = 5000
	nastyLate   = 25 * time.Second // below the overlap of 30 s
)

// feed puts events into the stand-in over some minutes: groups with one time that are larger than a page, single ones,
// two tenants, and one group in eight that shows late. It returns what is to come on time, in order, and the rest.
func feed(t *testing.T, s *standin.Service, random *rand.Rand, end <-chan struct{}) (onTime []event.ID, late map[event.ID]bool) {
	late = map[event.ID]bool{}
	for n := 0; n < nastyEvents; {
		at := time.Now().UTC().Truncate(time.Microsecond)
		size := 1 + random.IntN(5)
		if random.IntN(10) == 0 {
			size = 60 + random.IntN(60)
		}
		visible := time.Time{}
		if random.IntN(8) == 0 {
			visible = at.Add(rand.N(nastyLate))
		}
		var group []standin.Event
		for range min(size, nastyEvents-n) {
			id := fmt.Sprintf("%06d", n)
			project := standin.Admin().ProjectID
			if n%2 == 0 {
				project = "another project"
			}
			e, err := standin.ParseEvent(fmt.Appendf(nil, `{"message_id": %q, "event_type": "x", "generated": %q, "traits": `+
				`[{"name": "project_id", "type": "string", "value": %q}], "raw": {"n": %d}}`, id, at.Format(timeFormat), project, n))
			if err != nil {
				t.Error(err)
				return
			}
			e.Visible = visible
			group = append(group, e)
			if visible.IsZero() {
				onTime = append(onTime, event.ID(id))
			} else {
				late[event.ID(id)] = true
			}
			n++
		}
		s.Put(group...)
		select {
		case <-time.After(time.Duration(random.IntN(500)) * time.Millisecond):
		case <-end:
			return
		}
	}
	return
}

// TestEverythingAtOnce collects from a service that fails at random, while its tokens expire, its pages end early and
// the collector is killed every few seconds.
func TestEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		service := standin.New(standin.Options{TokenLife: 40 * time.Second, Seed: 9})
		service.SetFaults(standin.Faults{ErrorRate: 0.15, Delay: 20 * time.Millisecond, ShortPages: true})
		log := collectorstest.NewLog()
		var n counter

		type fed struct {
			onTime []event.ID
			late   map[event.ID]bool
		}
		fedAll := make(chan fed, 1)
		end := make(chan struct{})
		defer close(end)
		go func() {
			onTime, late := feed(t, service, random, end)
			fedAll <- fed{onTime, late}
		}()

		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Hour)
		defer cancel()
		restarts := 0
		for ; len(log.IDs("p")) < nastyEvents && ctx.Err() == nil; restarts++ {
			src := local(t, service, func(c *Config) { c.Limit, c.Every = 50, 2*time.Second })
			src.opts.Hooks = n.hooks()
			loop := &collectors.Loop{
				Provider: "p", Name: Kind, Source: src, Spec: src.cfg.Spec(), Memory: log, Log: zerolog.Nop(),
				Writer: log.NewWriter("p", Kind, event.Fence{}),
			}
			life, kill := context.WithTimeout(ctx, time.Duration(5+restarts%60)*time.Second)
			_ = loop.Run(life) // it ends by being killed or by an error, and is run again either way
			kill()
		}
		all := <-fedAll

		place := map[event.ID]int{}
		for i, id := range log.IDs("p") {
			if _, twice := place[id]; twice {
				t.Fatalf("event %s came twice", id)
			}
			place[id] = i
		}
		for i, id := range all.onTime {
			at, came := place[id]
			if !came {
				t.Fatalf("event %s is missing", id)
			}
			if i > 0 && at < place[all.onTime[i-1]] {
				t.Fatalf("event %s came before event %s", id, all.onTime[i-1])
			}
		}
		for id := range all.late {
			if _, came := place[id]; !came {
				t.Fatalf("late event %s is missing", id)
			}
		}
		if len(place) != nastyEvents || len(all.late) == 0 || restarts < 5 || n.get("error") == 0 {
			t.Errorf("%d events, %d of them late, %d restarts, %d errors: the test did not test", len(place), len(all.late), restarts, n.get("error"))
		}
	})
}
