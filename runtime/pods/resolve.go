package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Errors of [Index.Find]. Whoever reads one must not act.
var (
	// ErrUnresolved says that no pod is known to be the one; it may become known in a moment.
	ErrUnresolved = errors.New("it is not known which pod the event is about")
	// ErrNoPod says that the event names none, and is not about a process of the node either.
	ErrNoPod = errors.New("the event names no pod")
	// ErrWrongNode says that the sender is another node than the pod's.
	ErrWrongNode = errors.New("the sender does not speak for the pod's node")
)

// How a pod was found (response.Pod.ResolvedBy).
const (
	byUID       = "uid"
	byContainer = "container"
	byName      = "name"
)

// Found is a pod that the index knows.
type Found struct{ record *record }

// Gone says that the pod does not exist any more, as far as the index has heard.
func (f Found) Gone() bool { return f.record != nil && !f.record.deleted.IsZero() }

// Labels are those of the pod as the watch has them.
func (f Found) Labels() map[string]string {
	if f.record == nil {
		return nil
	}
	return f.record.labels
}

// Resolution is what is known of the pod beside what the event says then.
type Resolution struct {
	// Object is the pod as JSON, nil where it is gone and was not kept.
	Object json.RawMessage
	Labels map[string]string
	// Images are the digests that it runs ("sha256:…"), sorted.
	Images []string
	// Gone says that the pod does not exist any more.
	Gone bool
}

// Resolve is [Index.Find] and [Index.Complete]. Of an event about the node itself the resolution is empty.
func (i *Index) Resolve(ctx context.Context, e *response.Event) (Resolution, error) {
	found, err := i.Find(e)
	if err != nil || e.Host {
		return Resolution{}, err
	}
	return i.Complete(ctx, e, found)
}

// Find fills in Host, Pod, Container, Recent and Window of an event, from memory. Errors are ErrUnresolved, ErrNoPod and ErrWrongNode, with
// the reason. It may be called for an event again, which is counted once.
func (i *Index) Find(e *response.Event) (Found, error) {
	id := identify(e)
	if id.host() {
		e.Host = true
		return Found{}, nil
	}
	r, how, err := i.lookup(id, e.Time, e.Sender)
	if err != nil {
		return Found{}, err
	}
	if e.Sender != "" && e.Sender != r.pod.Node {
		return Found{}, fmt.Errorf("%w: %s reports of pod %s/%s, which is on node %q", ErrWrongNode, e.Sender, r.pod.Namespace, r.pod.Name, r.pod.Node)
	}
	pod := r.pod
	pod.ResolvedBy = how
	e.Pod, e.Container = &pod, r.containerOf(id)
	window := min(max(i.options.Window(), time.Minute), maxWindow)
	e.Window = int64(window / time.Second)
	e.Recent = i.recent.count(e, window)
	return Found{r}, nil
}

// Complete fills in Owner and fetches the object. An error is that of the API server; the event may be completed again.
func (i *Index) Complete(ctx context.Context, e *response.Event, found Found) (Resolution, error) {
	r := found.record
	if r == nil {
		return Resolution{}, nil
	}
	resolution := Resolution{Labels: r.labels, Images: r.images(), Gone: found.Gone()}
	object, err := i.objects.get(ctx, r)
	if err != nil {
		return resolution, err
	}
	resolution.Object = object
	if object == nil {
		resolution.Gone = true
	}
	if r.owner == nil {
		return resolution, nil
	}
	e.Owner, err = i.owners.get(ctx, r.pod.Namespace, r.owner)
	return resolution, err
}

// identity is how an event names what it is about.
type identity struct{ uid, container, containerName, namespace, name string }

// host says that it is a process outside any container: then Falco writes "host" for its container's id and has no pod.
func (id identity) host() bool { return id.container == "host" && id.uid == "" && id.name == "" }

func (id identity) none() bool {
	return id.uid == "" && (id.container == "" || id.container == "host") && (id.namespace == "" || id.name == "")
}

// auditSource is that of Falco's k8saudit plugin, whose events say in ka.target.* what the request was about.
const auditSource = "k8s_audit"

func identify(e *response.Event) identity {
	if e.Source == auditSource {
		if resource := text(e, "ka.target.resource"); resource != "" && resource != "pods" {
			return identity{}
		}
		return identity{namespace: text(e, "ka.target.namespace"), name: first(e, "ka.target.pod.name", "ka.target.name")}
	}
	return identity{
		uid:           first(e, "k8s.pod.uid", "k8smeta.pod.uid"),
		container:     bareID(first(e, "container.full_id", "container.id")),
		containerName: text(e, "container.name"),
		namespace:     first(e, "k8s.ns.name", "k8smeta.ns.name"),
		name:          first(e, "k8s.pod.name", "k8smeta.pod.name"),
	}
}

func first(e *response.Event, fields ...string) string {
	for _, field := range fields {
		if value := text(e, field); value != "" {
			return value
		}
	}
	return ""
}

// text is a field's text, "" where Falco did not know it.
func text(e *response.Event, field string) string {
	value, ok := e.Fields[field].(string)
	if !ok || value == "<NA>" || value == "null" {
		return ""
	}
	return value
}

