package journal

import (
	"container/list"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

// besides is what recording a decision brings along.
type besides struct {
	facts []fact
	// values are all that were replaced, to be replaced in what policies say, too.
	values []string
}

// digestOf names a content.
func digestOf(content []byte) string { return sum(sha256.Sum256(content)).String() }

func factOf(content []byte) fact {
	s := sum(sha256.Sum256(content))
	return fact{sum: s, digest: s.String(), content: content}
}

// object is one cluster object as a fact.
type object struct {
	Group     string         `json:"group,omitempty"`
	Version   string         `json:"version"`
	Kind      string         `json:"kind"`
	Resource  string         `json:"resource"`
	Namespace string         `json:"namespace,omitempty"`
	Name      string         `json:"name"`
	Object    jsontext.Value `json:"object"`
}

// image is what is known of one image as a fact.
type image struct {
	Resolved    string                 `json:"resolved"`
	Configs     []policies.ImageConfig `json:"configs,omitempty"`
	Evidence    signer.Evidence        `json:"evidence"`
	Scan        scanner.Report         `json:"scan"`
	Replacement bool                   `json:"replacement,omitempty"`
	Unknown     policies.ImageUnknown  `json:"unknown"`
}

// factEncoder makes facts of what was gathered. The informers of a webhook hand out the same objects again and again,
// so it remembers those that it has encoded.
type factEncoder struct {
	redactor *redactor
	objects  *remembered[objectKey, objectFact]
}

// objectKey is the object that an informer holds: its bytes are never changed, and the memory is kept by the value that
// is remembered, so that no other object can come to lie there.
type objectKey struct {
	data   *byte
	length int
}

type objectFact struct {
	held     policies.Object
	fact     fact
	redacted []string
	values   []string // that were replaced
}

// maxRememberedObjects is what a policy about the network policies of a large cluster reads.
const maxRememberedObjects = 20_000

func newFactEncoder(r *redactor) *factEncoder {
	return &factEncoder{redactor: r, objects: newRemembered[objectKey, objectFact](maxRememberedObjects)}
}

// judge takes in what one judge was given.
func (e *encoder) judge(part *admission.Part, b *besides) (Judge, error) {
	judge := Judge{Bundle: part.Ready.Bundle, Revision: part.Ready.Revision, Digest: part.Ready.Digest, Candidate: part.Candidate}
	needs, gathered := &part.Needs, &part.Facts
	var err error
	if needs.Namespace != "" {
		judge.Facts.Namespace, err = namespaceFact(needs.Namespace, gathered, b)
	}
	for _, read := range needs.Reads {
		if err != nil {
			return judge, err
		}
		var found ReadFact
		found, err = e.facts.read(read, gathered, b)
		judge.Facts.Reads = append(judge.Facts.Reads, found)
	}
	if err == nil && needs.Images.Sections.Any() {
		judge.Facts.Images, err = imageFacts(&needs.Images, gathered, b)
	}
	if err == nil && len(gathered.Exceptions) > 0 {
		judge.Facts.Exceptions, err = put(gathered.Exceptions, b)
	}
	return judge, err
}

// put encodes a value as a fact and returns its digest.
func put(value any, b *besides) (string, error) {
	content, err := json.Marshal(value, encoding)
	if err != nil {
		return "", err
	}
	made := factOf(content)
	b.facts = append(b.facts, made)
	return made.digest, nil
}

func namespaceFact(name string, gathered *policies.Facts, b *besides) (*NamespaceFact, error) {
	found := &NamespaceFact{Name: name, Missing: gathered.NamespaceMissing}
	if gathered.Namespace == nil {
		return found, nil
	}
	var err error
	found.Digest, err = put(gathered.Namespace, b)
	return found, err
}

// read takes in the objects of one read, in the order in which they were gathered.
func (f *factEncoder) read(read policies.Read, gathered *policies.Facts, b *besides) (ReadFact, error) {
	found := ReadFact{Group: read.Group, Resource: read.Resource, Namespace: read.Namespace, Partial: gathered.Partial[read]}
	var digests []string
	for n := range gathered.Cluster {
		one := &gathered.Cluster[n]
		if one.Group != read.Group || one.Resource != read.Resource || read.Namespace != "" && one.Namespace != read.Namespace {
			continue
		}
		held, err := f.object(one)
		if err != nil {
			return found, err
		}
		digests = append(digests, held.fact.digest)
		b.facts = append(b.facts, held.fact)
		b.values = append(b.values, held.values...)
		for _, path := range held.redacted {
			if !slices.Contains(found.Redacted, path) {
				found.Redacted = append(found.Redacted, path)
			}
		}
	}
	if len(digests) == 0 {
		return found, nil
	}
	slices.Sort(found.Redacted)
	var err error
	found.Objects, err = put(digests, b)
	return found, err
}

func (f *factEncoder) object(o *policies.Object) (objectFact, error) {
	key := objectKey{unsafe.SliceData(o.Raw), len(o.Raw)}
	if known, ok := f.objects.get(key); ok && sameObject(&known.held, o) {
		return known, nil
	}
	redacted := f.redactor.object(o.Raw, o.Group == "" && o.Kind == "Secret")
	written, err := json.Marshal(object{
		Group: o.Group, Version: o.Version, Kind: o.Kind, Resource: o.Resource, Namespace: o.Namespace, Name: o.Name,
		Object: jsontext.Value(redacted.Object),
	}, encoding)
	if err != nil {
		return objectFact{}, fmt.Errorf("encoding %s %s: %w", o.Resource, o.Name, err)
	}
	made := objectFact{held: *o, fact: factOf(written), values: redacted.Values}
	for _, path := range redacted.Paths {
		made.redacted = append(made.redacted, below("cluster.[].object", anyItem(path)))
	}
	remembered := made
	remembered.fact.shared = true
	f.objects.add(key, remembered)
	return made, nil
}

// anyItem drops the numbers of items, so that the paths of many objects are few.
func anyItem(path string) string {
	var out []byte
	for i := 0; i < len(path); i++ {
		out = append(out, path[i])
		if path[i] != '[' {
			continue
		}
		end := i + 1
		for end < len(path) && path[end] >= '0' && path[end] <= '9' {
			end++
		}
		if end < len(path) && path[end] == ']' {
			i = end - 1
		}
	}
	return string(out)
}

func sameObject(a, b *policies.Object) bool {
	return a.Group == b.Group && a.Version == b.Version && a.Kind == b.Kind && a.Resource == b.Resource && a.Namespace == b.Namespace && a.Name == b.Name
}

func imageFacts(needs *policies.ImageNeeds, gathered *policies.Facts, b *besides) (*ImageFacts, error) {
	found := &ImageFacts{Sections: sectionNames(needs.Sections), Images: map[string]string{}}
	if needs.Trust != nil {
		found.Trust = needs.Trust.Hash()
	}
	if needs.Exemptions != nil {
		found.Exemptions = needs.Exemptions.Hash()
	}
	for _, one := range needs.Images {
		known, ok := gathered.Images[one.Ref]
		if !ok {
			continue
		}
		digest, err := put(image(known), b)
		if err != nil {
			return nil, fmt.Errorf("encoding what is known of image %s: %w", one.Ref, err)
		}
		found.Images[one.Ref] = digest
	}
	return found, nil
}

// sectionNames are the names of the sections that are read.
func sectionNames(s policies.ImageSections) []string {
	var names []string
	for _, section := range []struct {
		read bool
		name string
	}{{s.Resolved, "resolved"}, {s.Configs, "configs"}, {s.Evidence, "evidence"}, {s.Scan, "scan"}, {s.Replacement, "replacement"}} {
		if section.read {
			names = append(names, section.name)
		}
	}
	return names
}

// remembered is a map that forgets what was not asked for the longest.
type remembered[K comparable, V any] struct {
	most int

	mu    sync.Mutex
	order *list.List // of pair[K, V], the latest in front
	items map[K]*list.Element
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

func newRemembered[K comparable, V any](most int) *remembered[K, V] {
	return &remembered[K, V]{most: most, order: list.New(), items: map[K]*list.Element{}}
}

func (r *remembered[K, V]) get(key K) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	element, ok := r.items[key]
	if !ok {
		return value, false
	}
	r.order.MoveToFront(element)
	return element.Value.(pair[K, V]).value, true
}

func (r *remembered[K, V]) add(key K, value V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if element, ok := r.items[key]; ok {
		element.Value = pair[K, V]{key, value}
		r.order.MoveToFront(element)
		return
	}
	r.items[key] = r.order.PushFront(pair[K, V]{key, value})
	if len(r.items) > r.most {
		last := r.order.Back()
		r.order.Remove(last)
		delete(r.items, last.Value.(pair[K, V]).key)
	}
}
