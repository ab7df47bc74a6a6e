package jetstream

// WatchRefusals is watchRefusals, for tests that need a server.
func (c *Client) WatchRefusals(match func(subject string) bool) (refused <-chan error, stop func()) {
	return c.watchRefusals(match)
}
