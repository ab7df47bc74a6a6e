package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Mode says what Provision may do.
type Mode int

const (
	// CreateMissing creates what is missing and leaves alone what is there.
	CreateMissing Mode = iota
	// Apply also changes the settings that differ.
	Apply
)

// attemptTimeout bounds one look at the streams, or one try to create them: a request that was under way when a
// connection broke is never answered.
const attemptTimeout = 30 * time.Second

// Plan compares what the server has with the layout. It changes nothing. An error of the kind event.Invalid says what
// an operator must mend: the layout, JetStream not enabled, or another stream that takes our subjects. An optional stream
// whose state can't be learnt is left out.
func (c *Client) Plan(ctx context.Context, layout Layout) (Plan, error) {
	plan, err := c.PlanNeeded(ctx, layout)
	if err != nil {
		return plan, err
	}
	optional, err := c.planReplay(ctx, layout)
	if err != nil {
		c.log.Debug().Err(err).Msg("can't look at the stream of replays, going on")
		return plan, nil
	}
	plan.Streams = append(plan.Streams, optional)
	return plan, nil
}

// PlanNeeded is Plan without the optional streams, for those who have no business with them.
func (c *Client) PlanNeeded(ctx context.Context, layout Layout) (Plan, error) {
	const op = "plan the streams"
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	ctx, release := c.failOnRefusal(ctx, isStreamRequest)
	defer release()
	if problems := layout.Validate(); len(problems) > 0 {
		return Plan{}, invalid(op, errors.New(problems[0].String()))
	}
	account, err := ask(ctx, c.js.AccountInfo)
	if err != nil {
		if off := noJetStream(c.nc.ConnectedServerName(), err); off != nil {
			return Plan{}, off
		}
		return Plan{}, provisionError(ctx, op, err)
	}
	targets, err := layout.streams(c.nc.MaxPayload())
	if err != nil {
		return Plan{}, invalid(op, err)
	}
	var plan Plan
	for _, t := range targets {
		if t.optional {
			continue
		}
		s, err := c.planStream(ctx, t)
		if err != nil {
			return Plan{}, err
		}
		plan.Streams = append(plan.Streams, s)
	}
	if plan.HalfRestored() != nil {
		return plan, nil // nothing is made there
	}
	var needed uint64
	for _, s := range plan.Streams {
		if !s.Missing {
			continue
		}
		if err := c.checkForeign(ctx, s.want); err != nil {
			return Plan{}, err
		}
		if s.want.Storage == natsjs.FileStorage {
			needed += uint64(s.want.MaxBytes) * uint64(s.want.Replicas)
		}
	}
	// An account's limit counts every replica. What the servers have on disk only they know: they refuse then.
	if most := account.Limits.MaxStore; most > 0 && len(account.Tiers) == 0 && needed+account.ReservedStore > uint64(most) {
		return Plan{}, invalid(op, fmt.Errorf("the missing streams need %d bytes with all replicas; "+
			"the NATS account may store %d and %d are reserved: set a smaller budget", needed, most, account.ReservedStore))
	}
	return plan, nil
}

