package controller

import (
	"container/heap"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Key names one object that is reconciled. Namespace is "" for Quarantines.
type Key struct{ Kind, Namespace, Name string }

func (k Key) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// The kinds of keys.
const (
	KindSecret     = "VaultSecret"
	KindPush       = "VaultPush"
	KindQuarantine = "Quarantine"
)

// The classes of work, the most urgent first: what ends if it is not renewed, what people wait for, what is only due.
const (
	classRenewal = iota
	classPeople
	classRefresh
	classes
)

// queue says which object is reconciled next: of what is due the most urgent class, in it who waited longest. Each object is in it once, at
// the earliest time that was asked for, and is never given to two at a time.
type queue struct {
	clock clock.WithTicker

	mu      sync.Mutex
	changed *sync.Cond // something is ready, or nothing will be any more
	items   map[Key]*item
	waiting waiting
	ready   [classes][]*item
	running int
	shut    bool
	woken   chan struct{} // the earliest time has changed
}

type item struct {
	key   Key
	due   time.Time
	class int
	state state
	index int // in waiting
	// again is set while it runs: when it was asked for meanwhile.
	again      bool
	againDue   time.Time
	againClass int
}

type state int

const (
	stateWaiting state = iota
	stateReady
	stateRunning
)

func newQueue(clock clock.WithTicker) *queue {
	q := &queue{clock: clock, items: map[Key]*item{}, woken: make(chan struct{}, 1)}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// Add asks for an object at a time, or now where that has passed. An earlier time that was asked for before stands.
func (q *queue) Add(key Key, at time.Time, class int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return
	}
	one := q.items[key]
	if one == nil {
		one = &item{key: key, due: at, class: class, index: -1}
		q.items[key] = one
		q.place(one)
		return
	}
	switch one.state {
	case stateRunning:
		if !one.again || earlier(at, class, one.againDue, one.againClass) {
			one.again, one.againDue, one.againClass = true, at, class
		}
	case stateReady:
		if class < one.class && !at.After(q.clock.Now()) {
			q.unready(one)
			one.class = class
			q.place(one)
		}
	case stateWaiting:
		if earlier(at, class, one.due, one.class) {
			heap.Remove(&q.waiting, one.index)
			one.due, one.class = at, class
			q.place(one)
		}
	}
}

// earlier says whether one wish comes before another.
func earlier(at time.Time, class int, other time.Time, otherClass int) bool {
	return at.Before(other) || at.Equal(other) && class < otherClass
}

// place puts an item where it belongs. The lock is held.
func (q *queue) place(one *item) {
	if one.due.After(q.clock.Now()) {
		one.state = stateWaiting
		heap.Push(&q.waiting, one)
		if one.index == 0 {
			q.wake()
		}
		return
	}
	one.state = stateReady
	q.ready[one.class] = append(q.ready[one.class], one)
	q.changed.Broadcast()
}

func (q *queue) unready(one *item) {
	list := q.ready[one.class]
	for n := range list {
		if list[n] == one {
			q.ready[one.class] = append(list[:n], list[n+1:]...)
			return
		}
	}
}

func (q *queue) wake() {
	select {
	case q.woken <- struct{}{}:
	default:
	}
}

// Get waits for an object of a class up to least, and gives it to the caller until Done. false: nothing will come any more.
func (q *queue) Get(least int) (Key, int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.shut {
			return Key{}, 0, false
		}
		for class := 0; class <= least; class++ {
			if list := q.ready[class]; len(list) > 0 {
				one := list[0]
				list[0] = nil
				q.ready[class] = list[1:]
				one.state = stateRunning
				q.running++
				return one.key, class, true
			}
		}
		q.changed.Wait()
	}
}

// Done gives an object back, to come again at a time; zero is only if somebody asked meanwhile, or asks.
func (q *queue) Done(key Key, at time.Time, class int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	one := q.items[key]
	if one == nil || one.state != stateRunning {
		return
	}
	q.running--
	if one.again && (at.IsZero() || earlier(one.againDue, one.againClass, at, class)) {
		at, class = one.againDue, one.againClass
	}
	one.again = false
	if at.IsZero() || q.shut {
		delete(q.items, key)
		return
	}
	one.due, one.class = at, class
	q.place(one)
}

// Run moves what becomes due until stop is closed, and ends all Gets then.
func (q *queue) Run(stop <-chan struct{}) {
	defer func() {
		q.mu.Lock()
		q.shut = true
		q.changed.Broadcast()
		q.mu.Unlock()
	}()
	for {
		wait, ok := q.ripen()
		var ripe <-chan time.Time
		var timer clock.Timer
		if ok {
			timer = q.clock.NewTimer(wait)
			ripe = timer.C()
		}
		select {
		case <-stop:
		case <-q.woken:
		case <-ripe:
		}
		if timer != nil {
			timer.Stop()
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// ripen makes ready what is due, and says how long it is until the next is.
func (q *queue) ripen() (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.clock.Now()
	for len(q.waiting) > 0 && !q.waiting[0].due.After(now) {
		one := heap.Pop(&q.waiting).(*item)
		one.state = stateReady
		q.ready[one.class] = append(q.ready[one.class], one)
		q.changed.Broadcast()
	}
	if len(q.waiting) == 0 {
		return 0, false
	}
	return q.waiting[0].due.Sub(now), true
}

// Length is how many are ready, by class, and how many wait for their time.
func (q *queue) Length() (ready [classes]int, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for class := range ready {
		ready[class] = len(q.ready[class])
	}
	return ready, len(q.waiting)
}

// idle says that nothing is ready or running, and when the next will be; zero for never.
func (q *queue) idle() (bool, time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for class := range q.ready {
		if len(q.ready[class]) > 0 {
			return false, time.Time{}
		}
	}
	if q.running > 0 {
		return false, time.Time{}
	}
	if len(q.waiting) == 0 {
		return true, time.Time{}
	}
	return true, q.waiting[0].due
}

// waiting is a heap by time.
type waiting []*item

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return earlier(w[i].due, w[i].class, w[j].due, w[j].class) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i]; w[i].index, w[j].index = i, j }

func (w *waiting) Push(x any) {
	one := x.(*item)
	one.index = len(*w)
	*w = append(*w, one)
}

func (w *waiting) Pop() any {
	old := *w
	one := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	one.index = -1
	return one
}
