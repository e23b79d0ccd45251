package policies

import "encoding/json"

// Needs says which facts the policies that match a request can read. Whoever
// calls [Engine.Evaluate] gathers just these; what nobody reads is not fetched.
type Needs struct {
	// Namespace is the name of the namespace whose labels are read, "" for none.
	Namespace string
	// Reads are the other cluster objects that are read, without duplicates.
	Reads []Read
	// Images are what is read of the images, and all that gathering it takes.
	Images ImageNeeds
}

// Empty says that nothing need be gathered.
func (n Needs) Empty() bool {
	return n.Namespace == "" && len(n.Reads) == 0 && !n.Images.Sections.Any()
}

// Read is one kind of cluster object that a policy declares in its metadata.
type Read struct {
	Group    string
	Resource string // plural: "networkpolicies"
	// Namespace limits the read to one namespace; "" reads all of them, or a
	// cluster-scoped resource.
	Namespace string
}

// Facts are what was gathered for [Needs]. The zero value knows nothing.
type Facts struct {
	// Namespace is that of the request; nil when it is not known, or for
	// cluster-scoped requests.
	Namespace *Namespace
	// Cluster are the objects found for all reads.
	Cluster []Object
	// Partial are reads of which Cluster may lack some objects, with the reason. A
	// read that failed altogether is partial too.
	Partial map[Read]string
	// NamespaceMissing is why Namespace is nil though it was needed, "" otherwise.
	NamespaceMissing string
	// Images are what is known of images, by their canonical reference (workload.Image.Ref).
	// One that is needed and not here is not known.
	Images map[string]ImageFacts
	// Exceptions are those that the cluster grants; a bundle takes those that its exceptionsFrom allows.
	Exceptions []Exception
}

// withNewNamespace takes the namespace of a request that creates it from its object, as the API server
// does for the selectors of webhooks.
func withNewNamespace(r *Request, facts *Facts) *Facts {
	if !r.createsNamespace() || facts.Namespace != nil {
		return facts
	}
	completed := *facts
	metadata, err := readMetadata(r.Object)
	if err != nil {
		completed.NamespaceMissing = err.Error()
		return &completed
	}
	completed.Namespace = &Namespace{Name: r.namespace(), Labels: metadata.Labels, Annotations: metadata.Annotations}
	return &completed
}

// Namespace is what policies see of the request's namespace.
type Namespace struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Object is one cluster object that a policy declared to read.
type Object struct {
	Group, Version, Kind, Resource string
	Namespace, Name                string
	Raw                            json.RawMessage
}
