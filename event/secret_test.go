package event_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"stackstream/event"
)

func TestSecretIsNeverShown(t *testing.T) {
	config := struct {
		Password event.Secret
		Token    *event.Secret
		Empty    event.Secret
	}{Password: "hunter2", Token: new(event.Secret("hunter2"))}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		got := fmt.Sprintf(verb, config.Password) + fmt.Sprintf(verb, config)
		if !strings.Contains(got, "redacted") || strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") {
			t.Errorf("%s: %s", verb, got)
		}
	}
	got, err := json.Marshal(config)
	if err != nil || string(got) != `{"Password":"redacted","Token":"redacted","Empty":""}` {
		t.Errorf("JSON %s, %v", got, err)
	}
	if string(config.Password) != "hunter2" || config.Empty.String() != "" {
		t.Error("the secret itself is lost")
	}
}
