package webhook

import "time"

// idleWorker is how long a goroutine waits for its next review before it ends.
const idleWorker = 10 * time.Second

// crew runs reviews in goroutines that are used again: a review goes deep, and growing
// the stack of a new goroutine to that depth costs a fifth of recognising a pod.
// There are never more of them than reviews have run at once.
type crew struct{ jobs chan func() }

func newCrew() crew { return crew{make(chan func())} }

// run hands a job to an idle goroutine, or to a new one. The job must not panic.
func (c crew) run(job func()) {
	select {
	case c.jobs <- job:
	default:
		go c.work(job)
	}
}

func (c crew) work(job func()) {
	idle := time.NewTimer(idleWorker)
	defer idle.Stop()
	for {
		job()
		idle.Reset(idleWorker)
		select {
		case job = <-c.jobs:
		case <-idle.C:
			return
		}
	}
}
