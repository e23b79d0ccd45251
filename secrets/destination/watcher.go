package destination

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Watcher notices when others change what was written: by one watch for each object, by its name, of its metadata alone. No value is sent
// to it. What is above its limit is not watched, and noticed when it is refreshed.
//
// A nil Watcher watches nothing.
type Watcher struct {
	client  kubernetes.Interface
	limit   int
	changed func(Owner)

	mu      sync.Mutex
	run     context.Context // nil until Run
	watches map[place]*watch
	waiting []place // for a place, in order
	running int
	group   sync.WaitGroup
}

// watch is what is known of one object.
type watch struct {
	owner  Owner
	cancel context.CancelFunc // nil while it has no place
	// known is the resource version that counts as unchanged, "" where nothing does yet.
	known string
	gone  bool // it was seen to go
	// own are the last resource versions that are of our writes. busy counts writes under way, late says that something was seen meanwhile.
	own  [6]string
	next int
	busy int
	late string
	// deleted is the UID of what we deleted to make it anew.
	deleted string
}

// NewWatcher watches at most limit objects, and calls changed for each that somebody else changed or deleted. changed must return at once.
func NewWatcher(client kubernetes.Interface, limit int, changed func(Owner)) *Watcher {
	return &Watcher{client: client, limit: limit, changed: changed, watches: map[place]*watch{}}
}

// Follow watches an object from now on. What it is when it is first seen counts as unchanged: for a process that has just started, the
// next refresh compares it.
func (w *Watcher) Follow(owner Owner, kind, name string) { w.FollowFrom(owner, kind, name, "") }

// FollowFrom watches an object whose resource version was that of our last write (status.destination.resourceVersion): another one that is
// found is a change. It does nothing for what is watched already.
func (w *Watcher) FollowFrom(owner Owner, kind, name, resourceVersion string) {
	if w == nil {
		return
	}
	at := place{kindOf(kind), owner.Namespace, name}
	w.mu.Lock()
	defer w.mu.Unlock()
	if known := w.watches[at]; known != nil {
		known.owner = owner
		if resourceVersion != "" {
			known.remember(resourceVersion)
		}
		return
	}
	w.watches[at] = &watch{owner: owner, known: resourceVersion}
	w.waiting = append(w.waiting, at)
	w.fill()
}

// Unfollow ends the watch of an object; its place goes to the next that waits for one.
func (w *Watcher) Unfollow(owner Owner, kind, name string) {
	if w == nil {
		return
	}
	at := place{kindOf(kind), owner.Namespace, name}
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.watches[at]
	if known == nil || known.owner.UID != owner.UID {
		return
	}
	delete(w.watches, at)
	if known.cancel != nil {
		known.cancel()
		w.running--
	}
	w.fill()
}

// Watched is how many objects are watched, and how many are not since there is no place.
func (w *Watcher) Watched() (watched, waiting int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running, len(w.watches) - w.running
}

// Run watches until the context ends.
func (w *Watcher) Run(ctx context.Context) {
	w.mu.Lock()
	w.run = ctx
	w.fill()
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	w.run = nil
	w.mu.Unlock()
	w.group.Wait()
}

// fill gives places to those that wait. The caller holds the lock.
func (w *Watcher) fill() {
	if w.run == nil || w.run.Err() != nil {
		return
	}
	for w.running < w.limit && len(w.waiting) > 0 {
		at := w.waiting[0]
		w.waiting = w.waiting[1:]
		known := w.watches[at]
		if known == nil || known.cancel != nil {
			continue
		}
		ctx, cancel := context.WithCancel(w.run)
		known.cancel = cancel
		w.running++
		w.group.Go(func() {
			defer cancel()
			w.follow(ctx, at, known)
		})
	}
}

// The pauses between two watches of one object: they double from the least to the most, and half of each is at random.
const (
	leastPause = time.Second
	mostPause  = 2 * time.Minute
)

// follow watches one object until the context ends.
func (w *Watcher) follow(ctx context.Context, at place, known *watch) {
	position, pause := "", leastPause
	for ctx.Err() == nil {
		began := time.Now()
		err := w.session(ctx, at, known, &position)
		if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
			position = "" // from what it is now, which is compared with what it was
		}
		if time.Since(began) > mostPause {
			pause = leastPause
		}
		if err == nil && time.Since(began) > 10*time.Second { // the API server ends watches after a while
			continue
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, mostPause)
	}
}

