package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/internal/app/config"
	"stackstream/internal/app/metrics"
)

// scene is a configuration in a file, and what a reloader makes of its changes.
type scene struct {
	t      *testing.T
	dir    string
	file   string
	board  *admin.Board
	log    bytes.Buffer
	level  string
	hangup chan os.Signal

	mu      sync.Mutex
	last    map[part]work // as it was last to be
	changes int
}

const sceneFile = `nats: {url: nats://127.0.0.1:1}
providers:
  lab: {events: none}
  prod: {amqp: {hosts: [rabbit], user: u, password_file: %s/secret}}
`

// reload runs f with a reloader at work on the file.
func reload(t *testing.T, f func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := &scene{
			t: t, dir: dir, file: filepath.Join(dir, "stackstream.yaml"), board: admin.NewBoard(), hangup: make(chan os.Signal),
		}
		s.write("secret", "hunter2\n")
		s.configure(sceneFile)
		load := func() (*config.Config, error) { return config.Reader{Kinds: Kinds()}.File(s.file) }
		cfg, err := load()
		if err != nil {
			t.Fatal(err)
		}
		works := func(cfg *config.Config, files contents) (map[part]work, error) {
			wanted := map[part]work{}
			for name, p := range cfg.Providers {
				wanted[collectorOf(name)] = work{settings: collection{*p, files[name]}, prepare: func() (func(context.Context) error, error) {
					return func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
				}}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.last = wanted
			return wanted, nil
		}
		files := readContents(cfg)
		first, _ := works(cfg, files)
		providers := newSupervisor(supervisorHooks{
			Begins: func(part) { s.mu.Lock(); defer s.mu.Unlock(); s.changes++ }, Gone: func(event.Provider) {},
		})
		m := metrics.New(s.board, "v1")
		r := newReloader(Reload{File: s.file, Load: load, Hangups: s.hangup, SetLevel: func(l string) { s.level = l }},
			cfg, files, works, providers, m, zerolog.New(&s.log))
		ctx, cancel := context.WithCancel(t.Context())
		var loops sync.WaitGroup
		loops.Go(func() { _ = providers.Run(ctx) })
		if _, err := providers.Change(ctx, first); err != nil {
			t.Fatal(err)
		}
		loops.Go(func() { _ = r.Run(ctx) })
		s.pass(5 * time.Second)
		s.begun(2)
		f(s)
		cancel()
		loops.Wait()
	})
}

func (s *scene) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// configure writes the configuration in place; %s in it is the directory.
func (s *scene) configure(text string) {
	s.t.Helper()
	s.write("stackstream.yaml", strings.ReplaceAll(text, "%s", s.dir))
}

func (s *scene) pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// begun checks how many loops have begun since the last time.
func (s *scene) begun(want int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != want {
		s.t.Errorf("%d loops have begun, want %d; the log says\n%s", s.changes, want, s.log.String())
	}
	s.changes = 0
}

// says checks what the board has of the configuration.
func (s *scene) says(want string) {
	s.t.Helper()
	for _, p := range s.board.Parts() {
		if p.Role == admin.RoleConfiguration {
			if got := strings.TrimSpace(string(p.State) + " " + p.Reason); got != want && (want == "live" || !strings.Contains(got, want)) {
				s.t.Errorf("the configuration is %q, want %q", got, want)
			}
			return
		}
	}
	s.t.Error("the board has nothing of the configuration")
}

