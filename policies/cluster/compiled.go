package cluster

import (
	"maps"
	"sync"
	"weak"

	"github.com/portcullis-dev/portcullis/policies/revision"
)

// Compiled lets several watches of one process compile each revision once: what is compiled judges for any number of them. Each still
// verifies the revision, and says for itself whether it takes it. What none of them uses any more is forgotten.
//
// Watches that share one must have the same [Options].Included. The zero value is ready for use.
type Compiled struct {
	mu        sync.Mutex
	revisions map[string]weak.Pointer[revision.Revision] // by all that compiling depends on
}

// of gives what is compiled by that name, or compiles it. One is compiled at a time, so that who comes second waits for it. A nil Compiled
// shares nothing.
func (c *Compiled) of(key string, compile func() (*revision.Revision, error)) (*revision.Revision, error) {
	if c == nil {
		return compile()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.revisions[key].Value(); known != nil {
		return known, nil
	}
	made, err := compile()
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(c.revisions, func(_ string, unused weak.Pointer[revision.Revision]) bool { return unused.Value() == nil })
	if c.revisions == nil {
		c.revisions = map[string]weak.Pointer[revision.Revision]{}
	}
	c.revisions[key] = weak.Make(made)
	return made, nil
}
