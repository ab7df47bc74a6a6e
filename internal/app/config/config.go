// Package config reads the configuration: one YAML file, strict. Every mistake in it is told at once, with its place in
// the file and the path of the setting: unknown and repeated keys, wrong types, values that the packages they are for
// refuse. Text may hold ${NAME} for an environment variable; a secret is better kept in a file of its own, named by the
// setting that ends in _file. No secret is ever printed.
//
// The settings of NATS, the streams and the sources stand beside the packages they are for; this package puts them
// together and says where in the file they stand.
package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stackstream/event"
	"stackstream/internal/check"
	"stackstream/internal/setting"
	"stackstream/jetstream"
	"stackstream/normalizer/rules"
)

// Config is the whole file.
type Config struct {
	// NATS says where the streams are. Without nats.url they are in this process, and only stackstream up can run then.
	NATS NATS `yaml:"nats"`
	// Streams says what the streams keep. One that exists is never changed by this alone, see stackstream provision --apply.
	Streams jetstream.Layout `yaml:"streams"`
	// Normalizer says how events become canonical ones.
	Normalizer rules.Config `yaml:"normalizer"`
	// Admin is the HTTP server for operators: /healthz, /readyz (what is not ready, and why), /metrics. It has no
	// authentication.
	Admin Admin `yaml:"admin"`
	// Log is the log, on standard error.
	Log Log `yaml:"log"`
	// Providers are those whose events are collected, by name: of small letters, digits, _ and -. The name is part of the
	// subjects: events.normalized.NAME.
	Providers Providers `yaml:"providers"`

	// Doubts are what is no mistake and may yet lose or repeat events, with the reason.
	Doubts check.Findings `yaml:"-"`
}

// NATS says where the streams are: on a cluster, or in this process where no url is set.
type NATS struct {
	jetstream.Config `yaml:",inline"`
	// Embedded is the server in this process, where there is no url. Every write is synced to disk.
	Embedded jetstream.EmbeddedConfig `yaml:"embedded"`
}

// UseEmbedded tells whether the streams are in this process.
func (n NATS) UseEmbedded() bool { return len(n.URLs) == 0 }

// Admin is the HTTP server for operators.
type Admin struct {
	// Listen is its host:port; port 0 takes a free one, "off" starts no server.
	Listen string `yaml:"listen"`
	// ListenPublic allows an address other than loopback.
	ListenPublic bool `yaml:"listen_public"`
}

// Off tells whether no admin server is wanted.
func (a Admin) Off() bool { return a.Listen == "off" }

// Log says what is logged and how.
type Log struct {
	// Level is the least important sort of line that is written.
	Level string `yaml:"level" words:"trace,debug,info,warn,error"`
	// Format is how it is written: console for people, json for programs, auto for console on a terminal and json elsewhere.
	Format string `yaml:"format" words:"auto,json,console"`
}

// Providers are the clouds whose events are collected.
type Providers map[event.Provider]*Provider

// Names returns the providers in alphabetical order.
func (ps Providers) Names() []event.Provider { return slices.Sorted(maps.Keys(ps)) }

// Provider is one cloud and its event services.
type Provider struct {
	// Events says which kind of source collects: the first of those below that answers (auto), the one of that name, or none.
	Events string `yaml:"events,kind" words:"auto,none"`
	// Sources has the settings of each source that is configured, by kind.
	Sources map[string]any `yaml:",kinds"`
}

// The values of Provider.Events besides the kinds.
const (
	EventsAuto = "auto"
	EventsNone = "none"
)

// Default returns what a setting is that the file does not have.
func Default() *Config {
	return &Config{
		NATS:    NATS{Embedded: jetstream.EmbeddedConfig{Dir: "stackstream-data"}},
		Streams: jetstream.DefaultLayout(0),
		Admin:   Admin{Listen: "127.0.0.1:8321"},
		Log:     Log{Level: "info", Format: "auto"},
	}
}

// complete sets what depends on other settings.
func (c *Config) complete() {
	if c.Streams.Replicas == 0 {
		c.Streams.Replicas = 3
		if c.NATS.UseEmbedded() {
			c.Streams.Replicas = 1
		}
	}
	for _, p := range c.Providers {
		if p.Events == "" {
			p.Events = EventsAuto
		}
	}
}

