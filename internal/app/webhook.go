package app

import (
	"stackstream/collectors"
	"stackstream/collectors/webhook"
	"stackstream/event"
	"stackstream/internal/app/config"
	"stackstream/internal/mapping"
	"stackstream/normalizer/ceilometer"
	"stackstream/normalizer/cloudevent"
)

func webhookCandidate(p event.Provider, settings any, env SourceEnv) collectors.Candidate {
	return webhook.Candidate(*settings.(*webhook.Config), webhook.Options{
		CeilometerFormat: ceilometer.Format, CloudEventsFormat: cloudevent.Format, JSONFormat: webhookFormat(p),
		Began: env.Began, Hooks: env.Metrics.Webhook(p), Log: env.Log.With().Str("provider", string(p)).Logger(),
	})
}

// webhookFormat is the format of the records that are posted for a provider: it has a mapping of its own, beside that of the records
// that its HTTP event service hands out.
func webhookFormat(p event.Provider) string { return webhook.Kind + "/" + string(p) }

// webhookMapping is the mapping of those records, nil where there is none.
func webhookMapping(p *config.Provider) *mapping.Config {
	if p == nil {
		return nil
	}
	if settings, ok := p.Sources[webhook.Kind].(*webhook.Config); ok && settings.Maps() {
		return &settings.Event
	}
	return nil
}
