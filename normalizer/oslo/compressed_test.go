package oslo

import (
	"encoding/base64"
	"strings"
	"testing"

	"stackstream/internal/kombu"
)

// compressed are notifications as kombu 5.2 compresses them.
var compressed = []struct{ method, body string }{
	{"application/x-gzip", "eJxFjVEKgzAQRK8i+21CTG1RzxKQoEsJaLI0q6Di3Rubln7Om8fMASFOQa74ii546ArQUkFZZDxjjPaJFz4MfFPvRpOIATeK3RFhimWKuKLnnjfCXA9hpoVROh/Z+gHlQqNlzDLZbQr2M5SWf8p/WlQGzktkl27ZzpQLrfRDVJXQulD3rtadamVzU01bJx/ON6KIQP0="},
	{"application/x-bz2", "QlpoOTFBWSZTWV7H1MQAAGSbgFAHf3AABK6n3zogAJENKD1GR6Q0NDI0BoNNEU8k08UxPSZD1Gmmk2MSFIIMKB51qqIG/KFI45ocNaaTrf6Jxd0ywuyD5hce2cJOheofFEdnSk7KyMBUESo8bY7BUjdoJViR5faNiysu42S6AI+CPdp8EcOdKOAIUU3Tq3IMmlZgZqQSQUFkVJLZa29FTm3r16wPxdyRThQkF7H1MQA="},
}

func TestCompressed(t *testing.T) {
	for _, c := range compressed {
		t.Run(c.method, func(t *testing.T) {
			body, err := base64.StdEncoding.DecodeString(c.body)
			if err != nil {
				t.Fatal(err)
			}
			raw := rawEvent(string(body))
			raw.Header = map[string]string{kombu.Header: c.method}
			converted, err := newConverter(t).Convert(raw)
			if err != nil {
				t.Fatal(err)
			}
			if id := converted.Events[0].MessageID; id != "id-zipped" {
				t.Errorf("message_id is %q", id)
			}
			raw.Body = body[:20]
			if _, err := newConverter(t).Convert(raw); err == nil || !strings.HasPrefix(err.Error(), "body: decompress: ") {
				t.Errorf("cut short: %v", err)
			}
		})
	}
}
