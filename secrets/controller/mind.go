package controller

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// mind is what is remembered of an object from pass to pass in one term. Nothing of it is needed by the next: that is in statuses and
// VaultLeases.
//
// Flags are set by anybody, with the Controller's lock; the rest is of the one pass that there is at a time.
type mind struct {
	uid types.UID
	// drifted: somebody changed the destination. due: what it refers to has changed. demand: a quarantine asks for another value.
	drifted, due bool
	demand       *demand

	// looked says that the destination was compared since the term began.
	looked bool
	// stumbles counts own faults in a row, failures what went wrong in a row.
	stumbles, failures int64
	// session holds the token of leases, lease is the VaultLease as it was last written, inUse the lease of what is in the destination.
	session Session
	lease   *v1alpha1.VaultLease
	inUse   *secrets.Lease
	// former is a login whose token was replaced by another, revoked after a time: leases of before hang on it.
	former      Session
	formerAfter time.Time
	// tokened says that what is issued has a lease though its engine need not.
	tokened bool
	// retired are certificates and secret ids that were replaced and are to be revoked.
	retired []retired
	// written is the status that this process wrote last, version the resource version then: until the informer has it.
	written any
	version string
}

// demand is what a quarantine asks for.
type demand struct {
	since time.Time
	why   string
}

// retired is something to be revoked after a time.
type retired struct {
	lease secrets.Lease
	after time.Time
}

// mindOf is what is remembered of an object. One of its name with another UID was another one.
func (c *Controller) mindOf(key Key, uid types.UID) *mind {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.minds[key]
	if m == nil || uid != "" && m.uid != "" && m.uid != uid {
		m = &mind{}
		c.minds[key] = m
	}
	if uid != "" {
		m.uid = uid
	}
	return m
}

// flag sets flags of an object.
func (c *Controller) flag(key Key, set func(*mind)) {
	m := c.mindOf(key, "")
	c.mu.Lock()
	defer c.mu.Unlock()
	set(m)
}

// flags reads them.
func (c *Controller) flags(m *mind) (drifted, due bool, wanted *demand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return m.drifted, m.due, m.demand
}

// forget forgets an object that is gone. Its session is left to end by itself: whoever deleted the object has revoked it.
func (c *Controller) forget(key Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.minds[key]; m != nil {
		delete(c.kept, string(m.uid))
	}
	delete(c.minds, key)
}

func (c *Controller) calm(key Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.minds[key]; m != nil {
		m.stumbles = 0
	}
}

func (c *Controller) stumbled(key Key) int64 {
	m := c.mindOf(key, "")
	c.mu.Lock()
	defer c.mu.Unlock()
	m.stumbles++
	return m.stumbles
}

// behind says whether what the informer has is older than what this process wrote.
func behind(informed, written string) bool {
	if written == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(informed, written)
	return err != nil || order < 0
}
