package registry

import "time"

// Closed is for how long the host of a repository, or the mirror that is asked before it, has asked to be left
// alone (429), 0 for not at all. Requests wait that long if their context lets them.
func (c *Client) Closed(repository Repository) time.Duration {
	places, err := c.places(repository)
	if err != nil || len(places) == 0 {
		return 0
	}
	return max(c.gate.left(places[0].host), 0)
}