// lookup finds the record of a pod that was there at a time, by the word of a node; "" is that of nobody who speaks for one.
func (i *Index) lookup(id identity, at time.Time, node string) (found *record, how string, err error) {
	if id.none() {
		return nil, "", ErrNoPod
	}
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.synced.IsZero() {
		return nil, "", fmt.Errorf("%w: pods have not been listed yet", ErrUnresolved)
	}
	switch {
	case id.uid != "":
		if found = i.uids[id.uid]; found == nil {
			found = i.aliases[id.uid] // second, so that no annotation hides a pod
		}
		if found == nil {
			err = fmt.Errorf("%w: there is no pod with the UID %.64s", ErrUnresolved, id.uid)
		}
		how = byUID
	default:
		if found, err = i.byContainer(id.container, node); err != nil {
			return nil, "", err
		}
		how = byContainer
		if found == nil {
			found, err = i.byName(id, at)
			how = byName
		}
	}
	if err != nil {
		return nil, "", err
	}
	if err := i.agree(found, id); err != nil {
		return nil, "", err
	}
	return found, how, nil
}

// byContainer finds the one pod with a container whose id begins so, nil for none. Of several the one on the node counts that reports it: each kubelet
// says itself what containers its pods have.
func (i *Index) byContainer(id, node string) (*record, error) {
	if len(id) < prefixDigits {
		return nil, nil
	}
	var matches []*record
	for _, r := range i.containers[id[:prefixDigits]] {
		if r.has(id) {
			matches = append(matches, r)
		}
	}
	if near := onNode(matches, node); len(matches) > 1 && len(near) > 0 {
		matches = near
	}
	switch len(matches) {
	case 0:
		return nil, nil
	case 1:
		return matches[0], nil
	}
	return nil, fmt.Errorf("%w: %d pods have containers whose ids begin with %.64s", ErrUnresolved, len(matches), id)
}

func onNode(records []*record, node string) (near []*record) {
	for _, r := range records {
		if node != "" && r.pod.Node == node {
			near = append(near, r)
		}
	}
	return near
}

// has says whether a container of the pod has, or had, an id that begins so.
func (r *record) has(id string) bool {
	return slices.ContainsFunc(r.containers, func(c container) bool { return c.has(id) })
}

func (c *container) has(id string) bool {
	return slices.ContainsFunc(c.ids, func(own string) bool { return strings.HasPrefix(own, id) })
}

// byName finds the pod that had a name at a time.
func (i *Index) byName(id identity, at time.Time) (*record, error) {
	if id.namespace == "" || id.name == "" {
		return nil, fmt.Errorf("%w: no container's id begins with %.64s, and there is no name", ErrUnresolved, id.container)
	}
	records := i.names[types.NamespacedName{Namespace: id.namespace, Name: id.name}]
	if len(records) == 0 {
		return nil, fmt.Errorf("%w: there is no pod %.253s/%.253s", ErrUnresolved, id.namespace, id.name)
	}
	var matches []*record
	for _, r := range records {
		existed, firstSecond := r.existedAt(at)
		if firstSecond && i.mayHaveHadPredecessor(r) {
			return nil, fmt.Errorf("%w: another pod %s/%s may have lived in the second of the event", ErrUnresolved, id.namespace, id.name)
		}
		if existed {
			matches = append(matches, r)
		}
	}
	switch len(matches) {
	case 0:
		return nil, fmt.Errorf("%w: no pod had the name %s/%s when it happened (%s)", ErrUnresolved, id.namespace, id.name, at.UTC().Format(time.RFC3339))
	case 1:
		return matches[0], nil
	}
	return nil, fmt.Errorf("%w: %d pods had the name %s/%s when it happened", ErrUnresolved, len(matches), id.namespace, id.name)
}

// mayHaveHadPredecessor says whether a pod of the same name may have been there in the second in which this one was created. It was not
// if the index was watching then, and knows of none.
func (i *Index) mayHaveHadPredecessor(r *record) bool {
	if !i.synced.Before(r.pod.Created) {
		return true
	}
	name := types.NamespacedName{Namespace: r.pod.Namespace, Name: r.pod.Name}
	return slices.ContainsFunc(i.names[name], func(other *record) bool {
		return other != r && !other.deleted.IsZero() && !other.deleted.Before(r.pod.Created)
	})
}

// agree says what else the event says that is not so of the pod that was found.
func (i *Index) agree(r *record, id identity) error {
	if id.name != "" && id.name != r.pod.Name || id.namespace != "" && id.namespace != r.pod.Namespace {
		return fmt.Errorf("%w: it names pod %.253s/%.253s and another identity of %s/%s", ErrUnresolved, id.namespace, id.name, r.pod.Namespace, r.pod.Name)
	}
	if len(id.container) < prefixDigits || r.has(id.container) {
		return nil
	}
	for _, other := range i.containers[id.container[:prefixDigits]] {
		if other.has(id.container) {
			return fmt.Errorf("%w: it names pod %s/%s and a container of %s/%s", ErrUnresolved, r.pod.Namespace, r.pod.Name, other.pod.Namespace, other.pod.Name)
		}
	}
	return nil
}

// containerOf is the container that an event is about: by its id, by its name, or the only one there is.
func (r *record) containerOf(id identity) response.Container {
	named := response.Container{ID: id.container}
	if named.ID == "host" {
		named.ID = ""
	}
	for n := range r.containers {
		c := &r.containers[n]
		byID := len(id.container) >= prefixDigits && c.has(id.container)
		// dockershim's name of a container in a pod: k8s_NAME_POD_NAMESPACE_UID_ATTEMPT.
		if byID || c.name == id.containerName || strings.HasPrefix(id.containerName, "k8s_"+c.name+"_") {
			named.Name, named.Image, named.Digest = c.name, c.image, c.digest
			if byID {
				return named
			}
		}
	}
	if named.Name == "" && len(r.containers) == 1 {
		c := &r.containers[0]
		named.Name, named.Image, named.Digest = c.name, c.image, c.digest
	}
	return named
}