func (s *scene) wanted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for p := range s.last {
		names = append(names, string(p.provider))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestReloadTakesAChangedFile(t *testing.T) {
	reload(t, func(s *scene) {
		s.says("live")
		s.configure(sceneFile + "  stage: {events: none}\n")
		s.pass(settled / 2)
		s.begun(0) // whoever writes may not be done
		s.pass(2 * settled)
		s.begun(1)
		if got := s.wanted(); got != "lab prod stage" {
			t.Errorf("wanted are %s", got)
		}
		s.configure(strings.Replace(sceneFile, "  lab: {events: none}\n", "", 1))
		s.pass(5 * settled)
		s.begun(0)
		if got := s.wanted(); got != "prod" {
			t.Errorf("wanted are %s", got)
		}
		s.says("live")
		// Written again as it is: nothing begins.
		s.configure(strings.Replace(sceneFile, "  lab: {events: none}\n", "# the same\n", 1))
		s.pass(5 * settled)
		s.begun(0)
	})
}

// The ways in which files change: an editor puts another file in place, Kubernetes exchanges a link to a directory.
func TestReloadSeesEveryWayAFileChanges(t *testing.T) {
	changed := strings.Replace(sceneFile, "user: u", "user: other", 1)
	t.Run("renamed", func(t *testing.T) {
		reload(t, func(s *scene) {
			s.write("new", strings.ReplaceAll(changed, "%s", s.dir))
			if err := errors.Join(os.Rename(s.file, s.file+"~"), os.Rename(filepath.Join(s.dir, "new"), s.file)); err != nil {
				t.Fatal(err)
			}
			s.pass(5 * settled)
			s.begun(1)
		})
	})
	t.Run("link exchanged", func(t *testing.T) {
		reload(t, func(s *scene) {
			link := func(version, text string) {
				dir := filepath.Join(s.dir, version)
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				s.write(version+"/stackstream.yaml", strings.ReplaceAll(text, "%s", s.dir))
				next := filepath.Join(s.dir, "..data_tmp")
				if err := errors.Join(os.Symlink(version, next), os.Rename(next, filepath.Join(s.dir, "..data"))); err != nil {
					t.Fatal(err)
				}
			}
			link("..1", sceneFile)
			if err := errors.Join(os.Remove(s.file), os.Symlink("..data/stackstream.yaml", s.file)); err != nil {
				t.Fatal(err)
			}
			s.pass(5 * settled)
			s.begun(0)
			link("..2", changed)
			s.pass(5 * settled)
			s.begun(1)
		})
	})
	t.Run("gone for a moment", func(t *testing.T) {
		reload(t, func(s *scene) {
			if err := os.Remove(s.file); err != nil {
				t.Fatal(err)
			}
			s.pass(lookEvery)
			s.configure(changed)
			s.pass(5 * settled)
			s.begun(1)
			if strings.Contains(s.log.String(), "refused") {
				t.Errorf("the log has\n%s", s.log.String())
			}
		})
	})
}

// A file that is being written is left alone until it has settled, whatever its beginning would mean.
func TestReloadWaitsForAHalfWrittenFile(t *testing.T) {
	reload(t, func(s *scene) {
		text := strings.ReplaceAll(sceneFile+"  stage: {events: none}\n", "%s", s.dir)
		for n := range len(text) {
			if n%40 == 0 {
				s.write("stackstream.yaml", text[:n])
				s.pass(settled - lookEvery)
			}
		}
		s.begun(0)
		if got := s.wanted(); got != "lab prod" {
			t.Errorf("wanted are %s before the file is whole", got)
		}
		s.write("stackstream.yaml", text)
		s.pass(5 * settled)
		s.begun(1)
	})
}

func TestReloadRefusesMistakes(t *testing.T) {
	reload(t, func(s *scene) {
		s.configure(sceneFile + "  stage: {events: nine}\n  qa: {event: none}\nlogs: {}\n")
		s.pass(5 * settled)
		s.begun(0)
		s.says("degraded refused, the one read at")
		s.says("stays in use: " + s.file + ":5:11: providers.stage.events:")
		s.says("more in the log)")
		for _, place := range []string{":5:11", ":6:8", ":7:1"} {
			if !strings.Contains(s.log.String(), `"place":"`+s.file+place+`"`) {
				t.Errorf("the log does not name %s:\n%s", place, s.log.String())
			}
		}
		if got := s.wanted(); got != "lab prod" {
			t.Errorf("wanted are %s", got)
		}
		// It is said once.
		before := s.log.Len()
		s.pass(time.Minute)
		if s.log.Len() != before {
			t.Errorf("the log has more:\n%s", s.log.String()[before:])
		}
		s.configure(sceneFile)
		s.pass(5 * settled)
		s.begun(0)
		s.says("live")
		s.configure("")
		s.pass(5 * settled)
		s.says("degraded refused")
		s.configure(sceneFile + "  stage: {events: none}\n")
		s.pass(5 * settled)
		s.begun(1)
		s.says("live")
	})
}

// A changed password is a changed provider, and only that. One that can't be read stops nothing that works.
func TestReloadFollowsSecrets(t *testing.T) {
	reload(t, func(s *scene) {
		s.write("secret", "hunter3\n")
		s.pass(5 * settled)
		s.begun(1)
		if err := os.Remove(filepath.Join(s.dir, "secret")); err != nil {
			t.Fatal(err)
		}
		s.pass(5 * settled)
		s.begun(0)
		s.says("providers.prod.amqp.password_file: " + s.dir + "/secret can't be read")
		s.write("secret", "hunter4\n")
		s.pass(5 * settled)
		s.begun(1)
		s.says("live")
		// A mistake elsewhere does not keep it from being taken.
		s.configure(sceneFile + "logs: {}\n")
		s.pass(5 * settled)
		s.begun(0)
		s.write("secret", "hunter7\n")
		s.pass(5 * settled)
		s.begun(1)
		s.says("degraded refused")
		s.configure(sceneFile)
		s.pass(5 * settled)
		s.begun(0)
		// A file that is named before it is there: taken once it is.
		s.configure(strings.Replace(sceneFile, "/secret", "/other", 1))
		s.pass(5 * settled)
		s.begun(0)
		s.says("other can't be read")
		s.write("other", "hunter5\n")
		s.pass(5 * settled)
		s.begun(1)
		s.says("live")
		if strings.Contains(s.log.String(), "hunter") {
			t.Errorf("the log has a password:\n%s", s.log.String())
		}
	})
}

func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	reload(t, func(s *scene) {
		s.configure(strings.Replace(sceneFile, "nats://127.0.0.1:1", "nats://127.0.0.1:2", 1) +
			"  stage: {events: none}\nstreams: {raw: {max_age: 3d}}\nadmin: {listen: \"off\"}\nlog: {level: debug, format: json}\n")
		s.pass(5 * settled)
		s.begun(1)
		s.says("live in use but for what needs a restart: admin.listen, log.format, nats.url[0], streams.raw.max_age")
		if s.level != "debug" {
			t.Errorf("the level is %q", s.level)
		}
		s.configure(sceneFile)
		s.pass(5 * settled)
		s.says("live")
	})
}