// Provision creates the streams and buckets that are missing and, with Apply only, changes those that differ. It
// returns the plan it followed. Without Apply, differences are no error here: see Plan.Broken. Where a restore has not ended it
// does nothing and returns Plan.HalfRestored. Any number of processes may provision at once. A server that can't answer now is asked
// again until ctx ends.
func (c *Client) Provision(ctx context.Context, layout Layout, mode Mode) (Plan, error) {
	var plan Plan
	var last error
	done := map[string]StreamPlan{}
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	err := backoff.RetryNotify(func() (err error) {
		plan, err = c.provision(ctx, layout, mode, done)
		if err != nil && event.KindOf(err) == event.Invalid {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(wait, ctx), func(err error, _ time.Duration) {
		if last == nil || last.Error() != err.Error() {
			c.log.Warn().Err(err).Msg("streams not provisioned yet, trying on")
		}
		last = err
	})
	if err != nil && last != nil && event.KindOf(err) == 0 {
		err = unavailable("provision the streams", fmt.Errorf("%w (last: %w)", err, last))
	}
	for i, s := range plan.Streams {
		if was, ok := done[s.Name]; ok {
			plan.Streams[i] = was // as it was before an earlier try mended it
		}
	}
	return plan, err
}

// provision does what there is to do once; what was done is added to done.
func (c *Client) provision(ctx context.Context, layout Layout, mode Mode, done map[string]StreamPlan) (Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	ctx, release := c.failOnRefusal(ctx, isStreamRequest)
	defer release()
	plan, err := c.Plan(ctx, layout)
	if err != nil {
		return Plan{}, err
	}
	if err := plan.HalfRestored(); err != nil {
		return plan, err
	}
	if mode == Apply {
		if err := plan.stuck(); err != nil {
			return plan, err
		}
	}
	for _, s := range plan.smallerFirst() {
		switch {
		case s.Missing && s.Optional:
			continue
		case s.Missing:
			_, err = c.js.CreateStream(ctx, s.want)
			if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) {
				// Another process was faster, with a layout that differs: the next look shows it.
				return plan, unavailable("create stream "+s.Name, err)
			}
			if err != nil {
				return plan, provisionError(ctx, "create stream "+s.Name, err)
			}
			c.log.Info().Str("stream", s.Name).Msg("stream created")
		case mode == Apply && len(s.Changes) > 0:
			if _, err = c.js.UpdateStream(ctx, s.adopt()); err != nil {
				return plan, provisionError(ctx, "change stream "+s.Name, err)
			}
			c.log.Info().Str("stream", s.Name).Int("settings", len(s.Changes)).Msg("stream changed")
		default:
			continue
		}
		if _, twice := done[s.Name]; !twice {
			done[s.Name] = s
		}
	}
	if s := plan.Lacks(); s != nil {
		if s.Problem = c.createOptional(ctx, s); s.Problem == nil {
			done[s.Name] = *s
		}
	}
	return plan, nil
}

// isStreamRequest matches the requests that planning and provisioning make, but for those about the optional stream.
func isStreamRequest(subject string) bool {
	return subject == "$JS.API.INFO" || strings.HasPrefix(subject, "$JS.API.STREAM.") && !isReplayRequest(subject)
}

func (c *Client) planStream(ctx context.Context, t target) (StreamPlan, error) {
	plan := StreamPlan{Name: t.config.Name, Optional: t.optional, anySize: t.anySize, want: t.config}
	stream, err := ask(ctx, func(ctx context.Context) (natsjs.Stream, error) { return c.js.Stream(ctx, t.config.Name) })
	switch {
	case err == nil:
		plan.have = stream.CachedInfo().Config
		plan.Changes = compare(plan.have, t)
		return plan, nil
	case !errors.Is(err, natsjs.ErrStreamNotFound):
		return plan, provisionError(ctx, "look up stream "+plan.Name, err)
	}
	plan.Missing = true
	return plan, nil
}

// ask repeats a request that changes nothing until there is an answer or ctx ends: nobody answers one that was under way
// when a connection broke, nor while the servers of a cluster have not agreed who leads them.
func ask[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
	return backoff.RetryWithData(func() (T, error) {
		brief, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		answer, err := request(brief)
		if err != nil && brief.Err() == nil && !isDown(err) {
			err = backoff.Permanent(err)
		}
		return answer, err
	}, backoff.WithContext(pause, ctx))
}

// isDown tells whether the connection is being made again.
func isDown(err error) bool {
	return errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionReconnecting) ||
		errors.Is(err, nats.ErrDisconnected)
}

// checkForeign refuses to create a stream when another one listens on its subjects.
func (c *Client) checkForeign(ctx context.Context, want natsjs.StreamConfig) error {
	op := "create stream " + want.Name
	for _, subject := range want.Subjects {
		names, err := ask(ctx, func(ctx context.Context) (names []string, err error) {
			list := c.js.StreamNames(ctx, natsjs.WithStreamListSubject(subject))
			for name := range list.Name() {
				names = append(names, name)
			}
			return names, list.Err()
		})
		if err != nil {
			return provisionError(ctx, op, err)
		}
		foreign := slices.DeleteFunc(names, func(name string) bool { return name == want.Name })
		if len(foreign) > 0 {
			slices.Sort(foreign)
			return invalid(op, fmt.Errorf("its subject %s is taken by the stream %s, which is not ours; "+
				"delete that stream or change its subjects", subject, strings.Join(foreign, ", ")))
		}
	}
	return nil
}

// Error codes of the server that waiting does not mend.
const (
	codeMemoryExceeded   natsjs.ErrorCode = 10028
	codeStorageExceeded  natsjs.ErrorCode = 10047
	codeInsufficient     natsjs.ErrorCode = 10023
	codeReplicasRefused  natsjs.ErrorCode = 10074
	codeStreamOverlap    natsjs.ErrorCode = 10065
	codeInvalidConfig    natsjs.ErrorCode = 10052
	codeNoSuitablePeers  natsjs.ErrorCode = 10005
	codeMaxStreams       natsjs.ErrorCode = 10027
	codeMaxBytesRequired natsjs.ErrorCode = 10113
)

// provisionError sorts what the server says to a request about streams.
func provisionError(ctx context.Context, op string, err error) error {
	var refused *refusal
	if errors.As(context.Cause(ctx), &refused) {
		return invalid(op, refused.err)
	}
	var api *natsjs.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeStorageExceeded, codeInsufficient, codeMemoryExceeded:
			return invalid(op, fmt.Errorf("%w: the server or the account has no room for it; set a smaller budget or raise "+
				"the server's max_file_store or max_memory_store", err))
		case codeReplicasRefused:
			return invalid(op, fmt.Errorf("%w: a single server takes replicas 1 only", err))
		case codeNoSuitablePeers:
			return unavailable(op, fmt.Errorf("%w: too few servers of the cluster are there or have room", err))
		case codeStreamOverlap, codeInvalidConfig, codeMaxStreams, codeMaxBytesRequired:
			return invalid(op, err)
		}
	}
	return unavailable(op, err)
}
