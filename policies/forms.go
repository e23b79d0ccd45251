package policies

import (
	"slices"
	"sync"

	"github.com/portcullis-dev/portcullis/admission/workload"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// forms are the normal forms of one request's objects, found once for all engines that judge it.
type forms struct {
	kind        metav1.GroupVersionKind
	resource    string
	door        Door
	object, old form
}

type form struct {
	raw     []byte
	extract func() ([]workload.Workload, error)
}

// Share has engines that judge this request, or copies of it, find its normal forms once for all, which are most of what a
// pod costs. It is for whoever asks several engines, before the first is asked. pods recognises pods of known templates, as
// each engine does for itself otherwise.
func (r *Request) Share(pods *workload.Cache) {
	if r.forms != nil {
		return
	}
	asked := *r
	of := func(raw []byte) form {
		return form{raw, sync.OnceValues(func() ([]workload.Workload, error) { return extract(pods, &asked, raw) })}
	}
	r.forms = &forms{kind: r.Kind, resource: r.resource(), door: r.Door, object: of(r.Object), old: of(r.OldObject)}
}

// find gives the shared normal forms of an object; ok is false for one that is not the request's, or is judged as
// something else than was shared.
func (f *forms) find(r *Request, raw []byte) (found []workload.Workload, err error, ok bool) {
	if f == nil || f.kind != r.Kind || f.resource != r.resource() || f.door != r.Door {
		return nil, nil, false
	}
	for _, one := range []*form{&f.object, &f.old} {
		if len(raw) > 0 && len(raw) == len(one.raw) && &raw[0] == &one.raw[0] {
			found, err = one.extract()
			return found, err, true
		}
	}
	return nil, nil, false
}

// extract gives the normal forms of an object of the request's kind. Nobody may change them.
func (e *Engine) extract(r *Request, raw []byte) ([]workload.Workload, error) {
	if found, err, shared := r.forms.find(r, raw); shared {
		return found, err
	}
	return extract(&e.pods, r, raw)
}

// extract gives the normal forms of an object of the request's kind. Pods under
// other resources (a Pod in pods/eviction is none) are not workloads; at the gate
// and in audits unknown kinds are searched for pod specs.
func extract(pods *workload.Cache, r *Request, raw []byte) ([]workload.Workload, error) {
	if r.SubResource != "" && !slices.Contains(podResources, r.resource()) {
		return nil, nil
	}
	found, err := pods.Extract(r.Kind, raw)
	if err != nil || len(found) > 0 || r.Door == DoorAdmission || workload.Carries(r.Kind.Group, r.Kind.Kind) {
		return found, err
	}
	return workload.Search(raw), nil
}
