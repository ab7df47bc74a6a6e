package rabbitmqtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var errNotInstalled = errors.New("RabbitMQ is not installed, and these tests need a real broker: " +
	"run `make rabbitmq` as root, or install the package rabbitmq-server")

// installation is RabbitMQ's home.
func installation() (string, error) {
	dirs := []string{"/usr/lib/rabbitmq/bin"} // where packages have it
	if path, err := exec.LookPath("rabbitmq-server"); err == nil {
		dirs = append(dirs, filepath.Dir(path)) // an unpacked release
	}
	return find(dirs...)
}

// find looks for RabbitMQ's own scripts. Those that packages put into PATH change the user, so they are not what we want.
func find(dirs ...string) (string, error) {
	for _, dir := range dirs {
		script, err := filepath.EvalSymlinks(filepath.Join(dir, "rabbitmq-server"))
		if err != nil {
			continue
		}
		sbin := filepath.Dir(script)
		if _, err := os.Stat(filepath.Join(sbin, "rabbitmq-env")); err != nil {
			continue
		}
		if _, err := exec.LookPath("epmd"); err != nil {
			return "", fmt.Errorf("%w (epmd is missing)", errNotInstalled)
		}
		return filepath.Dir(sbin), nil
	}
	return "", errNotInstalled
}

// mirror makes a directory of links to an installation, without the plugins that are not wanted. Erlang looks for each
// of its modules in the folder of each plugin: without them a broker starts in less than half the time.
func mirror(home, dir string, plugins []string) error {
	for _, name := range []string{"sbin", "escript"} {
		if err := os.Symlink(filepath.Join(home, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(filepath.Join(home, "plugins"))
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		if !wanted(e.Name(), plugins) {
			continue
		}
		if err := os.Symlink(filepath.Join(home, "plugins", e.Name()), filepath.Join(dir, "plugins", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// wanted says whether a broker needs a folder <name>-<version> of the plugins. Libraries, and what every broker consists
// of, are there, too.
func wanted(folder string, plugins []string) bool {
	name, _, _ := strings.Cut(folder, "-")
	if !strings.HasPrefix(name, "rabbitmq_") || name == "rabbitmq_prelaunch" {
		return true
	}
	for _, p := range plugins {
		if p == name {
			return true
		}
	}
	return false
}
