package cluster

import (
	"errors"
	"runtime"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/revision"
)

func TestWhatSeveralWatchesFollowIsCompiledOnce(t *testing.T) {
	var shared Compiled
	compiled := 0
	load := func(c *Compiled, key string, failure error) *revision.Revision {
		made, err := c.of(key, func() (*revision.Revision, error) {
			compiled++
			return &revision.Revision{Policies: compiled}, failure
		})
		if !errors.Is(err, failure) {
			t.Errorf("got the error %v, want %v", err, failure)
		}
		return made
	}
	expect := func(what string, want int) {
		t.Helper()
		if compiled != want {
			t.Errorf("%s: compiled %d times, want %d", what, compiled, want)
		}
	}
	load(&shared, "a", errors.ErrUnsupported)
	expect("one that fails", 1)
	first := load(&shared, "a", nil)
	second := load(&shared, "a", nil)
	expect("and is mended, for two", 2)
	if first != second {
		t.Error("the two have different ones")
	}
	other := load(&shared, "b", nil)
	expect("another", 3)
	load(nil, "a", nil)
	expect("of nobody who shares", 4)
	runtime.KeepAlive(first)
	runtime.KeepAlive(second)
	// What nobody uses is not kept: each revision has megabytes.
	runtime.GC()
	runtime.GC()
	third := load(&shared, "a", nil)
	expect("after nobody used it", 5)
	if len(shared.revisions) != 2 {
		t.Errorf("%d are known, want those that are used", len(shared.revisions))
	}
	runtime.KeepAlive(other)
	runtime.KeepAlive(third)
}