// Kind is a kind of source, as the reader needs to know it.
type Kind struct {
	Name string
	// About says in a few words what the kind collects.
	About string
	// Settings returns a pointer to the settings as they are where the file says nothing.
	Settings func() any
	// Problems tells what is wrong with settings that Settings returned and the file completed. It asks nobody.
	Problems func(settings any) []Problem
	// Doubts tells what is no mistake and may yet lose or repeat events. It may be nil.
	Doubts func(settings any) []Problem
	// Listens is the address in the setting listen, of a kind that others come to; nil for others.
	Listens func(settings any) string
}

// Problem is a mistake that the package of a setting found: Field is its path below the package's own settings. What follows the
// first line of Msg shows the place within the setting.
type Problem struct{ Field, Msg string }

// Problems converts the list that a package's Validate returns, whose type is its own and has the same two fields.
func Problems[P ~struct{ Field, Msg string }](found []P) []Problem {
	out := make([]Problem, len(found))
	for i, p := range found {
		out[i] = Problem(p)
	}
	return out
}

// ErrorProblems takes a joined error apart. One that begins with the path of a setting ("groups[0].types: …") is a
// mistake in that setting.
func ErrorProblems(err error) []Problem {
	if err == nil {
		return nil
	}
	var whole *event.Error
	if joined, ok := err.(interface{ Unwrap() []error }); ok && !errors.As(err, &whole) {
		var found []Problem
		for _, e := range joined.Unwrap() {
			found = append(found, ErrorProblems(e)...)
		}
		return found
	}
	if m := settingPath.FindStringSubmatch(err.Error()); m != nil {
		return []Problem{{strings.TrimSuffix(m[1], ":"), m[2]}}
	}
	return []Problem{{"", err.Error()}}
}

var settingPath = regexp.MustCompile(`^([a-z_]+:|[a-z_]+(?:\.[a-z_]+|\[\d+\])+:?) (.*)$`)

// validate adds what is wrong with the values. What could not be decoded has been told already and is left out.
func (d *decoder) validate(c *Config) {
	d.decoded = len(d.findings)
	c.complete()
	if c.NATS.UseEmbedded() {
		d.add("nats.embedded", Problems(c.NATS.Embedded.Validate()))
		for _, setting := range d.below("nats") {
			if !strings.HasPrefix(setting, "nats.embedded") && setting != "nats.url" {
				d.add(setting, []Problem{{"", "is for a cluster, and nats.url names none"}})
			}
		}
	} else {
		d.add("nats", Problems(c.NATS.Validate()))
		if _, set := d.positions["nats.embedded"]; set {
			d.add("nats.embedded", []Problem{{"", fmt.Sprintf(
				"is for a server in this process, and nats.url in line %d names a cluster", d.positions["nats.url"].Line)}})
		}
	}
	d.add("streams", Problems(c.Streams.Validate()))
	d.add("normalizer", ErrorProblems(c.Normalizer.Validate()))
	d.add("admin", c.Admin.problems())
	d.add("log", Problems(setting.Check(c.Log)))
	if len(c.Providers) == 0 && !d.mistook("", "providers") {
		d.add("providers", []Problem{{"", "names no provider: at least one is needed"}})
	}
	for _, name := range c.Providers.Names() {
		d.provider(name, c.Providers[name])
		c.Doubts = append(c.Doubts, d.doubts(name, c.Providers[name])...)
	}
	d.doors(c)
}

func (d *decoder) doubts(name event.Provider, p *Provider) check.Findings {
	var found check.Findings
	for _, kind := range d.kinds {
		settings, configured := p.Sources[kind.Name]
		if !configured || kind.Doubts == nil {
			continue
		}
		for _, doubt := range kind.Doubts(settings) {
			setting := join(join("providers", string(name)), join(kind.Name, doubt.Field))
			found = append(found, check.Finding{
				Severity: check.Warning, Subject: setting, Position: d.nearest(setting), Message: d.conceal(doubt.Msg),
			})
		}
	}
	return found
}

