package webhook

import (
	"sync"
	"testing"
)

func TestACrewRunsEveryJobAtOnce(t *testing.T) {
	c := newCrew()
	for _, round := range []string{"new goroutines", "goroutines used again"} {
		const jobs = 20
		var all, done sync.WaitGroup
		all.Add(jobs)
		done.Add(jobs)
		for range jobs {
			c.run(func() {
				all.Done()
				all.Wait() // no job waits for another one to end
				done.Done()
			})
		}
		done.Wait()
		t.Log(round)
	}
}
