package jetstream

import (
	"fmt"
	"math"
	"strings"

	"github.com/nats-io/nats.go"

	"stackstream/event"
)

// checkBatch refuses what the server would refuse, and what it would take though it must not be.
func checkBatch(b event.Batch) error {
	if n := sizeOf(&b); n > maxBatch {
		return fmt.Errorf("a batch of %d messages: %d is the most", n, maxBatch)
	}
	if err := checkMessage(b.Cursor); err != nil {
		return fmt.Errorf("cursor: %w", err)
	}
	if b.Shared.Subject != "" {
		if err := checkMessage(b.Shared); err != nil {
			return fmt.Errorf("shared record: %w", err)
		}
		if b.Shared.Subject == b.Cursor.Subject || b.Shared.Subject == b.Fence.Subject {
			return fmt.Errorf("the shared record is on the subject %s, as another part of the batch is", b.Shared.Subject)
		}
	}
	for i, m := range b.Messages {
		if err := checkMessage(m); err != nil {
			return fmt.Errorf("message %d of %d: %w", i+1, len(b.Messages), err)
		}
		switch {
		case m.Subject == b.Cursor.Subject:
			return fmt.Errorf("message %d of %d is on the cursor's subject %s", i+1, len(b.Messages), m.Subject)
		case m.Subject == b.Fence.Subject && i > 0:
			return fmt.Errorf("message %d of %d is on the fence's subject %s", i+1, len(b.Messages), m.Subject)
		case m.Subject == b.Shared.Subject:
			return fmt.Errorf("message %d of %d is on the shared record's subject %s", i+1, len(b.Messages), m.Subject)
		}
	}
	if b.Fence.Subject != "" {
		if b.Fence.Subject == b.Cursor.Subject {
			return fmt.Errorf("the fence is on the cursor's subject %s", b.Fence.Subject)
		}
		if err := checkSubject(b.Fence.Subject); err != nil {
			return fmt.Errorf("fence: %w", err)
		}
	}
	return nil
}

// sizeOf is how many messages a batch has.
func sizeOf(b *event.Batch) int {
	n := len(b.Messages) + 1
	if b.Shared.Subject != "" {
		n++
	}
	return n
}

func checkMessage(m event.Message) error {
	if err := checkSubject(m.Subject); err != nil {
		return err
	}
	for name, values := range m.Header {
		if len(name) >= 5 && strings.EqualFold(name[:5], "Nats-") {
			return fmt.Errorf("header %s is the server's own", name)
		}
		if !isHeaderName(name) {
			return fmt.Errorf("header name %q has a colon, a space or a line break, or nothing in it", name)
		}
		for _, value := range values {
			if strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 {
				return fmt.Errorf("header %s has a line break in it", name)
			}
		}
	}
	return nil
}

func isHeaderName(name string) bool {
	for i := range len(name) {
		switch name[i] {
		case ':', ' ', '\r', '\n':
			return false
		}
	}
	return name != ""
}

// checkSubject accepts subjects as they are stored, without wildcards.
func checkSubject(subject string) error {
	rest, ok := strings.CutPrefix(subject, prefixStored)
	if !ok {
		return fmt.Errorf("subject %q does not begin with %s", subject, prefixStored)
	}
	for token := range strings.SplitSeq(rest, ".") {
		if token == "" || token == "*" || token == ">" || strings.ContainsAny(token, " \t\r\n") {
			return fmt.Errorf("subject %q has an empty token, a wildcard or white space", subject)
		}
	}
	return nil
}

// checkSizes refuses messages that the connection or the stream does not take, before any is sent: in the middle of a
// batch the server would drop such a message without a word. maxStream below 1 is no limit.
func checkSizes(messages []*nats.Msg, maxPayload int64, maxStream int32) error {
	limit, which := maxPayload, "max_payload of the server"
	if maxStream > 0 && int64(maxStream) < limit {
		limit, which = int64(maxStream), "max_msg_size of the stream"
	}
	batched := len(messages) > 1
	for i, m := range messages {
		header := headerSize(m.Header)
		if batched {
			header += batchHeaderSize
		}
		// The server keeps the header's length in 16 bits.
		if header > math.MaxUint16 {
			return &event.Error{Kind: event.Invalid, Err: fmt.Errorf("message %d of %d has %d bytes of headers: %d are the most",
				i+1, len(messages), header, math.MaxUint16)}
		}
		if size := int64(header + len(m.Data)); size > limit {
			return &event.Error{Kind: event.TooLarge, Err: fmt.Errorf(
				"message %d of %d has %d bytes with its headers: %s is %d", i+1, len(messages), size, which, limit)}
		}
	}
	return nil
}

// batchHeaderSize is the most that the headers of a batch add to a message.
const batchHeaderSize = len(headerBatchID) + len(headerBatchSequence) + len(headerBatchCommit) + 3*len(": \r\n") +
	len("0123456789012345678901") + len("1000") + len("1")

// headerSize is the size of headers as they are sent.
func headerSize(h nats.Header) int {
	if len(h) == 0 {
		return 0
	}
	size := len("NATS/1.0\r\n") + len("\r\n")
	for name, values := range h {
		for _, value := range values {
			size += len(name) + len(": ") + len(value) + len("\r\n")
		}
	}
	return size
}
