package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/internal/app/config"
	"stackstream/internal/app/metrics"
	"stackstream/internal/check"
)

// Reload says where changes of the configuration come from.
type Reload struct {
	// File is the configuration's. It is watched, and so are the files that the settings of providers name.
	File string
	// Load reads it. A mistake in it is an error of the type check.Findings.
	Load func() (*config.Config, error)
	// Hangups each ask for it to be read now.
	Hangups <-chan os.Signal
	// SetLevel, if set, changes what is logged.
	SetLevel func(level string)
}

// contents are what was in the files that the settings of each provider name.
type contents map[event.Provider]config.Contents

func readContents(cfg *config.Config) contents {
	all := contents{}
	for name, p := range cfg.Providers {
		all[name] = config.ContentsOf(p)
	}
	return all
}

// reloader takes changes of the configuration. A new one is used as a whole or, where anything in it is wrong, not at all.
type reloader struct {
	Reload
	works     func(*config.Config, contents) (map[part]work, error)
	providers interface {
		Change(context.Context, map[part]work) (outcome, error)
	}
	metrics *metrics.Metrics
	log     zerolog.Logger

	began *config.Config // what a restart would change is compared with this
	inUse *config.Config
	since time.Time // when that was read
	files contents  // as they were then
	watch watch
	said  string // what was last logged as the reason to refuse one; "" while none is refused
}

func newReloader(
	from Reload, cfg *config.Config, files contents, works func(*config.Config, contents) (map[part]work, error),
	providers *supervisor, m *metrics.Metrics, log zerolog.Logger,
) *reloader {
	r := &reloader{
		Reload: from, works: works, providers: providers, metrics: m, log: log,
		began: cfg, inUse: cfg, since: time.Now().UTC(), files: files,
	}
	r.watch.paths = r.paths(cfg)
	return r
}

// Run looks at the files until ctx ends. What has changed since the configuration was first read is taken, too.
func (r *reloader) Run(ctx context.Context) error {
	r.metrics.ConfigInUse(r.since, false)
	if info, err := os.Stat(r.File); err == nil && !info.Mode().IsRegular() {
		// What comes through a pipe comes once.
		r.status(event.StateLive, r.File+" is no file: a change needs a restart")
		<-ctx.Done()
		return nil
	}
	r.status(event.StateLive, "")
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if r.watch.changed() {
				r.read(ctx, false)
			}
		case <-r.Hangups:
			r.read(ctx, true)
		case <-ctx.Done():
			return nil
		}
	}
}

// paths adds the files that a configuration stands in and names to those to watch.
func (r *reloader) paths(of ...*config.Config) []string {
	paths := []string{r.File}
	for _, cfg := range of {
		for _, name := range cfg.Providers.Names() {
			for _, f := range config.Files(cfg.Providers[name]) {
				paths = append(paths, f.Path)
			}
		}
	}
	return paths
}

// read takes the file as it is now. While it or what it names is being written nothing comes of it: they are read again when
// they have settled.
func (r *reloader) read(ctx context.Context, asked bool) {
	first := r.watch.taken == nil
	before := lookAt([]string{r.File})
	paths := r.paths(r.inUse)
	cfg, err := r.load()
	if err == nil {
		paths = r.paths(r.inUse, cfg)
	}
	taken := lookAt(paths)
	var files contents
	if err == nil {
		files = readContents(cfg)
		err = r.missing(cfg, files)
	}
	if !lookAt(paths).same(taken) || !lookAt([]string{r.File}).same(before) {
		r.watch.taken = look{}
		return
	}
	var done outcome
	var wanted map[part]work
	if err == nil {
		wanted, err = r.works(cfg, files)
	}
	if err == nil {
		done, err = r.providers.Change(ctx, wanted)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		// A file that it names and that is missing may come.
		r.watch.take(paths, taken)
		r.refuse(err, asked)
		r.rotate(ctx)
	default:
		r.watch.take(r.paths(cfg), taken)
		r.use(cfg, files, done, asked, first)
	}
}

// load reads the file, if it is still one.
func (r *reloader) load() (*config.Config, error) {
	if info, err := os.Stat(r.File); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is no file any more")
	}
	return r.Load()
}

// rotate takes new contents of the files that the configuration in use names, though the one in the file is refused.
func (r *reloader) rotate(ctx context.Context) {
	files := readContents(r.inUse)
	for name, of := range files {
		for path, content := range of {
			if content == "" {
				of[path] = r.files[name][path]
			}
		}
	}
	wanted, err := r.works(r.inUse, files)
	if err != nil {
		return // it was made before, and nothing changes
	}
	if done, err := r.providers.Change(ctx, wanted); err == nil && len(done.changed) > 0 {
		r.files = files
		r.log.Info().Strs("changed", names(done.changed)).Msg("new contents of the files that the configuration in use names are used")
	}
}

