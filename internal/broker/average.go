package broker

// Average moves an average size of messages towards the size of one, to choose how many may come ahead: at once to a larger one,
// slowly to a smaller one.
func Average(bytes, size int) int {
	switch {
	case bytes == 0:
		return size
	case size > bytes:
		return bytes + (size-bytes+15)/16
	default:
		return bytes - (bytes-size)/64
	}
}
