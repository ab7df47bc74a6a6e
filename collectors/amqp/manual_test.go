package amqp

import (
	"strings"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

func TestWhatAnOperatorMayDo(t *testing.T) {
	manual := func(change func(*Config)) collectors.Manual {
		cfg := Default()
		cfg.Shards = map[string][]string{"nova": {"nova"}}
		change(&cfg)
		c := Candidate(cfg, func(event.Source, collectors.Report) Options { return Options{Provider: "prod"} })
		for _, s := range c.Shards {
			if s.Name == "amqp-nova" {
				return s.Manual
			}
		}
		t.Fatal("there is no such source")
		return collectors.Manual{}
	}
	m := manual(func(*Config) {})
	if _, _, err := m.Rewind(event.Cursor(`{"keys":["a"]}`), time.Now(), time.Now()); event.KindOf(err) != event.Invalid ||
		!strings.Contains(err.Error(), "a queue is no log") || !strings.Contains(err.Error(), "stackstream backfill") {
		t.Errorf("a queue can be rewound: %v", err)
	}
	if got, err := m.Set(nil, `{"queue":"q","keys":["notifications.info"]}`, time.Now()); err != nil ||
		string(got) != `{"queue":"q","keys":["notifications.info"]}` {
		t.Errorf("set to %s, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                          "it is no JSON",
		"7":                         "it has to be a JSON object",
		`{"queue":"q"}`:             "it has no routing keys",
		`{"format":9,"keys":["a"]}`: "written by a newer stackstream",
		`{"keys":"a"}`:              "keys: wants a list",
		`{"keys":["a"],"queu":"q"}`: "queu: unknown (known here: body_bytes, claims,",
		`{"keys":["a"],"claims":{"nova":{"lost":true}}}`: `claims["nova"].lost: wants a time`,
	} {
		if got, err := m.Set(nil, text, time.Now()); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for want, change := range map[string]func(*Config){
		"stackstream.prod.amqp-nova goes on filling up to its limits (1073741824 bytes, and what has waited for 72h0m0s)": func(*Config) {},
		"filling up to its limits (1073741824 bytes): then":                                                               func(c *Config) { c.Queue.TTL = 0 },
		"filling up to its limits (what has waited for 72h0m0s): then":                                                    func(c *Config) { c.Queue.MaxBytes = 0 },
		"goes on filling, up to what the broker allows":                                                                   func(c *Config) { c.Queue.MaxBytes, c.Queue.TTL = 0, 0 },
	} {
		if got := manual(change).Meanwhile(); !strings.Contains(got, want) {
			t.Errorf("meanwhile %s; want %s", got, want)
		}
	}
}
