package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// isReplayRequest matches the requests about the stream of replays. A user that may not make them can do all else.
func isReplayRequest(subject string) bool {
	return strings.HasPrefix(subject, "$JS.API.STREAM.") && strings.HasSuffix(subject, "."+event.StreamReplay)
}

// planReplay says what there is to do about the stream of replays.
func (c *Client) planReplay(ctx context.Context, layout Layout) (StreamPlan, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	ctx, release := c.failOnRefusal(ctx, isReplayRequest)
	defer release()
	targets, err := layout.streams(c.nc.MaxPayload())
	if err != nil {
		return StreamPlan{}, invalid("plan the streams", err)
	}
	return c.planStream(ctx, targets[len(targets)-1])
}

// CheckReplay returns nil if the stream of replays is there and as it must be, and otherwise an error that says what to do.
func (c *Client) CheckReplay(ctx context.Context, layout Layout) error {
	plan, err := c.planReplay(ctx, layout)
	switch {
	case err != nil:
		return err
	case plan.Missing:
		return invalid("replay", fmt.Errorf("the stream %s is missing: run stackstream provision", event.StreamReplay))
	}
	return Plan{Streams: []StreamPlan{plan}}.broken()
}

// createOptional creates an optional stream, smaller than it was to be where there is no room and nobody said how large. What
// stands in its way is told and is no error of provisioning: an installation from before there was such a stream may have given
// all its room to the others.
func (c *Client) createOptional(ctx context.Context, s *StreamPlan) error {
	err := c.create(ctx, s)
	if err != nil {
		c.log.Warn().Err(err).Str("stream", s.Name).Msg("stream not created: there can be no replays, all else works")
		return err
	}
	c.log.Info().Str("stream", s.Name).Int64("max_bytes", s.want.MaxBytes).Msg("stream created")
	return nil
}

func (c *Client) create(ctx context.Context, s *StreamPlan) error {
	ctx, release := c.failOnRefusal(ctx, isReplayRequest)
	defer release()
	op := "create stream " + s.Name
	if s.want.MaxBytes == 0 {
		return invalid(op, errors.New("the budget leaves nothing for it: set streams.replay.max_bytes, or a larger budget"))
	}
	if err := c.checkForeign(ctx, s.want); err != nil {
		return err
	}
	for {
		_, err := c.js.CreateStream(ctx, s.want)
		switch {
		case err == nil, errors.Is(err, natsjs.ErrStreamNameAlreadyInUse):
			return nil
		case !noRoom(err):
			return provisionError(ctx, op, err)
		case !s.anySize || s.want.MaxBytes/2 < minReplay:
			return invalid(op, fmt.Errorf("%w: the server or the account has no room for it; lower the max_bytes of another stream "+
				"(with provision --apply), or raise the server's max_file_store", err))
		}
		s.want.MaxBytes /= 2
	}
}

// noRoom tells whether the server refuses a stream because of its size.
func noRoom(err error) bool {
	var api *natsjs.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case codeStorageExceeded, codeInsufficient, codeNoSuitablePeers:
		return true
	}
	return false
}
