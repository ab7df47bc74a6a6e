package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"stackstream/event"
	"stackstream/internal/setting"
	"stackstream/jetstream"
)

// known refuses a provider that neither the streams nor the configuration, where one is given, have: what is said or done of it
// would be about nothing, and its name is mostly a slip of the hand. flag is where the name was given, "" for an argument, which means
// what is stored. Where the user may not know which there are it takes any.
func (p Program) known(ctx context.Context, c *jetstream.Client, nats *natsFlags, flag string, name event.Provider) error {
	if nats.cfg != nil && nats.cfg.Providers[name] != nil {
		return nil
	}
	var found []event.Provider
	err := p.awaiting().try(ctx, func() (err error) {
		found, err = c.Providers(ctx)
		return err
	})
	switch {
	case event.KindOf(err) == event.Invalid:
		return nil
	case err != nil:
		return err
	case slices.Contains(found, name):
		return nil
	}
	where, wayOut := "the streams have nothing of it", ""
	if flag != "" {
		wayOut = "; one that has not begun yet needs the configuration that has it, with -c FILE"
	}
	if nats.cfg != nil {
		found = append(found, nats.cfg.Providers.Names()...)
		where, wayOut = nats.file+" does not have it, and "+where, ""
	}
	var names []string
	for _, other := range slices.Compact(slices.Sorted(slices.Values(found))) {
		names = append(names, string(other))
	}
	which := "there is no provider yet"
	if len(names) > 0 {
		which = "known are " + strings.Join(names, ", ")
	}
	if near := setting.Nearest(string(name), names); near != "" {
		which += " (did you mean " + near + "?)"
	}
	return usageError{unknownProvider{fmt.Sprintf("%s: %s; %s", strings.TrimSpace(flag+" "+string(name)), where, which), wayOut}}
}

// unknownProvider is why a name is refused, and what would have it taken.
type unknownProvider struct{ what, wayOut string }

func (e unknownProvider) Error() string { return e.what + e.wayOut }

// knownFlag is known for a --provider that may be left out.
func (p Program) knownFlag(ctx context.Context, c *jetstream.Client, nats *natsFlags, name event.Provider) error {
	if name == "" {
		return nil
	}
	return p.known(ctx, c, nats, "--provider", name)
}
