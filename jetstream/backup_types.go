package jetstream

import (
	"encoding/json"
	"strconv"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// What a server says of its streams and takes of them, in the form that its API and its snapshots have. The client library has no words
// for it, and those of the server would bring the whole server into each program.

// record is a message as the server's API hands it out, with its header as it is stored.
type record struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs,omitempty"`
	Data     []byte    `json:"data,omitempty"`
	Time     time.Time `json:"time"`
}

// streamState is what a snapshot begins with.
type streamState struct {
	Msgs        uint64            `json:"messages"`
	Bytes       uint64            `json:"bytes"`
	FirstSeq    uint64            `json:"first_seq"`
	FirstTime   time.Time         `json:"first_ts"`
	LastSeq     uint64            `json:"last_seq"`
	LastTime    time.Time         `json:"last_ts"`
	NumSubjects int               `json:"num_subjects,omitempty"`
	Subjects    map[string]uint64 `json:"subjects,omitempty"`
	NumDeleted  int               `json:"num_deleted,omitempty"`
	Deleted     []uint64          `json:"deleted,omitempty"`
	Lost        json.RawMessage   `json:"lost,omitempty"`
	Consumers   int               `json:"consumer_count"`
}

// Durable is a consumer that outlives its connections, as a snapshot has it.
type Durable struct {
	Config consumerConfig `json:"config"`
	State  consumerState  `json:"state"`
}

// consumerConfig is the configuration of a consumer, with all that the server says, which may be more than we know of.
type consumerConfig map[string]json.RawMessage

func (c consumerConfig) text(name string) string {
	var value string
	_ = json.Unmarshal(c[name], &value) // what is no text is none
	return value
}

// name is what the server calls the consumer, and durable what those call it who made it.
func (c consumerConfig) name() string    { return c.text("name") }
func (c consumerConfig) durable() string { return c.text("durable_name") }

func (c consumerConfig) replicas() int {
	n, _ := strconv.Atoi(string(c["num_replicas"]))
	return n
}

func (c consumerConfig) set(name string, value any) {
	c[name], _ = json.Marshal(value) // a text or a number
}

// consumerState is how far a consumer is.
type consumerState struct {
	Delivered   sequencePair               `json:"delivered"`
	AckFloor    sequencePair               `json:"ack_floor"`
	Pending     map[uint64]json.RawMessage `json:"pending,omitempty"`
	Redelivered map[uint64]uint64          `json:"redelivered,omitempty"`
}

type sequencePair struct {
	Consumer uint64 `json:"consumer_seq"`
	Stream   uint64 `json:"stream_seq"`
}

// consumerList is a page of the consumers of a stream.
type consumerList struct {
	Total     int `json:"total"`
	Consumers []struct {
		Name      string         `json:"name"`
		Config    consumerConfig `json:"config"`
		Delivered sequencePair   `json:"delivered"`
		AckFloor  sequencePair   `json:"ack_floor"`
	} `json:"consumers"`
	Missing []string `json:"missing"`
}

type snapshotRequest struct {
	DeliverSubject string `json:"deliver_subject"`
	NoConsumers    bool   `json:"no_consumers"`
	ChunkSize      int    `json:"chunk_size"`
	WindowSize     int    `json:"window_size"`
}

type restoreRequest struct {
	Config natsjs.StreamConfig `json:"config"`
	State  streamState         `json:"state"`
}