// missing returns a mistake for each file of a secret that can't be read and could be before, or that is named anew. What
// works is not stopped for a file that is about to be written.
func (r *reloader) missing(cfg *config.Config, files contents) error {
	var found check.Findings
	for _, name := range cfg.Providers.Names() {
		for _, f := range config.Files(cfg.Providers[name]) {
			was, known := r.files[name][f.Path]
			if files[name][f.Path] == "" && (!known || was != "") {
				found = append(found, check.Finding{
					Severity: check.Mistake, Position: check.Position{File: r.File},
					Subject: fmt.Sprintf("providers.%s.%s", name, f.Setting), Message: f.Path + " can't be read, or nothing is in it",
				})
			}
		}
	}
	return found.Err()
}

// refuse says why the file is not used.
func (r *reloader) refuse(err error, asked bool) {
	r.metrics.ConfigRead(metrics.ConfigRefused)
	var findings check.Findings
	if !errors.As(err, &findings) {
		findings = check.Findings{{Severity: check.Mistake, Position: check.Position{File: r.File}, Message: err.Error()}}
	}
	lines := strings.Split(findings.Error(), "\n")
	reason := fmt.Sprintf("refused, the one read at %s stays in use: %s", r.since.Format(time.RFC3339), lines[0])
	if more := len(lines) - 1; more > 0 {
		reason += fmt.Sprintf(" (and %d more in the log)", more)
	}
	r.status(event.StateDegraded, reason)
	if text := findings.Error(); asked || text != r.said {
		r.said = text
		r.log.Error().Int("mistakes", len(findings)).Time("in_use_since", r.since).Msg("configuration refused, the one in use stays")
		for _, f := range findings {
			r.log.Error().Str("place", f.Position.String()).Str("setting", f.Subject).Str("mistake", f.Message).Str("hint", f.Hint).
				Msg("mistake in the configuration")
		}
	}
}

// use says what came of a configuration that is in use now.
func (r *reloader) use(cfg *config.Config, files contents, done outcome, asked, first bool) {
	level := cfg.Log.Level != r.inUse.Log.Level
	if level && r.SetLevel != nil {
		r.SetLevel(cfg.Log.Level)
	}
	restart := needRestart(r.began, cfg)
	news := level || len(done.added)+len(done.changed)+len(done.removed) > 0
	pending := strings.Join(restart, ", ")
	changed := news || !slices.Equal(restart, needRestart(r.began, r.inUse))
	r.inUse, r.files = cfg, files
	if r.since = time.Now().UTC(); changed {
		r.metrics.ConfigRead(metrics.ConfigApplied)
	} else if !first {
		r.metrics.ConfigRead(metrics.ConfigUnchanged)
	}
	r.metrics.ConfigInUse(r.since, len(restart) > 0)
	reason := ""
	if pending != "" {
		reason = "in use but for what needs a restart: " + pending
	}
	r.status(event.StateLive, reason)
	refused := r.said != ""
	r.said = ""
	switch {
	case news:
		r.log.Info().Strs("added", names(done.added)).Strs("changed", names(done.changed)).Strs("removed", names(done.removed)).
			Str("log_level", cfg.Log.Level).Msg("configuration applied")
		if len(done.removed) > 0 {
			r.log.Info().Strs("providers", names(done.removed)).Msg("what they leave in the streams: see stackstream provider rm")
		}
	case refused:
		r.log.Info().Msg("configuration mended: it says what is in use")
	case asked || !first && !changed:
		r.log.Info().Msg("configuration read again: nothing in it has changed")
	}
	if changed && pending != "" {
		r.log.Warn().Str("settings", pending).Msg("these settings need a restart: the process goes on with what it began with")
	}
}

// needRestart are the settings that differ and that a running process can't change.
func needRestart(a, b *config.Config) []string {
	fixed := func(c *config.Config) any {
		return struct {
			NATS    config.NATS  `yaml:"nats"`
			Streams any          `yaml:"streams"`
			Admin   config.Admin `yaml:"admin"`
			Log     any          `yaml:"log"`
		}{c.NATS, c.Streams, c.Admin, struct {
			Format string `yaml:"format"`
		}{c.Log.Format}}
	}
	return config.Differences(fixed(a), fixed(b))
}

func (r *reloader) status(state event.State, reason string) {
	r.metrics.Status(event.Status{Role: admin.RoleConfiguration, State: state, Reason: reason})
}

// names are the providers of parts, each once.
func names(parts []part) []string {
	found := map[string]bool{}
	for _, p := range parts {
		found[string(p.provider)] = true
	}
	return slices.Sorted(maps.Keys(found))
}
