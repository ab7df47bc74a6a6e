//go:build !linux

package disk

import "fmt"

func mount(string, int64) (string, error) {
	return "", fmt.Errorf("%w: this is known for Linux only", ErrUnavailable)
}

func unmount(string) error { return nil }

func fill(string) error { return ErrUnavailable }
