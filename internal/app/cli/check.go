package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/app/show"
	"stackstream/internal/check"
	"stackstream/jetstream"
)

func (p Program) checkCommand() *cobra.Command {
	var nats natsFlags
	var offline, asJSON bool
	cmd := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Check the configuration, then ask NATS and every event service",
		Long: `check reads the configuration and tells every mistake in it with its place in the file. Then it asks
NATS whether it and the streams are there, and every configured event service whether it would serve
us. It changes nothing. It exits 2 on mistakes in the configuration, 1 when something does not serve.

With --nats it asks that NATS in place of the one in the section nats, such as the cluster of another
site. Where the section has NATS inside "up" and --nats names none, NATS is not asked.`,
		Example: `  stackstream check -c stackstream.yaml --offline   # the file alone
  stackstream check -c stackstream.yaml
  stackstream check -c stackstream.yaml --nats nats://nats-2:4222 --creds admin.creds`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings, err := p.check(cmd.Context(), &nats, offline)
			if err != nil {
				return err
			}
			if asJSON {
				err = p.printJSON(findings)
			} else {
				err = show.Findings(p.Stdout, findings, p.colour(p.Stdout))
			}
			if err == nil && findings.Worst() >= check.Failed {
				err = errReported
			}
			return err
		},
	}
	nats.add(cmd)
	cmd.Flags().BoolVar(&offline, "offline", false, "check the configuration alone and ask nobody")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	cmd.MarkFlagsMutuallyExclusive("offline", "nats")
	cmd.MarkFlagsMutuallyExclusive("offline", "creds")
	return cmd
}

// check returns what was found; mistakes in the configuration are the error.
func (p Program) check(ctx context.Context, nats *natsFlags, offline bool) (check.Findings, error) {
	cfg, err := p.load(nats.file)
	if err != nil {
		return nil, err
	}
	findings := check.Findings{{
		Severity: check.OK, Subject: "configuration", Position: check.Position{File: nats.file},
		Message: fmt.Sprintf("%s, %s", nats.file, count(len(cfg.Providers), "provider")),
	}}
	findings = append(findings, cfg.Doubts...)
	if offline {
		return findings, nil
	}
	log, err := p.logger("error", "auto")
	if err != nil {
		return nil, err
	}
	embedded := cfg.NATS.UseEmbedded() && nats.url == ""
	var settings jetstream.Config
	if !embedded {
		if settings, err = nats.connection(p, cfg); err != nil {
			return nil, err
		}
	}
	services := app.CheckSources(ctx, cfg, versionShort(), log)
	if embedded {
		findings = append(findings, check.Finding{
			Severity: check.OK, Subject: "nats", Message: "in the process that runs stackstream up, in " + cfg.NATS.Embedded.Dir,
		})
	} else {
		findings = append(findings, p.checkNATS(ctx, settings, cfg)...)
	}
	return append(findings, services...), nil
}

// checkNATS asks the cluster and compares the streams.
func (p Program) checkNATS(ctx context.Context, settings jetstream.Config, cfg *config.Config) check.Findings {
	client, err := p.connect(ctx, settings)
	if err != nil {
		return check.Findings{{Severity: check.Failed, Subject: "nats", Message: err.Error()}}
	}
	defer p.close(ctx, client)
	findings := check.Findings{{Severity: check.OK, Subject: "nats", Message: "connected to " + client.Server()}}
	plan, err := client.Plan(ctx, cfg.Streams)
	streams := check.Finding{Severity: check.OK, Subject: "streams", Message: "are as they should be"}
	switch {
	case err != nil:
		streams.Severity, streams.Message = check.Failed, err.Error()
	case plan.HalfRestored() != nil:
		streams.Severity, streams.Message = check.Failed, plan.HalfRestored().Error()
	case plan.Missing():
		streams.Severity, streams.Message = check.Failed, "are missing"
		streams.Hint = "run stackstream provision"
	case plan.Broken() != nil:
		streams.Severity, streams.Message = check.Failed, plan.Broken().Error()
	case plan.Lacks() != nil:
		streams.Severity, streams.Message = check.Warning, plan.Lacks().Name+" is missing: there can be no replays, all else works"
		streams.Hint = "run stackstream provision"
	case plan.Differs():
		streams.Severity, streams.Message = check.Warning, "differ from the configuration"
		streams.Hint = "stackstream provision shows how"
	}
	return append(findings, streams)
}

// count is "1 provider" or "3 providers".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
