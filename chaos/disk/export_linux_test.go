package disk

// NewInMemory makes a disk as New does where there is no loop device.
func NewInMemory(dir string, size int64) (*Disk, error) {
	return create(dir, size, func(dir string, size int64) (string, error) {
		return "tmpfs", mountMemory(dir, size)
	})
}