// What comes through a pipe is not read again: that would wait for ever.
func TestReloadLeavesPipesAlone(t *testing.T) {
	reload(t, func(s *scene) {
		if err := errors.Join(os.Remove(s.file), syscall.Mkfifo(s.file, 0o600)); err != nil {
			t.Fatal(err)
		}
		s.pass(5 * settled)
		s.begun(0)
		s.says("degraded refused")
		s.says("it is no file any more")
		if err := errors.Join(os.Remove(filepath.Join(s.dir, "secret")), syscall.Mkfifo(filepath.Join(s.dir, "secret"), 0o600), os.Remove(s.file)); err != nil {
			t.Fatal(err)
		}
		s.configure(sceneFile)
		s.pass(5 * settled)
		s.begun(1) // whose secret is another now
		s.says("live")
	})
}

func TestReloadOnHangup(t *testing.T) {
	reload(t, func(s *scene) {
		s.configure(sceneFile + "  stage: {events: none}\n")
		s.hangup <- os.Interrupt
		s.pass(time.Millisecond)
		s.begun(1)
		s.hangup <- os.Interrupt
		s.pass(time.Millisecond)
		s.begun(0)
		if !strings.Contains(s.log.String(), "nothing in it has changed") {
			t.Errorf("the log has\n%s", s.log.String())
		}
		s.pass(5 * settled)
		s.begun(0)
	})
}

// What is read twice is the same, whatever stands in it: a file that is written again begins nothing anew.
func TestSettingsThatAreReadTwiceAreTheSame(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	more, err := filepath.Glob("../../examples/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	env := func(string) (string, bool) { return "x", true }
	compared := 0
	for _, file := range append(files, more...) {
		var read [2]map[part]work
		for i := range read {
			cfg, err := config.Reader{Env: env, Kinds: Kinds()}.File(file)
			if err != nil {
				continue
			}
			read[i] = map[part]work{}
			for name, p := range cfg.Providers {
				read[i][collectorOf(name)] = work{settings: collection{*p, config.ContentsOf(p)}}
				read[i][normalizerOf(name)] = work{settings: conversionOf(cfg, name)}
			}
		}
		for p, w := range read[0] {
			compared++
			if !same(w, read[1][p]) {
				t.Errorf("%s: %v differs from itself", file, p)
			}
		}
	}
	if compared < 10 {
		t.Errorf("%d were compared", compared)
	}
}
