package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	// chunkBytes is the size of the pieces that a snapshot comes in; windowBytes of them are on their way.
	chunkBytes  = 256 << 10
	windowBytes = 8 << 20
	// pieceBytes is how much of a stream goes back at once. A server gives up a restore that does not move for five seconds,
	// and one that syncs every message may need a while for those in a piece.
	pieceBytes = 32 << 10
	// chunkWait is how long the next piece may take, or the server to take one.
	chunkWait = 30 * time.Second
	// restoreWait is how long a server may take to begin a restore: a cluster elects the stream's leader before.
	restoreWait = time.Minute
)

// api sends one request to the API of JetStream and decodes the answer.
func (c *Client) api(ctx context.Context, what string, request []byte, answer any) error {
	return c.apiWithin(ctx, apiTimeout, what, request, answer)
}

func (c *Client) apiWithin(ctx context.Context, limit time.Duration, what string, request []byte, answer any) error {
	wait, cancel := context.WithTimeoutCause(ctx, limit, nats.ErrTimeout)
	defer cancel()
	reply, err := c.nc.RequestWithContext(wait, "$JS.API."+what, request)
	if err != nil {
		if wait.Err() != nil {
			err = context.Cause(wait)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := answerError(reply.Data); err != nil {
		return err
	}
	return json.Unmarshal(reply.Data, answer)
}

// answerError is the error that an answer of the API holds, nil for none.
func answerError(answer []byte) error {
	var refused struct {
		Error *natsjs.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer, &refused); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if refused.Error != nil {
		return refused.Error
	}
	return nil
}

// lastMessage asks the leader for the last message on a subject, nil if there is none. A replica could lag, and with it what
// is read now would not have what another stream speaks of already.
func (c *Client) lastMessage(ctx context.Context, stream, subject string) (*record, error) {
	ask, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Message *record `json:"message"`
	}
	err = c.api(ctx, "STREAM.MSG.GET."+stream, ask, &answer)
	var refused *natsjs.APIError
	if errors.As(err, &refused) && refused.ErrorCode == natsjs.JSErrCodeMessageNotFound {
		return nil, nil
	}
	return answer.Message, err
}

// lastOfEach returns the last message on each subject that filter matches and that is wanted.
func (c *Client) lastOfEach(ctx context.Context, stream, filter string, wanted func(subject string) bool) ([]record, error) {
	subjects, err := c.subjects(ctx, stream, filter)
	if err != nil {
		return nil, err
	}
	found := make([]record, 0, len(subjects))
	for _, subject := range subjects {
		if !wanted(subject) {
			continue
		}
		m, err := c.lastMessage(ctx, stream, subject)
		if err != nil {
			return nil, err
		}
		if m != nil {
			found = append(found, *m)
		}
	}
	return found, nil
}

// snapshot has the server send a stream, writes it to w as it comes and lets s read it.
func (c *Client) snapshot(ctx context.Context, stream string, w io.Writer, s *scan,
	progress func(stream string, done, total uint64)) (natsjs.StreamConfig, error) {
	var config natsjs.StreamConfig
	inbox := c.nc.NewInbox()
	chunks, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return config, err
	}
	defer func() { _ = chunks.Unsubscribe() }() // fails only on a closed connection
	ask, err := json.Marshal(snapshotRequest{
		DeliverSubject: inbox, NoConsumers: true, ChunkSize: chunkBytes, WindowSize: windowBytes,
	})
	if err != nil {
		return config, err
	}
	var answer struct {
		Config natsjs.StreamConfig `json:"config"`
	}
	if err := c.apiWithin(ctx, restoreWait, "STREAM.SNAPSHOT."+stream, ask, &answer); err != nil {
		return config, err
	}
	from, to := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := s.read(from)
		if err == nil {
			_, err = io.Copy(io.Discard, from) // what comes behind the end, so that no writer waits
		}
		from.CloseWithError(err)
		read <- err
	}()
	err = c.receive(ctx, chunks, io.MultiWriter(w, to), func() {
		if progress != nil {
			progress(stream, s.seen.Load(), s.total.Load())
		}
	})
	to.CloseWithError(err) // nil is the end
	return answer.Config, errors.Join(err, unlessSame(<-read, err))
}

// unlessSame is nil where err only repeats other.
func unlessSame(err, other error) error {
	if other != nil && errors.Is(err, other) || errors.Is(other, err) {
		return nil
	}
	return err
}

// receive writes the pieces of a snapshot until it is complete.
func (c *Client) receive(ctx context.Context, chunks *nats.Subscription, w io.Writer, progress func()) error {
	for index := 1; ; index++ {
		wait, cancel := context.WithTimeoutCause(ctx, chunkWait, errors.New("the server has stopped sending the snapshot"))
		m, err := chunks.NextMsgWithContext(wait)
		if err != nil && wait.Err() != nil {
			err = context.Cause(wait)
		}
		cancel()
		if err != nil {
			return err
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get("Status"); status != "" && status != strconv.Itoa(http.StatusNoContent) {
				return fmt.Errorf("the server ended the snapshot: %s %s", status, m.Header.Get("Description"))
			}
			return nil
		}
		// All but the last one want an answer, on a subject that ends with their number.
		if at := strings.LastIndexByte(m.Reply, '.'); m.Reply != "" && m.Reply[at+1:] != strconv.Itoa(index) {
			return fmt.Errorf("piece %s of the snapshot came in place of piece %d", m.Reply[at+1:], index)
		}
		if _, err := w.Write(m.Data); err != nil {
			return err
		}
		if m.Reply != "" {
			if err := c.nc.Publish(m.Reply, nil); err != nil {
				return err
			}
		}
		progress()
	}
}

// upload sends a snapshot piece by piece; the server takes one after the other.
type upload struct {
	ctx     context.Context
	c       *Client
	subject string
}

// restoreStream has the server make a stream of what write writes. The error says nothing about whether there is a stream
// then: a server keeps what it has got of one whose rest never came.
func (c *Client) restoreStream(ctx context.Context, config natsjs.StreamConfig, state streamState,
	write func(io.Writer) error) (*natsjs.StreamInfo, error) {
	ask, err := json.Marshal(restoreRequest{config, state})
	if err != nil {
		return nil, err
	}
	var begun struct {
		DeliverSubject string `json:"deliver_subject"`
	}
	if err := c.apiWithin(ctx, restoreWait, "STREAM.RESTORE."+config.Name, ask, &begun); err != nil {
		return nil, err
	}
	u := &upload{ctx: ctx, c: c, subject: begun.DeliverSubject}
	if err := write(u); err != nil {
		return nil, err
	}
	answer, err := u.send(restoreWait, nil)
	if err != nil {
		return nil, err
	}
	var info natsjs.StreamInfo
	if err := json.Unmarshal(answer, &info); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return &info, nil
}

// Write sends what the compression hands over: a block, or the few bytes that begin and end a stream.
func (u *upload) Write(p []byte) (int, error) {
	for piece := range slices.Chunk(p, chunkBytes) {
		if _, err := u.send(chunkWait, piece); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// send hands over one piece; an empty one is the end.
func (u *upload) send(limit time.Duration, piece []byte) ([]byte, error) {
	wait, cancel := context.WithTimeoutCause(u.ctx, limit, errors.New("the server has stopped taking the snapshot"))
	defer cancel()
	answer, err := u.c.nc.RequestWithContext(wait, u.subject, piece)
	if err != nil {
		if wait.Err() != nil {
			err = context.Cause(wait)
		}
		return nil, err
	}
	if len(answer.Data) == 0 {
		return nil, nil
	}
	return answer.Data, answerError(answer.Data)
}
