package oslo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/normalizer/rules"
)

func TestEnvelope(t *testing.T) {
	const bare = `{"message_id":"m","event_type":"x.y","payload":{"a":1}}`
	for _, c := range []struct{ name, body string }{
		{"version 2.0", notification(t, bare)},
		{"version 1: none", bare},
		{"an unknown minor version", `{"oslo.version":"2.17","oslo.message":` + fmt.Sprintf("%q", bare) + `}`},
		{"a version that is a number", `{"oslo.version":2.0,"oslo.message":` + fmt.Sprintf("%q", bare) + `}`},
		{"no version", `{"oslo.message":` + fmt.Sprintf("%q", bare) + `}`},
		{"a message that is an object", `{"oslo.version":"2.0","oslo.message":` + bare + `}`},
		{"a byte order mark", "\xef\xbb\xbf" + notification(t, bare)},
		{"a byte order mark inside", notification(t, "\ufeff"+bare)},
		{"escaped letters", `{"oslo\u002emessage":"{\u0022message_id\u0022:\"m\",\"event_type\":\"x.y\",\"payload\":{\"a\":1}}"}`},
		{"members twice: the last counts", `{"oslo.message":"x","oslo.message":` + fmt.Sprintf("%q", bare) + `}`},
		{"event_type twice", `{"event_type":1,"message_id":"m","payload":{},"event_type":"x.y","payload":{"a":1}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := convert(t, c.body)
			if e.MessageID != "m" || e.EventType != "x.y" || string(e.Payload) != `{"a":1}` {
				t.Errorf("%s %s %s", e.MessageID, e.EventType, e.Payload)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	const secret = "hunter2"
	inside := func(message string) string { return notification(t, message) }
	for _, c := range []struct{ name, body, want string }{
		{"nothing", "", "body: empty"},
		{"not JSON", secret, "body: byte 1: "},
		{"cut off", `{"oslo.version":"2.0","oslo.message":"` + secret, "body: byte 45: unexpected end of JSON input"},
		{"a list", `["` + secret + `"]`, "body: not an object"},
		{"a string", `"` + secret + `"`, "body: not an object"},
		{"two values", `{"event_type":"x"}{}`, "body: byte 19: "},
		{"nested too deep", `{"event_type":"x","payload":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`,
			"body: nested deeper than 256"},
		{"version 1.0 of an envelope", `{"oslo.version":"1.0","oslo.message":"{}"}`, "oslo.version: want 2.x"},
		{"version 3.0", `{"oslo.version":"3.0","oslo.message":"{}"}`, "oslo.version: want 2.x"},
		{"version 20", `{"oslo.version":"20","oslo.message":"{}"}`, "oslo.version: want 2.x"},
		{"a version that is a secret", `{"oslo.version":{"password":"` + secret + `"},"oslo.message":"{}"}`, "oslo.version: want 2.x"},
		{"no message", `{"oslo.version":"2.0"}`, "oslo.message: neither an object nor a string that holds one"},
		{"a message that is null", `{"oslo.version":"2.0","oslo.message":null}`,
			"oslo.message: neither an object nor a string that holds one"},
		{"a message that is a list", `{"oslo.version":"2.0","oslo.message":[]}`,
			"oslo.message: neither an object nor a string that holds one"},
		{"a message that holds a list", inside(`[]`), "oslo.message: neither an object nor a string that holds one"},
		{"a message that is not JSON", inside(secret), "oslo.message: byte 1: "},
		{"a message that is empty", inside(""), "oslo.message: empty"},
		{"a message nested too deep", inside(`{"event_type":"x","payload":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`),
			"oslo.message: nested deeper than 256"},
		{"no event_type", inside(`{"message_id":"m","payload":{"password":"` + secret + `"}}`), "event_type: missing or not a string"},
		{"an empty event_type", inside(`{"event_type":""}`), "event_type: missing or not a string"},
		{"event_type is a number", inside(`{"event_type":5}`), "event_type: missing or not a string"},
		{"event_type is null", inside(`{"event_type":null}`), "event_type: missing or not a string"},
		{"message_id is an object", inside(`{"event_type":"x","message_id":{"a":"` + secret + `"}}`), "message_id: not a string"},
		{"timestamp is a number", inside(`{"event_type":"x","timestamp":1795329610}`), "timestamp: not a string"},
		{"timestamp is garbage", inside(`{"event_type":"x","timestamp":"` + secret + `"}`), "timestamp: not a time in a known form"},
	} {
		t.Run(c.name, func(t *testing.T) {
			converted, err := newConverter(t).Convert(rawEvent(c.body))
			if err == nil {
				t.Fatalf("converted to %v", converted)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the body: %q", err)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	for _, c := range []struct{ id, want string }{
		{`"message_id":"m",`, "m"},
		{`"message_id":12345678901234567890,`, "12345678901234567890"},
		{``, "raw-id"},
		{`"message_id":null,`, "raw-id"},
		{`"message_id":"",`, "raw-id"},
		{`"message_id":{},`, "raw-id"},
	} {
		if e := convert(t, notification(t, `{`+c.id+`"event_type":"x.y"}`)); e.MessageID != c.want {
			t.Errorf("%s: %q, want %q", c.id, e.MessageID, c.want)
		}
	}
	raw := rawEvent(`{"event_type":"x.y"}`)
	raw.ID = ""
	if _, err := newConverter(t).Convert(raw); err == nil || err.Error() != "message_id: missing" {
		t.Errorf("without any identity: %v", err)
	}
}

func TestTimestamps(t *testing.T) {
	const received = "2026-11-22T07:00:00.123456Z"
	for _, c := range []struct{ in, want string }{
		{`"2026-11-22 05:42:09.830894"`, "2026-11-22T05:42:09.830894Z"},
		{`"2026-11-22 05:42:09"`, "2026-11-22T05:42:09Z"},
		{`"2026-11-22T05:42:09.830894"`, "2026-11-22T05:42:09.830894Z"},
		{`"2026-11-22T05:42:09Z"`, "2026-11-22T05:42:09Z"},
		{`"2026-11-22 07:42:09+02:00"`, "2026-11-22T05:42:09Z"},
		{`"2026-11-22 05:42:09.123456+00:00"`, "2026-11-22T05:42:09.123456Z"},
		{`"2026-11-22T05:56:19.387831+0000"`, "2026-11-22T05:56:19.387831Z"},
		{`""`, received},
		{`" "`, received},
		{`null`, received},
	} {
		body := notification(t, `{"message_id":"m","event_type":"x.y","timestamp":`+c.in+`}`)
		if got := convert(t, body).Timestamp.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
	if got := convert(t, `{"event_type":"x.y"}`).Timestamp.String(); got != received {
		t.Errorf("without a timestamp: %s", got)
	}
	raw := rawEvent(`{"event_type":"x.y"}`)
	raw.Received = time.Time{}
	if _, err := newConverter(t).Convert(raw); err == nil {
		t.Error("converted without any time")
	}
}

// The payload is what the source had, value for value.
func TestPayload(t *testing.T) {
	for _, c := range []struct {
		in, want string
		mended   int
	}{
		{`,"payload":"just a string"`, `"just a string"`, 0},
		{`,"payload":[1,{"a":2.50}]`, `[1,{"a":2.50}]`, 0},
		{`,"payload":null`, `null`, 0},
		{`,"payload":{}`, `{}`, 0},
		{`,"payload":""`, `""`, 0},
		{`,"payload":[]`, `[]`, 0},
		{`,"payload":-0`, `-0`, 0},
		{`,"payload":-12345678901234567890.10e400`, `-12345678901234567890.10e400`, 0},
		{`,"payload":true`, `true`, 0},
		{``, `{}`, 0},
		{`,"payload":{"n":12345678901234567890123,"f":1.10,"a":1,"a":2}`, `{"n":12345678901234567890123,"f":1.10,"a":1,"a":2}`, 0},
		{`,"payload":{"free":Infinity,"l":[-Infinity,NaN,"NaN"]}`, `{"free":"Infinity","l":["-Infinity","NaN","NaN"]}`, 3},
		{`,"payload":NaN`, `"NaN"`, 1},
		{`,"payload":{"s":"\ud83d\udc31 \ud83d"}`, `{"s":"\ud83d\udc31 \ud83d"}`, 0},
	} {
		t.Run(c.in, func(t *testing.T) {
			for _, body := range []string{
				`{"message_id":"m","event_type":"x.y"` + c.in + `}`,
				notification(t, `{"message_id":"m","event_type":"x.y"`+c.in+`}`),
			} {
				converted, err := newConverter(t).Convert(rawEvent(body))
				if err != nil {
					t.Fatal(err)
				}
				if got := string(converted.Events[0].Payload); got != c.want || converted.Mended != c.mended {
					t.Errorf("%s, %d mended; want %s, %d", got, converted.Mended, c.want, c.mended)
				}
			}
		})
	}
	body := `{"oslo.version":"2.0","more":NaN,"oslo.message":"{\"event_type\":\"x.y\",\"payload\":NaN}"}`
	if converted, err := newConverter(t).Convert(rawEvent(body)); err != nil || converted.Mended != 2 {
		t.Errorf("in the envelope, too: %d, %v", converted.Mended, err)
	}
	converted, err := newConverter(t).Convert(rawEvent("{\"event_type\":\"x.y\",\"payload\":{\"a\":\"\xff\xfe\",\"b\":\"\xff\",\"c\":Infinity}}"))
	if err != nil || string(converted.Events[0].Payload) != "{\"a\":\"\uFFFD\",\"b\":\"\uFFFD\",\"c\":\"Infinity\"}" || converted.Mended != 3 {
		t.Errorf("bytes that are no UTF-8: %s, %d, %v", converted.Events[0].Payload, converted.Mended, err)
	}
}

func TestContextAndMessage(t *testing.T) {
	for _, c := range []struct {
		name, members string
		want          event.Context
		chain         string
		message       string
	}{
		{"oslo.context",
			`"_context_request_id":"req-1","_context_user_id":"u","_context_user":"u0","_context_user_name":"admin",
			 "_context_project_id":"p","_context_tenant":"p0","payload":{"user_id":"owner","tenant_id":"owners"}`,
			event.Context{RequestID: "req-1", UserID: "u", UserName: "admin", ProjectID: "p"}, "req-1", ""},
		{"before oslo.context",
			`"_context_request_id":"req-1","_context_user":"u","_context_username":"n","_context_tenant":"p"`,
			event.Context{RequestID: "req-1", UserID: "u", UserName: "n", ProjectID: "p"}, "req-1", ""},
		{"a periodic task: a context of nulls",
			`"_context_request_id":"req-1","_context_user_id":null,"_context_project_id":null,"payload":{"user_id":"u","tenant_id":"p"}`,
			event.Context{RequestID: "req-1", UserID: "u", ProjectID: "p"}, "req-1", ""},
		{"the initiator of an action goes before the owner",
			`"payload":{"nova_object.name":"N","nova_object.data":{"user_id":"owner","tenant_id":"owners","action_initiator_user":"u","action_initiator_project":"p","request_id":"req-2","reservation_id":"r-1"}}`,
			event.Context{RequestID: "req-2", UserID: "u", ProjectID: "p"}, "r-1", ""},
		{"CADF", `"payload":{"outcome":"success","initiator":{"id":"hash","typeURI":"service/security/account/user","user_id":"u","username":"n","project_id":"p","request_id":"req-3"}}`,
			event.Context{RequestID: "req-3", UserID: "u", UserName: "n", ProjectID: "p"}, "req-3", "success"},
		{"CADF of the audit middleware",
			`"payload":{"outcome":"failure","reason":{"reasonType":"HTTP","reasonCode":"404"},"initiator":{"id":"u","typeURI":"service/security/account/user","name":"n"}}`,
			event.Context{UserID: "u", UserName: "n"}, "", "failure, HTTP, 404"},
		{"CADF, begun by a service", `"payload":{"outcome":"success","initiator":{"id":"s","typeURI":"service/compute"}}`,
			event.Context{}, "", "success"},
		{"CADF without an initiator", `"payload":{"outcome":"pending"}`, event.Context{}, "", "pending"},
		{"keystone, basic", `"payload":{"resource_info":"x","request_id":"req-4"}`, event.Context{RequestID: "req-4"}, "req-4", ""},
		{"no context", `"payload":{}`, event.Context{}, "", ""},
		{"a context of other kinds", `"_context_request_id":{},"_context_user_id":[1],"_context_project_id":7`,
			event.Context{ProjectID: "7"}, "", ""},
		{"success", `"payload":{"message":"Success"}`, event.Context{}, "", "Success"},
		{"a fault", `"payload":{"nova_object.name":"N","nova_object.data":{"fault":{"nova_object.name":"E","nova_object.data":{"exception_message":"no host"}}}}`,
			event.Context{}, "", "no host"},
		{"an exception", `"payload":{"exception":{"message":"broke","kwargs":{}}}`, event.Context{}, "", "broke"},
		{"an exception as text", `"payload":{"exception":"Broken()"}`, event.Context{}, "", "Broken()"},
		{"an exception as Python writes it", `"payload":{"exception":"{'kwargs': {'host': 'h', 'code': 404}, 'message': \"can't find \\'h\\'\", 'class': 'NotFound'}"}`,
			event.Context{}, "", "can't find 'h'"},
		{"an exception with another message in it",
			`"payload":{"exception":"{'kwargs': {'code': 1, 'message': 'inner'}, 'message': 'outer', 'class': 'E'}"}`,
			event.Context{}, "", "outer"},
		{"something else that Python wrote", `"payload":{"exception":"{'kwargs': {}, 'message': None}"}`,
			event.Context{}, "", "{'kwargs': {}, 'message': None}"},
		{"Python, cut off", `"payload":{"exception":"{'kwargs': {}, 'message': 'so"}`, event.Context{}, "", "{'kwargs': {}, 'message': 'so"},
		{"a traceback", `"payload":{"reason":{"exception_message":"no host \nTraceback (most recent call last):\n  File"}}`, event.Context{}, "", "no host"},
		{"an error of cinder", `"payload":{"id":"q","error_message":"no such specs"}`, event.Context{}, "", "no such specs"},
		{"an error of glance", `"payload":"Failed to upload"`, event.Context{}, "", "Failed to upload"},
		{"a payload that is much text", `"payload":"` + strings.Repeat("x", 5000) + `"`, event.Context{}, "", ""},
		{"a stack's user", `"payload":{"user_id":"admin","user_identity":"u","username":"admin"}`,
			event.Context{UserID: "u", UserName: "admin"}, "", ""},
		{"a stack", `"payload":{"state_reason":"Stack CREATE failed"}`, event.Context{}, "", "Stack CREATE failed"},
		{"a payload that is no object", `"payload":["message"]`, event.Context{}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := convert(t, notification(t, `{"message_id":"m","event_type":"x.y",`+c.members+`}`))
			var got event.Context
			if e.Context != nil {
				got = *e.Context
			}
			if (e.Context == nil) != (c.want == event.Context{}) {
				t.Errorf("context %v", e.Context)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if e.ChainID != c.chain || e.Message != c.message {
				t.Errorf("chain %q, message %q", e.ChainID, e.Message)
			}
		})
	}
}

func TestPublisherAndPriority(t *testing.T) {
	e := convert(t, `{"event_type":"x.y","publisher_id":"compute.h1","priority":"WARN"}`)
	if e.PublisherID != "compute.h1" || e.Priority != "warn" || e.Level != "warning" {
		t.Errorf("%q %q %q", e.PublisherID, e.Priority, e.Level)
	}
	e = convert(t, `{"event_type":"x.y","publisher_id":["x"],"priority":{}}`)
	if e.PublisherID != "" || e.Priority != "" {
		t.Errorf("%q %q", e.PublisherID, e.Priority)
	}
}

// Services that the recordings have nothing of, by what their sources say they send.
func TestOtherServices(t *testing.T) {
	for _, c := range []struct{ eventType, payload, want string }{
		{"baremetal.node.power_set.end",
			`{"ironic_object.name":"NodeCorrectedPowerStatePayload","ironic_object.namespace":"ironic","ironic_object.version":"1.0",
			  "ironic_object.data":{"uuid":"n","instance_uuid":"i","name":"node-1"}}`,
			"baremetal_node n, instance i"},
		{"baremetal.port.create.end",
			`{"ironic_object.name":"PortCRUDPayload","ironic_object.version":"1.0","ironic_object.data":{"uuid":"p","node_uuid":"n"}}`,
			"baremetal_port p, baremetal_node n"},
		{"hardware.ipmi.metrics.update", `{"node_uuid":"n","instance_uuid":"i","payload":{}}`, "instance i, baremetal_node n"},
		{"orchestration.stack.create.end", `{"stack_identity":"arn:openstack:heat::p:stacks/name/s","tenant_id":"p"}`, "stack s, project p"},
		{"compute.exception", `{"nova_object.name":"ExceptionPayload","nova_object.version":"1.1","nova_object.data":{"exception":"X"}}`, ""},
		{"detach_volume", `{"exception":"E()","args":{"volume_id":"v","instance":{"uuid":"i","host":"h","project_id":"p"}}}`,
			"instance i, volume v, host h, project p"},
		{"detach_volume", `{"args":{"volume_id":"v"}}`, ""},
	} {
		e := convert(t, notification(t, `{"message_id":"m","event_type":"`+c.eventType+`","payload":`+strings.ReplaceAll(c.payload, "\n", " ")+`}`))
		if got := targetsOf(e); got != c.want {
			t.Errorf("%s: %s, want %s", c.eventType, got, c.want)
		}
	}
}

func TestRedaction(t *testing.T) {
	body := notification(t, `{"message_id":"m","event_type":"x.y","_context_auth_token":"hunter2",
		"payload":{"args":[{"_context":{"auth_token":"hunter2","service_token":"hunter2"}}],"adminPass":"hunter2","admin_pass":"hunter2",
			"X-Auth-Token":"hunter2","x_auth_token":"hunter2","password":["hunter2"],"secret":{"a":"hunter2"},"user_data":"hunter2",
			"injected_files":[["/etc/shadow","hunter2"]],"provider_auth":"CHAP u hunter2","psk":"hunter2","key_name":"k","n":1.10,
			"nova_object.name":"N","fault":{"nova_object.name":"E","nova_object.data":{"new_pass":"hunter2"}},
			"_obj_connection_info":"{\"data\":{\"auth_password\":\"hunter2\",\"keyring\":\"hunter2\"}}",
			"message":"{'kwargs': {'auth_token': 'hunter2'}, 'message': 'POST http://u:hunter2@h/?token=hunter2 said no'}",
			"metadata":[{"key":"admin_pass","value":"hunter2"}]}}`)
	converted, err := newConverter(t).Convert(rawEvent(body))
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := converted.Events[0].Encode()
	if err != nil || strings.Contains(string(encoded), "hunter2") {
		t.Errorf("%v: %s", err, encoded)
	}
	if converted.Redacted != 19 || converted.Events[0].Message != "POST http://u:***@h/?token=*** said no" || !strings.Contains(string(encoded), `"key_name":"k","n":1.10`) {
		t.Errorf("%d redacted: %s", converted.Redacted, encoded)
	}
}

// What an operator calls a secret is not shown anywhere, neither as a target nor as the message.
func TestRedactionBeforeReading(t *testing.T) {
	r, err := rules.New(rules.Config{SecretKeys: []string{"instance_id", "message", "user_id", "reservation_id", "user_name", "publisher_id"}})
	if err != nil {
		t.Fatal(err)
	}
	converted, err := New(r).Convert(rawEvent(`{"message_id":"m","event_type":"compute.instance.update",
		"publisher_id":"hunter2","_context_user_id":"hunter2","_context_user_name":"hunter2",
		"payload":{"instance_id":"hunter2","message":"hunter2","user_id":"hunter2","reservation_id":"hunter2","host":"h"}}`))
	if err != nil || converted.Redacted != 4 {
		t.Fatalf("%d, %v", converted.Redacted, err)
	}
	e := converted.Events[0]
	if e.Context != nil || e.PublisherID != "" || e.Message != "" || e.ChainID != "" || targetsOf(e) != "host h" {
		t.Errorf("%+v", e)
	}
}

// However a notification is made, its conversion takes no more than its size allows: nothing is quadratic.
func TestLargeNotifications(t *testing.T) {
	many := func(format string) string {
		var b strings.Builder
		for i := range 100_000 {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, payload := range map[string]string{
		"members":           `{"a":0` + many(`,"m%d":1`) + `}`,
		"targets":           `{"ports":[{}` + many(`,{"id":"%d"}`) + `]}`,
		"versioned objects": `[0` + many(`,{"nova_object.name":"N","nova_object.data":{"a":%d}}`) + `]`,
		"text":              `"` + strings.Repeat(`\u00e9`, 1<<20) + `"`,
		"secrets":           `[0` + many(`,{"password":"%d"}`) + `]`,
		"colons in a URL":   `"a://` + strings.Repeat(":", 1<<20) + `"`,
		"secrets in text":   `"` + strings.Repeat("token='", 1<<17) + `"`,
		"pairs":             `[0` + many(`,{"name":"psk","value":"%d"}`) + `]`,
		"not finite":        `[0` + many(`,Infinity`+`,%d`) + `]`,
	} {
		body := notification(t, `{"message_id":"m","event_type":"port.create.end","payload":`+payload+`}`)
		if e := convert(t, body); len(e.Payload) < 100_000 {
			t.Errorf("%s: %d bytes of payload", name, len(e.Payload))
		}
	}
}