func (d *decoder) provider(name event.Provider, p *Provider) {
	path := join("providers", string(name))
	if _, err := event.ParseProvider(string(name)); err != nil {
		d.add(path, []Problem{{"", err.Error()}})
	}
	var kinds []string
	for _, kind := range d.kinds {
		kinds = append(kinds, kind.Name)
		if settings, configured := p.Sources[kind.Name]; configured {
			d.add(join(path, kind.Name), kind.Problems(settings))
		}
	}
	switch {
	case p.Events == EventsNone:
	case p.Events == EventsAuto && len(p.Sources) == 0 && d.mistook(path, kinds...):
	case p.Events == EventsAuto && len(p.Sources) == 0:
		d.add(path, []Problem{{"", "has no source: configure " + strings.Join(kinds, " or ") + ", or say events: none"}})
	case p.Events == EventsAuto:
	case !slices.Contains(kinds, p.Events):
		d.add(path, []Problem{{"events", setting.None(p.Events, append([]string{EventsAuto, EventsNone}, kinds...))}})
	case p.Sources[p.Events] == nil:
		d.add(path, []Problem{{p.Events, "is missing: events names it"}})
	}
}

func (a Admin) problems() []Problem {
	if a.Off() {
		return nil
	}
	host, port, err := net.SplitHostPort(a.Listen)
	if err != nil {
		return []Problem{{"listen", fmt.Sprintf("%q is not an address like 127.0.0.1:8321, nor off", a.Listen)}}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return []Problem{{"listen", fmt.Sprintf("%q has no port number", a.Listen)}}
	}
	ip := net.ParseIP(host)
	if !a.ListenPublic && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return []Problem{{"listen", fmt.Sprintf(
			"%q is not a loopback address: set listen_public if others are meant to reach it", a.Listen)}}
	}
	return nil
}

// add records problems below a path, each at the place of its setting or, where that is missing, of what it belongs to.
func (d *decoder) add(path string, problems []Problem) {
	for _, p := range problems {
		setting := path
		if p.Field != "" {
			setting = join(path, p.Field)
		}
		if d.told(setting) || d.toldTwin(setting, p.Msg) {
			continue
		}
		message, excerpt, _ := strings.Cut(d.conceal(p.Msg), "\n")
		d.findings = append(d.findings, check.Finding{
			Severity: check.Mistake, Subject: setting, Position: d.nearest(setting), Message: message, Excerpt: excerpt,
		})
	}
}

// conceal takes values that came from the environment out of a message: any of them may be a secret.
func (d *decoder) conceal(message string) string {
	for _, value := range d.fromEnv {
		quoted := strconv.Quote(value)
		for _, form := range []string{value, quoted[1 : len(quoted)-1]} {
			message = strings.ReplaceAll(message, form, "${…}")
		}
	}
	return message
}

// told tells whether decoding found a mistake in the setting or in what it belongs to.
func (d *decoder) told(setting string) bool {
	return slices.ContainsFunc(d.findings[:d.decoded], func(f check.Finding) bool {
		return f.Subject == setting || f.Message != unknownSetting && inside(setting, f.Subject)
	})
}

// mistook tells whether an unknown setting directly below a path was probably meant to be one of the names.
func (d *decoder) mistook(path string, names ...string) bool {
	return slices.ContainsFunc(d.findings[:d.decoded], func(f check.Finding) bool {
		key := f.Subject[strings.LastIndexByte(f.Subject, '.')+1:]
		return f.Message == unknownSetting && f.Subject == join(path, key) && setting.Nearest(key, names) != ""
	})
}

// toldTwin tells whether a problem is only that the setting is missing, and names another one beside it, which could
// not be decoded: "password_file: is missing (or set password)".
func (d *decoder) toldTwin(setting, message string) bool {
	if !strings.HasPrefix(message, "is missing") {
		return false
	}
	parent := setting[:max(0, strings.LastIndexByte(setting, '.'))]
	for _, name := range word.FindAllString(message, -1) {
		if d.told(join(parent, name)) {
			return true
		}
	}
	return false
}

var word = regexp.MustCompile(`[a-z_]+`)

// inside tells whether the path is below parent.
func inside(path, parent string) bool {
	rest, below := strings.CutPrefix(path, parent)
	return below && parent != "" && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "["))
}

// nearest is the place of a setting, or of the innermost one around it that the file has.
func (d *decoder) nearest(setting string) check.Position {
	for setting != "" {
		if pos, ok := d.positions[setting]; ok {
			return pos
		}
		setting = setting[:max(0, strings.LastIndexAny(setting, ".["))]
	}
	return check.Position{File: d.file}
}

// below returns the settings that the file has directly below a path, sorted.
func (d *decoder) below(path string) []string {
	var found []string
	for setting := range d.positions {
		if rest, ok := strings.CutPrefix(setting, path+"."); ok && !strings.ContainsAny(rest, ".[") {
			found = append(found, setting)
		}
	}
	slices.Sort(found)
	return found
}