// metadataOnly has the API server send the metadata of objects and nothing else of them.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// event is as much of a watch event as is needed. Of the metadata managed fields are skipped, too.
type event struct {
	Type   string `json:"type"`
	Object struct {
		Code     int `json:"code"` // of a Status
		Metadata struct {
			UID             string `json:"uid"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	} `json:"object"`
}

// session is one watch. position is the resource version up to which all was seen, "" for nothing.
func (w *Watcher) session(ctx context.Context, at place, known *watch, position *string) error {
	client, ok := w.client.CoreV1().RESTClient().(*rest.RESTClient)
	if !ok || client == nil {
		return errors.New("there is no API server")
	}
	request := client.Get().Namespace(at.namespace).Resource(at.resource()).SetHeader("Accept", metadataOnly).
		Param("watch", "true").Param("fieldSelector", "metadata.name="+at.name).Param("allowWatchBookmarks", "true").
		Param("timeoutSeconds", strconv.Itoa(300+rand.IntN(300))) // they do not all end at once
	if *position != "" {
		request = request.Param("resourceVersion", *position)
	}
	stream, err := request.Stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	present, first := *position != "", *position == ""
	for decoder := json.NewDecoder(stream); ; {
		var seen event
		if err := decoder.Decode(&seen); err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watching the %s: %w", at, err)
		}
		version := seen.Object.Metadata.ResourceVersion
		switch seen.Type {
		case "ADDED", "MODIFIED":
			w.saw(known, version, false, first)
			present, first = true, false
		case "DELETED":
			if !w.deletedByUs(known, seen.Object.Metadata.UID) {
				w.saw(known, version, true, false)
			}
			present, first = false, false
		case "BOOKMARK": // all up to here was seen
			if first && !present {
				w.saw(known, version, true, true)
			}
			first = false
		case "ERROR":
			if seen.Object.Code == http.StatusGone {
				return apierrors.NewResourceExpired("the watch")
			}
			return fmt.Errorf("watching the %s: the API server answers %d", at, seen.Object.Code)
		}
		if version != "" {
			*position = version
		}
	}
}

// saw compares what was seen with what is known, and reports what somebody else did.
func (w *Watcher) saw(known *watch, version string, gone, first bool) {
	w.mu.Lock()
	report := false
	switch {
	case gone && first && known.known == "" && !known.gone: // it was not there when we came
		known.gone = true
	case gone:
		report = !known.gone
		known.gone = true
	case first && known.known == "" && !known.gone:
		known.known = version
	default:
		report = version != known.known && !known.isOwn(version)
		known.known, known.gone = version, false
	}
	if report && known.busy > 0 { // perhaps it is what is being written: the end of the write says
		known.late, report = version, false
	}
	owner := known.owner
	w.mu.Unlock()
	if report {
		w.changed(owner)
	}
}

// deletedByUs says whether an object that went was deleted by us.
func (w *Watcher) deletedByUs(known *watch, uid string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uid != "" && known.deleted == uid
}

func (k *watch) isOwn(version string) bool {
	for _, own := range k.own {
		if own != "" && own == version {
			return true
		}
	}
	return false
}

// remember notes a resource version of a write of ours.
func (k *watch) remember(version string) {
	if !k.isOwn(version) {
		k.own[k.next] = version
		k.next = (k.next + 1) % len(k.own)
	}
	k.gone = false
	if k.known == "" {
		k.known = version
	}
}

// writing says that an object is being written. What it gives is to be called when that is over.
func (w *Watcher) writing(at place) (done func()) {
	if w == nil {
		return func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.watches[at]
	if known == nil {
		return func() {}
	}
	known.busy++
	return func() {
		w.mu.Lock()
		known.busy--
		report := known.busy == 0 && known.late != "" && !known.isOwn(known.late) && !known.gone
		if known.busy == 0 {
			known.late = ""
		}
		owner := known.owner
		w.mu.Unlock()
		if report {
			w.changed(owner)
		}
	}
}

// wrote notes what was written.
func (w *Watcher) wrote(o *object) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if known := w.watches[o.place()]; known != nil {
		known.remember(o.ResourceVersion)
	}
}

// deleting notes what we are about to delete.
func (w *Watcher) deleting(o *object) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if known := w.watches[o.place()]; known != nil {
		known.deleted = string(o.UID)
	}
}
