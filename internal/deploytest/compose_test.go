package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads compose.yaml as `docker compose` does, with no environment but the service's own and every profile.
func load(t *testing.T) *types.Project {
	t.Helper()
	return loadWith(t, "*")
}

func loadWith(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "compose.yaml")}, cli.WithResolvedPaths(true),
		cli.WithProfiles(profiles))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("compose.yaml is refused: %v", err)
	}
	return project
}

func TestComposeHasTheServices(t *testing.T) {
	want := []string{
		"collector-1", "collector-2", "grafana", "nats-1", "nats-2", "nats-3", "normalizer-1", "normalizer-2", "prometheus",
		"provision", "rabbitmq",
	}
	if _, err := loadWith(t).GetService("grafana"); err == nil {
		t.Error("grafana runs without the profile monitoring")
	}
	project := loadWith(t, "monitoring")
	got := project.ServiceNames()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("services are %v, want %v", got, want)
	}
	for _, name := range []string{"nats-1", "nats-2", "nats-3", "rabbitmq", "prometheus", "grafana"} {
		named := false
		for _, v := range project.Services[name].Volumes {
			_, declared := project.Volumes[v.Source]
			named = named || v.Type == types.VolumeTypeVolume && declared
		}
		if !named {
			t.Errorf("%s keeps its data in no named volume", name)
		}
	}
}

func TestComposeImagesArePinned(t *testing.T) {
	for name, service := range load(t).Services {
		if service.Build != nil {
			continue
		}
		if !regexp.MustCompile(`:v?\d+\.\d+\.\d+`).MatchString(service.Image) {
			t.Errorf("%s: image %s is not one exact version", name, service.Image)
		}
	}
	for _, line := range strings.Split(read(t, filepath.Join(root, "Dockerfile")), "\n") {
		if image, ok := strings.CutPrefix(line, "FROM "); ok && image != "scratch" &&
			!regexp.MustCompile(`:\d+\.\d+\.\d+`).MatchString(image) {
			t.Errorf("Dockerfile: %s is not one exact version", line)
		}
	}
}

