package rabbitmqtest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Notification is what a service of OpenStack sends. Of the zero value every field has a default that a service could have
// sent.
type Notification struct {
	MessageID   string         // default: a random UUID
	EventType   string         // default: compute.instance.update
	PublisherID string         // default: compute.host1
	Priority    string         // default: INFO
	Timestamp   time.Time      // default: now
	Payload     any            // default: {}; a json.RawMessage is sent as it is
	Context     map[string]any // with the names as sent: _context_project_id
	Topic       string         // default: notifications
	Bare        bool           // the older envelope: the notification itself, driver messaging instead of messagingv2
}

// filled sets what is not set.
func (n Notification) filled() Notification {
	if n.MessageID == "" {
		n.MessageID = uuid()
	}
	if n.EventType == "" {
		n.EventType = "compute.instance.update"
	}
	if n.PublisherID == "" {
		n.PublisherID = "compute.host1"
	}
	if n.Priority == "" {
		n.Priority = "INFO"
	}
	if n.Timestamp.IsZero() {
		n.Timestamp = time.Now()
	}
	if n.Payload == nil {
		n.Payload = struct{}{}
	}
	if n.Topic == "" {
		n.Topic = "notifications"
	}
	return n
}

// Body is the notification in its envelope.
func (n Notification) Body() ([]byte, error) {
	n = n.filled()
	fields := map[string]any{
		"message_id":   n.MessageID,
		"publisher_id": n.PublisherID,
		"event_type":   n.EventType,
		"priority":     n.Priority,
		"payload":      n.Payload,
		"timestamp":    n.Timestamp.UTC().Format("2006-01-02 15:04:05.000000"),
		"_unique_id":   strings.ReplaceAll(uuid(), "-", ""),
	}
	maps.Copy(fields, n.Context)
	body, err := json.Marshal(fields)
	if err != nil || n.Bare {
		return body, err
	}
	return json.Marshal(map[string]string{"oslo.version": "2.0", "oslo.message": string(body)})
}

// message is the notification as it is published.
func (n Notification) message(exchange string) (Message, error) {
	n = n.filled()
	body, err := n.Body()
	if err != nil {
		return Message{}, fmt.Errorf("write a notification: %w", err)
	}
	return Message{ID: n.MessageID, Exchange: exchange, Key: n.Topic + "." + strings.ToLower(n.Priority), Publishing: JSON(body)}, nil
}

// JSON has the properties with which oslo.messaging publishes.
func JSON(body []byte) amqp.Publishing {
	return amqp.Publishing{
		ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent,
		Headers: amqp.Table{}, Body: body,
	}
}

func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
