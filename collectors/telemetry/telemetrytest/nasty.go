package telemetrytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

// nastyLate is how late an event shows at most, below the overlap of 30 s.
const nastyLate = 25 * time.Second

// feed puts events into the stand-in over some minutes: groups with one time that are larger than a page, single ones,
// several projects, and one group in eight that shows late. It returns what is to come on time, in order, and the rest.
func feed(
	t *testing.T, s *standin.Service, events int, projects []string, random *rand.Rand, end <-chan struct{},
) (onTime []event.ID, late map[event.ID]bool) {
	late = map[event.ID]bool{}
	for n := 0; n < events; {
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
		for range min(size, events-n) {
			id := fmt.Sprintf("%06d", n)
			e, err := standin.ParseEvent(fmt.Appendf(nil, `{"message_id": %q, "event_type": "x", "generated": %q, "traits": `+
				`[{"name": "project_id", "type": "string", "value": %q}], "raw": {"n": %d}}`,
				id, at.Format(TimeFormat), projects[n%len(projects)], n))
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

// EverythingAtOnce collects from a service that fails at random, while its tokens expire and the collector is killed every few
// seconds. It must be called in virtual time.
func EverythingAtOnce(
	t *testing.T, events int, name event.Source, spec collectors.Spec, opts standin.Options, faults standin.Faults,
	build func(http.Handler, httppoll.Hooks) collectors.Source,
) {
	random := rand.New(rand.NewPCG(1, 2))
	opts.TokenLife, opts.Seed = 40*time.Second, 9
	service := standin.New(opts)
	faults.ErrorRate, faults.Delay = 0.15, 20*time.Millisecond
	service.SetFaults(faults)
	log := collectorstest.NewLog()
	var n Counter

	type fed struct {
		onTime []event.ID
		late   map[event.ID]bool
	}
	fedAll := make(chan fed, 1)
	end := make(chan struct{})
	defer close(end)
	go func() {
		projects := []string{"another project", standin.Admin().ProjectID}
		if opts.Ceilometer {
			projects = projects[1:] // it shows no others
		}
		onTime, late := feed(t, service, events, projects, random, end)
		fedAll <- fed{onTime, late}
	}()

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Hour)
	defer cancel()
	restarts := 0
	for ; len(log.IDs("p")) < events && ctx.Err() == nil; restarts++ {
		loop := &collectors.Loop{
			Provider: "p", Name: name, Source: build(service, n.Hooks()), Spec: spec, Memory: log, Log: zerolog.Nop(),
			Writer: log.NewWriter("p", name, event.Fence{}),
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
	if len(place) != events || len(all.late) == 0 || restarts < 5 || n.Get("error") == 0 {
		t.Errorf("%d events, %d of them late, %d restarts, %d errors: the test did not test",
			len(place), len(all.late), restarts, n.Get("error"))
	}
}
