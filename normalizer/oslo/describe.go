package oslo

import (
	"strings"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/normalizer/rules"
)

// Describe fills in who published the event of a notification, on whose behalf, and what the service says about it, and returns
// where the rules look for targets. notification are its members, context those of the request's context, without "_context_" before
// their names. The context counts first; glance and keystone send none, and periodic tasks have one without a user. payload is flat,
// details its members.
func Describe(
	e *event.Event, notification, context func(name string) rawjson.Value, payload rawjson.Value, details rawjson.Object,
) []rawjson.Object {
	known := rules.NewIndex(details)
	initiator, _ := known.Get("initiator").Members() // CADF

	e.PublisherID = rules.Text(notification("publisher_id"))
	e.Priority = strings.ToLower(rules.Text(notification("priority")))
	e.Message = message(payload, &known)
	on := event.Context{
		RequestID: rules.Text(context("request_id"), initiator.Get("request_id"), known.Get("request_id")),
		UserID: rules.Text(
			context("user_id"), context("user"), // the latter before oslo.context
			initiator.Get("user_id"), account(initiator),
			known.Get("action_initiator_user"), // nova, versioned; user_id is who owns the instance
			known.Get("receiver_user_id"),      // glance
			known.Get("user_identity"),         // heat, whose user_id is a name
			known.Get("user_id")),
		UserName: rules.Text(
			context("user_name"), context("username"),
			initiator.Get("username"), initiator.Get("name"),
			known.Get("user_name"), known.Get("username")),
		ProjectID: rules.Text(
			context("project_id"), context("tenant_id"),
			context("project"), context("tenant"),
			initiator.Get("project_id"),
			known.Get("action_initiator_project"),
			known.Get("receiver_tenant_id"),
			known.Get("project_id"), known.Get("tenant_id")),
	}
	if on != (event.Context{}) {
		e.Context = &on
	}
	return documents(details)
}

// documents is where the rules look for targets: the payload, and the arguments that nova sends when a call failed:
// {"exception": …, "args": {"instance": {"uuid": …, "host": …}, "volume_id": …}}.
func documents(payload rawjson.Object) []rawjson.Object {
	args, ok := payload.Get("args").Members()
	if !ok || payload.Get("exception") == nil {
		return []rawjson.Object{payload}
	}
	instance, _ := args.Get("instance").Members()
	return []rawjson.Object{payload, args, instance}
}

// account is the initiator's id where that is the id of a user.
func account(initiator rawjson.Object) rawjson.Value {
	if kind, _ := initiator.Get("typeURI").Text(); strings.HasSuffix(kind, "/account/user") {
		return initiator.Get("id")
	}
	return nil
}
