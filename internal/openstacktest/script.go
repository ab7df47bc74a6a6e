package openstacktest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"stackstream/event"
)

// script performs operations one after the other, up to the first that goes wrong.
type script struct {
	*client
	ctx context.Context
	err error
}

func (c *client) script(ctx context.Context) *script { return &script{client: c, ctx: ctx} }

// do performs one operation, from which events follow in this order.
func (s *script) do(what, method, url string, body any, follows ...Event) {
	s.ask(what, method, url, body, nil, func() []Event { return follows })
}

// ask is do for an operation whose events depend on the answer.
func (s *script) ask(what, method, url string, body, answer any, follows func() []Event) {
	if s.err != nil {
		return
	}
	content := []byte(nil)
	if body != nil {
		content, s.err = json.Marshal(body)
	}
	if s.err == nil {
		s.send(what, method, url, "application/json", content, answer, follows)
	}
}

// send is ask for a body of another type.
func (s *script) send(what, method, url, contentType string, content []byte, answer any, follows func() []Event) {
	if s.err != nil {
		return
	}
	o := s.ledger.begin(what)
	if err := s.client.send(s.ctx, method, url, contentType, content, answer); err != nil {
		s.err = fmt.Errorf("%s: %w", what, err)
		return
	}
	o.done(s.answered(follows())...)
}

// create makes something of a kind and returns its id.
func (s *script) create(kind, url string, fields object, follows func(id string) []Event) string {
	var answer map[string]struct{ ID json.RawMessage }
	var id string
	s.ask("create "+kind, http.MethodPost, url, object{kind: fields}, &answer, func() []Event {
		if json.Unmarshal(answer[kind].ID, &id) != nil { // aggregates have numbers
			id = string(answer[kind].ID)
		}
		return follows(id)
	})
	return id
}

// wait asks for something until its status is the wanted one, or until it is gone.
func (s *script) wait(url, kind, status string) {
	if s.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, requestLimit)
	defer cancel()
	for {
		var answer map[string]struct{ Status string }
		err := s.call(ctx, http.MethodGet, url, nil, &answer)
		is := answer[kind].Status
		switch {
		case status == gone && isStatus(err, http.StatusNotFound), err == nil && is == status:
			return
		case err != nil:
			s.err = fmt.Errorf("wait for %s to be %s: %w", kind, status, err)
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			s.err = fmt.Errorf("wait for %s to be %s: it is %q: %w", kind, status, is, context.Cause(ctx))
			return
		}
	}
}

// gone is the status of what does not exist any more.
const gone = "gone"

// answered adds the id of the last request to events that say who asked.
func (c *client) answered(follows []Event) []Event {
	for i := range follows {
		if follows[i].User != "" {
			follows[i].Request = c.requestID
		}
	}
	return follows
}

// event is one of a service that says who asked for it. The project that the token is for is the last target.
func (c *client) event(eventType string, touched ...event.Target) Event {
	e := Event{Type: eventType, User: c.userID, Project: c.projectID}
	project := target("project", c.projectID)
	for _, t := range touched {
		if t != project {
			e.Targets = append(e.Targets, t)
		}
	}
	e.Targets = append(e.Targets, project)
	return e
}

// both are the events at the beginning and at the end of something.
func (c *client) both(eventType string, touched ...event.Target) []Event {
	return []Event{c.event(eventType+".start", touched...), c.event(eventType+".end", touched...)}
}

func target(kind, id string) event.Target { return event.Target{Kind: kind, ID: id} }