func TestComposeFilesExistOrAreGenerated(t *testing.T) {
	project := load(t)
	generated := secrets(t, generate(t))
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range project.Configs {
		if _, err := os.Stat(c.File); err != nil {
			t.Errorf("config %s: %v", name, err)
		}
	}
	for name, s := range project.Secrets {
		base := filepath.Base(s.File)
		if filepath.Dir(s.File) != filepath.Join(top, "deploy", "secrets") {
			t.Errorf("secret %s is not in deploy/secrets: %s", name, s.File)
		}
		if _, ok := generated[base]; !ok {
			t.Errorf("secret %s: generate-secrets.sh writes no %s", name, base)
		}
	}
	for name, service := range project.Services {
		for _, v := range service.Volumes {
			if v.Type == types.VolumeTypeBind {
				t.Errorf("%s mounts %s: files are configs or secrets here", name, v.Source)
			}
		}
		for _, c := range service.Configs {
			if _, ok := project.Configs[c.Source]; !ok {
				t.Errorf("%s uses config %s, which is not declared", name, c.Source)
			}
		}
		for _, s := range service.Secrets {
			if _, ok := project.Secrets[s.Source]; !ok {
				t.Errorf("%s uses secret %s, which is not declared", name, s.Source)
			}
		}
		if service.Build != nil {
			if _, err := os.Stat(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestComposeHasNoSecretInIt(t *testing.T) {
	text := read(t, filepath.Join(root, "compose.yaml"))
	for _, value := range secrets(t, generate(t)) {
		if strings.Contains(text, strings.TrimSpace(value)) {
			t.Error("compose.yaml has a secret in it")
		}
	}
	for name, service := range load(t).Services {
		for variable, value := range service.Environment {
			if value != nil && regexp.MustCompile(`(?i)pass|secret|token|key`).MatchString(variable) {
				t.Errorf("%s sets %s in compose.yaml", name, variable)
			}
		}
	}
}

func TestComposeWaitsForWhatIsHealthy(t *testing.T) {
	project := load(t)
	for name, service := range project.Services {
		for other, dependency := range service.DependsOn {
			needed, ok := project.Services[other]
			switch {
			case !ok:
				t.Errorf("%s waits for %s, which is no service", name, other)
			case dependency.Condition == types.ServiceConditionHealthy:
				if needed.HealthCheck == nil || len(needed.HealthCheck.Test) == 0 || needed.HealthCheck.Disable {
					t.Errorf("%s waits until %s is healthy, which has no health check", name, other)
				}
			case dependency.Condition == types.ServiceConditionCompletedSuccessfully:
				if !slices.Contains([]string{"no", "on-failure"}, needed.Restart) {
					t.Errorf("%s waits for the end of %s, which is started again: restart %q", name, other, needed.Restart)
				}
			default:
				t.Errorf("%s depends on %s with the condition %s", name, other, dependency.Condition)
			}
		}
		if name != "provision" && service.HealthCheck == nil {
			t.Errorf("%s has no health check", name)
		}
	}
}

// help is what a command of a built binary says with --help.
func help(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(bin, args[0]), append(args[1:], "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s --help: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestComposeCommandsExist: every program, subcommand and flag is one of the real binaries, and the file that -c names is
// mounted there.
func TestComposeCommandsExist(t *testing.T) {
	checked := 0
	for name, service := range load(t).Services {
		if service.Build == nil {
			continue
		}
		checked++
		command := []string(service.Command)
		if _, err := os.Stat(filepath.Join(bin, command[0])); err != nil {
			t.Errorf("%s runs %s, which is no program of ours", name, command[0])
			continue
		}
		verb := command[:1]
		if len(command) > 1 && !strings.HasPrefix(command[1], "-") {
			verb = command[:2]
		}
		usage := help(t, verb...)
		if !strings.Contains(usage, "Usage:\n  "+strings.Join(verb, " ")) {
			t.Errorf("%s: %s is no command:\n%s", name, strings.Join(verb, " "), usage)
		}
		for i, arg := range command[len(verb):] {
			if !strings.HasPrefix(arg, "-") {
				continue
			}
			if !regexp.MustCompile(`(?m)^ +(-\w, )?` + regexp.QuoteMeta(arg) + `[ ,]`).MatchString(usage) {
				t.Errorf("%s: %s has no flag %s:\n%s", name, strings.Join(verb, " "), arg, usage)
			}
			if arg != "-c" {
				continue
			}
			file := command[len(verb):][i+1]
			if !slices.ContainsFunc(service.Configs, func(c types.ServiceConfigObjConfig) bool { return c.Target == file }) {
				t.Errorf("%s: -c names %s, where nothing is mounted", name, file)
			}
		}
	}
	if checked != 5 {
		t.Errorf("checked %d services, want 5", checked)
	}
}

// TestComposeConfiguration: every worker's configuration is accepted, and its password file is mounted.
func TestComposeConfiguration(t *testing.T) {
	const file = root + "/deploy/stackstream.yaml"
	users := map[string]bool{}
	for name, service := range load(t).Services {
		if service.Build == nil {
			continue
		}
		user := service.Environment["NATS_USER"]
		if user == nil {
			t.Errorf("%s has no NATS_USER", name)
			continue
		}
		users[*user] = true
		if !slices.ContainsFunc(service.Secrets, func(s types.ServiceSecretConfig) bool {
			return s.Target == "nats-password" && s.Source == "nats-"+*user
		}) {
			t.Errorf("%s has the user %s and not its password as nats-password", name, *user)
		}
		broker := slices.ContainsFunc(service.Secrets, func(s types.ServiceSecretConfig) bool {
			return s.Target == "rabbitmq-password" && s.Source == "rabbitmq-stackstream"
		})
		if collects := *user == "collector"; broker != collects {
			t.Errorf("%s has the password of the broker: %t, want %t", name, broker, collects)
		}
	}
	for _, name := range []string{"nats-password", "rabbitmq-password"} {
		if !strings.Contains(read(t, file), "password_file: /run/secrets/"+name+"\n") {
			t.Errorf("stackstream.yaml does not read %s where compose.yaml puts it", name)
		}
	}
	for user := range users {
		check := exec.Command(filepath.Join(bin, "stackstream"), "check", "--offline", "-c", file)
		check.Env = append(os.Environ(), "NATS_USER="+user)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("check of deploy/stackstream.yaml: %v\n%s", err, out)
		}
	}
}
