package amqp

import (
	"encoding/base64"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/kombu"
	"stackstream/internal/rabbitmqtest"
)

// compressed are notifications as kombu 5.2 compresses them.
var compressed = []struct{ method, body string }{
	{"application/x-gzip", "eJxFjVEKgzAQRK8i+21CTG1RzxKQoEsJaLI0q6Di3Rubln7Om8fMASFOQa74ii546ArQUkFZZDxjjPaJFz4MfFPvRpOIATeK3RFhimWKuKLnnjfCXA9hpoVROh/Z+gHlQqNlzDLZbQr2M5SWf8p/WlQGzktkl27ZzpQLrfRDVJXQulD3rtadamVzU01bJx/ON6KIQP0="},
	{"application/x-bz2", "QlpoOTFBWSZTWV7H1MQAAGSbgFAHf3AABK6n3zogAJENKD1GR6Q0NDI0BoNNEU8k08UxPSZD1Gmmk2MSFIIMKB51qqIG/KFI45ocNaaTrf6Jxd0ywuyD5hce2cJOheofFEdnSk7KyMBUESo8bY7BUjdoJViR5faNiysu42S6AI+CPdp8EcOdKOAIUU3Tq3IMmlZgZqQSQUFkVJLZa29FTm3r16wPxdyRThQkF7H1MQA="},
}

// The identity of a compressed notification is the one it has without compression, and its body stays as it is.
func TestCompressedNotifications(t *testing.T) {
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost)
	nova := newService(t, broker, vhost, "nova", true)
	r.run()
	r.live(Kind, "nova")
	for i, c := range compressed {
		body, err := base64.StdEncoding.DecodeString(c.body)
		if err != nil {
			t.Fatal(err)
		}
		headers := amqp091.Table{kombu.Property: c.method}
		nova.publish("notifications.info", amqp091.Publishing{Headers: headers, Body: body})
		nova.notify(1)
		// The same notification, compressed in another way, is no other.
		r.eventually("the one behind it", func() bool { return len(r.log.IDs(cloud)) == i+2 })
		if e := r.log.Events(cloud)[0]; e.ID != "id-zipped" || e.Hashed || e.Header[kombu.Header] != compressed[0].method ||
			i == 0 && string(e.Body) != string(body) {
			t.Errorf("collected %q with headers %v", e.ID, e.Header)
		}
	}
}
