package oslo

import (
	"strings"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/normalizer/rules"
)

// describe fills in who published the event, on whose behalf, and what the service says about it. The context of the
// request counts first; glance and keystone send none, and periodic tasks have one without a user.
func describe(e *event.Event, notification, payload rawjson.Object) {
	initiator, _ := payload.Get("initiator").Members() // CADF

	e.PublisherID = rules.Text(notification.Get("publisher_id"))
	e.Priority = strings.ToLower(rules.Text(notification.Get("priority")))
	e.Message = message(rawjson.Value(e.Payload), payload)
	context := event.Context{
		RequestID: rules.Text(notification.Get("_context_request_id"), initiator.Get("request_id"), payload.Get("request_id")),
		UserID: rules.Text(
			notification.Get("_context_user_id"), notification.Get("_context_user"), // the latter before oslo.context
			initiator.Get("user_id"), account(initiator),
			payload.Get("action_initiator_user"), // nova, versioned; user_id is who owns the instance
			payload.Get("receiver_user_id"),      // glance
			payload.Get("user_identity"),         // heat, whose user_id is a name
			payload.Get("user_id")),
		UserName: rules.Text(
			notification.Get("_context_user_name"), notification.Get("_context_username"),
			initiator.Get("username"), initiator.Get("name"),
			payload.Get("user_name"), payload.Get("username")),
		ProjectID: rules.Text(
			notification.Get("_context_project_id"), notification.Get("_context_tenant_id"),
			notification.Get("_context_project"), notification.Get("_context_tenant"),
			initiator.Get("project_id"),
			payload.Get("action_initiator_project"),
			payload.Get("receiver_tenant_id"),
			payload.Get("project_id"), payload.Get("tenant_id")),
	}
	if context != (event.Context{}) {
		e.Context = &context
	}
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
