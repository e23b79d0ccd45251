package evidence

import (
	"container/list"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// key is what something was found out about. There is no tag in it: what a tag stands for may change while
// what is known of a digest stays true (Kyverno's cache had tags: a tag pushed again was admitted unseen).
type key struct {
	repository registry.Repository
	// subject is a digest; only where nothing is remembered, a tag or the name of an object.
	subject string
	// trust says by whose trust: the hashes of the trust configuration and of the trusted root. "" for what
	// does not depend on it.
	trust string
	// scope says with whose credentials: "" for the operator's, otherwise a namespace with its pull secrets.
	// What one tenant can read is not known to be readable, or missing, for another.
	scope string
}

// item is an answer with the time at which it was true.
type item[V any] struct {
	value   V
	fetched time.Time
	size    int
	// retryAt is when the next attempt to refresh it may begin.
	retryAt time.Time
}

// cache keeps the answers that were used last, within a number and a size in bytes. It is not safe for
// concurrent use.
type cache[V any] struct {
	maxEntries, maxBytes int
	bytes                int
	entries              map[key]*list.Element // of *cached[V]
	used                 list.List             // last used first
}

type cached[V any] struct {
	key key
	item[V]
}

// What an entry takes beside its value: the key's texts and the list's and the map's part.
const entryOverhead = 512

func newCache[V any](maxEntries, maxBytes int) *cache[V] {
	return &cache[V]{maxEntries: maxEntries, maxBytes: maxBytes, entries: map[key]*list.Element{}}
}

func (c *cache[V]) get(k key) (*item[V], bool) {
	element, ok := c.entries[k]
	if !ok {
		return nil, false
	}
	c.used.MoveToFront(element)
	return &element.Value.(*cached[V]).item, true //nolint:forcetypeassert // the list holds nothing else
}

// put keeps an answer in place of the one before. One that is larger than half of the cache is not kept: it would
// push out many for the sake of one.
func (c *cache[V]) put(k key, i item[V]) {
	c.remove(k)
	i.size += entryOverhead
	if c.maxEntries == 0 || i.size > c.maxBytes/2 {
		return
	}
	c.entries[k] = c.used.PushFront(&cached[V]{k, i})
	c.bytes += i.size
	for len(c.entries) > c.maxEntries || c.bytes > c.maxBytes {
		c.remove(c.used.Back().Value.(*cached[V]).key) //nolint:forcetypeassert // the list holds nothing else
	}
}

func (c *cache[V]) remove(k key) {
	if element, ok := c.entries[k]; ok {
		c.bytes -= element.Value.(*cached[V]).size //nolint:forcetypeassert // the list holds nothing else
		c.used.Remove(element)
		delete(c.entries, k)
	}
}
