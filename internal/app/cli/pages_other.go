//go:build !linux

package cli

// dropProgram would let go of what of the program itself was needed only to begin. Here nothing is known of that.
func dropProgram() error { return nil }
