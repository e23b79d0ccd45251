package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/policies"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Cluster is what is known of the cluster beside the documents of a run.
type Cluster interface {
	// List gives the objects a read is about. partial is why some may be missing, ""
	// when these are all.
	List(ctx context.Context, read policies.Read) (objects []policies.Object, partial string)
	// Namespace gives a namespace; missing is why it is not known, "" otherwise.
	Namespace(ctx context.Context, name string) (namespace *policies.Namespace, missing string)
	// String names it for people: "the directory live/", "the cluster of ~/.kube/config".
	String() string
}

// known are the documents of a run and of a context directory, as cluster objects.
type known struct {
	objects    map[kindKey][]indexed
	namespaces map[string]*policies.Namespace
}

// kindKey is a resource whatever its version.
type kindKey struct{ group, resource string }

// indexed is an object and its place among the documents.
type indexed struct {
	number int
	policies.Object
}

// index makes documents readable as cluster objects.
func index(documents []source.Document, mapping resources, namespace string) *known {
	k := &known{objects: map[kindKey][]indexed{}, namespaces: map[string]*policies.Namespace{}}
	for i := range documents {
		object := objectOf(&documents[i], mapping, namespace)
		key := kindKey{object.Group, object.Resource}
		k.objects[key] = append(k.objects[key], indexed{i, object})
		if key == (kindKey{"", "namespaces"}) {
			k.namespaces[object.Name] = namespaceOf(object.Raw)
		}
	}
	return k
}

// objectOf is a document as a cluster object.
func objectOf(document *source.Document, mapping resources, namespace string) policies.Object {
	object := admission.ClusterObject(&document.Document, namespace)
	mapped := mapping.of(schema.FromAPIVersionAndKind(document.APIVersion, document.Kind))
	object.Resource, object.Namespace = mapped.name, ""
	if mapped.namespaced {
		object.Namespace = orElse(document.Namespace, namespace)
	}
	return object
}

// namespaceOf is what policies see of a Namespace object. The API server labels
// every namespace with its name, so a manifest is read as if it did.
func namespaceOf(raw json.RawMessage) *policies.Namespace {
	var object struct {
		Metadata struct {
			Name        string            `json:"name"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if json.Unmarshal(raw, &object) != nil {
		return nil
	}
	namespace := &policies.Namespace{Name: object.Metadata.Name, Labels: map[string]string{}, Annotations: map[string]string{}}
	for key, value := range object.Metadata.Labels {
		namespace.Labels[key] = value
	}
	for key, value := range object.Metadata.Annotations {
		namespace.Annotations[key] = value
	}
	namespace.Labels["kubernetes.io/metadata.name"] = namespace.Name
	return namespace
}

// list gives the objects of a read but the one with a number.
func (k *known) list(read policies.Read, except int) []policies.Object {
	var objects []policies.Object
	for _, object := range k.objects[kindKey{read.Group, read.Resource}] {
		if object.number != except && (read.Namespace == "" || object.Namespace == read.Namespace) {
			objects = append(objects, object.Object)
		}
	}
	return objects
}

// facts gathers what one object is judged with: the other documents of the run,
// laid over what the context says. It implements [admission.Facts].
type facts struct {
	documents *known
	judged    int // the number of the document that is judged: it is no fact about itself
	cluster   Cluster
	images    *imageFacts
}

// documentsOnly is why a read is partial without a context.
const documentsOnly = "only the documents of this run are known; pass --context DIR or --context KUBECONFIG"

// Gather implements admission.Facts.
func (f facts) Gather(ctx context.Context, needs policies.Needs) policies.Facts {
	gathered := policies.Facts{Partial: map[policies.Read]string{}}
	for _, read := range needs.Reads {
		own := f.documents.list(read, f.judged)
		partial := documentsOnly
		if f.cluster != nil {
			var others []policies.Object
			others, partial = f.cluster.List(ctx, read)
			own = overlay(own, others)
		}
		if partial != "" {
			gathered.Partial[read] = partial
		}
		gathered.Cluster = overlay(gathered.Cluster, own)
	}
	if needs.Namespace != "" {
		gathered.Namespace, gathered.NamespaceMissing = f.namespace(ctx, needs.Namespace)
	}
	gathered.Images = f.images.of(ctx, needs.Images)
	return gathered
}

func (f facts) namespace(ctx context.Context, name string) (*policies.Namespace, string) {
	if namespace := f.documents.namespaces[name]; namespace != nil {
		return namespace, ""
	}
	if f.cluster == nil {
		return nil, fmt.Sprintf("the namespace %s is not among the documents of this run; add its manifest, or pass --context DIR or --context KUBECONFIG", name)
	}
	return f.cluster.Namespace(ctx, name)
}

// overlay adds to objects those others that are not the same object.
func overlay(objects, others []policies.Object) []policies.Object {
	for _, other := range others {
		if !slices.ContainsFunc(objects, func(o policies.Object) bool { return sameObject(o, other) }) {
			objects = append(objects, other)
		}
	}
	return objects
}

// sameObject says that two manifests are of one object, whatever their version.
func sameObject(a, b policies.Object) bool {
	return a.Group == b.Group && a.Resource == b.Resource && a.Namespace == b.Namespace && a.Name == b.Name && a.Name != ""
}

// Directory is a [Cluster] made of manifests that are taken to be all there is.
type Directory struct {
	name  string
	known *known
}

// NewDirectory makes a Cluster of documents; name is where they came from and
// namespace that of objects which do not say.
func NewDirectory(name string, documents []source.Document, namespace string) *Directory {
	mapping := resources{}
	mapping.learn(documents, nil)
	return &Directory{name: name, known: index(documents, mapping, orElse(namespace, defaultNamespace))}
}

func (d *Directory) String() string { return "the directory " + d.name }

// List implements Cluster. A directory is complete.
func (d *Directory) List(_ context.Context, read policies.Read) ([]policies.Object, string) {
	return d.known.list(read, -1), ""
}

// Namespace implements Cluster.
func (d *Directory) Namespace(_ context.Context, name string) (*policies.Namespace, string) {
	if namespace := d.known.namespaces[name]; namespace != nil {
		return namespace, ""
	}
	return nil, fmt.Sprintf("there is no namespace %s in %s; add its manifest", name, d.name)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// NewFacts gives what is known of a cluster and of images as facts for a single request; either
// may be nil, then nothing is known.
func NewFacts(cluster Cluster, images admission.Facts) admission.Facts {
	return facts{documents: &known{}, judged: -1, cluster: cluster, images: &imageFacts{gatherer: images}}
}
