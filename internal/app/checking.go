package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"stackstream/internal/app/config"
	"stackstream/internal/check"
)

// askWait is how long an event service may take to answer.
const askWait = 30 * time.Second

// CheckSources asks every configured event service of every provider whether it would serve us, all at once. It changes
// nothing.
func CheckSources(ctx context.Context, cfg *config.Config, version string, log zerolog.Logger) check.Findings {
	type question struct {
		finding check.Finding
		ask     func(context.Context) error
	}
	var questions []*question
	for _, name := range cfg.Providers.Names() {
		settings := cfg.Providers[name]
		if settings.Events == config.EventsNone {
			questions = append(questions, &question{finding: check.Finding{
				Subject: "provider " + string(name), Message: "nothing is collected: events is none",
			}})
			continue
		}
		for _, kind := range sourceKinds() {
			s, configured := settings.Sources[kind.Name]
			if !configured {
				continue
			}
			subject := fmt.Sprintf("provider %s, %s", name, kind.Name)
			candidate := kind.Candidate(name, s, SourceEnv{Log: log, Version: version, Host: hostName()})
			for _, shard := range candidate.Shards {
				q := &question{finding: check.Finding{Subject: subject, Message: "would serve us"}}
				if len(candidate.Shards) > 1 {
					q.finding.Subject = fmt.Sprintf("provider %s, %s", name, shard.Name)
				}
				if settings.Events != config.EventsAuto && settings.Events != kind.Name {
					q.finding.Message += ", but is not used: events is " + settings.Events
				}
				q.ask = func(ctx context.Context) error {
					source, err := shard.New(func(bool, string) {})
					if err != nil {
						return err
					}
					return source.Available(ctx)
				}
				questions = append(questions, q)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	var asking sync.WaitGroup
	for _, q := range questions {
		if q.ask == nil {
			continue
		}
		asking.Go(func() {
			if err := q.ask(ctx); err != nil {
				q.finding.Severity, q.finding.Message = check.Failed, err.Error()
			}
		})
	}
	asking.Wait()
	findings := make(check.Findings, len(questions))
	for i, q := range questions {
		findings[i] = q.finding
	}
	return findings
}
