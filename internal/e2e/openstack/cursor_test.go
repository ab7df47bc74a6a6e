//go:build openstack

package openstack

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// cursor is what the source's cursor says about the exchanges.
type cursor struct {
	Claims map[string]struct {
		Bound bool
		Lost  time.Time
	}
	Gaps      []gap
	GapsTotal int `json:"gaps_total"`
}

// gap is a time in which events may have passed by.
type gap struct {
	What     string
	From, To time.Time
}

func (g gap) String() string {
	return fmt.Sprintf("%s from %s to %s", g.What, g.From.Format("15:04:05.000"), g.To.Format("15:04:05.000"))
}

func (s *scene) cursor(t *testing.T) cursor {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	all, err := s.streams.Memory().Cursors(ctx, provider)
	if err != nil {
		t.Fatal(err)
	}
	var c cursor
	if text := all["amqp"].Cursor; len(text) > 0 {
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// bound waits until the collector says that nothing is wrong, and its cursor that the queue is bound to every exchange and
// that the gaps which must have been are over.
func (s *scene) bound(t *testing.T) {
	t.Helper()
	var c cursor
	eventually(t, 2*time.Minute, "the collector to be bound to every exchange", func() bool {
		c = s.cursor(t)
		for _, x := range s.exchanges {
			if !c.Claims[x].Bound || !c.Claims[x].Lost.IsZero() {
				return false
			}
		}
		return c.GapsTotal == s.gaps && s.collector.trouble() == ""
	}, func() string { return fmt.Sprintf("it says %q, its cursor %+v", s.collector.trouble(), c) })
}
