package broker

import (
	"context"
	"errors"
	"math/rand/v2"
)

// ErrTooLate is why a connection is given up that takes longer than it may.
var ErrTooLate = errors.New("too late")

// Dial tries all hosts once, in random order, and returns what one makes of the first that answers, and that host. The error
// names every host and what is wrong with it; it is Invalid only if no host could serve us later either.
func Dial[C any](
	ctx context.Context, hosts []string, secure bool, one func(ctx context.Context, host string) (C, error),
) (C, string, error) {
	var none C
	errs, addresses := make([]error, len(hosts)), make([]string, len(hosts))
	for _, i := range rand.Perm(len(hosts)) {
		made, err := one(ctx, hosts[i])
		if err == nil {
			return made, hosts[i], nil
		}
		if ctx.Err() != nil {
			return none, "", err
		}
		errs[i], addresses[i] = err, Address(hosts[i], secure)
	}
	return none, "", noHost(addresses, errs)
}
