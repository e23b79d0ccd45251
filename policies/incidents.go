package policies

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// incidentReads are what input.incidents is made of. A policy that reads incidents reads these objects without declaring
// them, and does not see them in input.cluster.
var incidentReads = []Read{
	{Group: v1alpha1.Quarantines.Group, Resource: v1alpha1.Quarantines.Resource},
	{Group: v1alpha1.Incidents.Group, Resource: v1alpha1.Incidents.Resource},
}

func aboutIncidents(o Object) bool {
	return slices.ContainsFunc(incidentReads, func(r Read) bool { return r.Group == o.Group && r.Resource == o.Resource })
}

// incidentShape is one of input.incidents: a pod that is quarantined, or what admission shall remember of one.
type incidentShape struct {
	Name  string `json:"name"`
	Scope string `json:"scope"` // pod, digest, owner or serviceAccount
	// Effect is what is asked for; a pod's is deny.
	Effect         string               `json:"effect"`
	Phase          string               `json:"phase"` // of a pod's quarantine
	Pod            *incidentPodShape    `json:"pod,omitempty"`
	Digest         string               `json:"digest"`
	Owner          *incidentOwnerShape  `json:"owner,omitempty"`
	ServiceAccount *serviceAccountShape `json:"serviceAccount,omitempty"`
	Namespaces     []string             `json:"namespaces"`
	Reason         string               `json:"reason"`
	Policy         string               `json:"policy"`
	Severity       string               `json:"severity"`
	Quarantine     string               `json:"quarantine"`
	Expires        string               `json:"expires"`
}

type incidentPodShape struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

type incidentOwnerShape struct {
	Group     string `json:"group"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// encodeIncidents gives what is in force at a time to Rego.
func encodeIncidents(objects []Object, clock time.Time, reads *readSet) (*ast.Term, error) {
	shapes, err := incidentsOf(objects, clock)
	if err != nil {
		return nil, err
	}
	return newEncoder(reflect.TypeFor[[]incidentShape](), reads)(reflect.ValueOf(&shapes).Elem()), nil
}

// incidentsOf are those in force at a time, in the order of scopes and names.
func incidentsOf(objects []Object, clock time.Time) ([]incidentShape, error) {
	shapes := []incidentShape{}
	for _, object := range objects {
		if !aboutIncidents(object) {
			continue
		}
		shape, inForce, err := newIncidentShape(object, clock)
		if err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", object.Kind, object.Name, err)
		}
		if inForce {
			shapes = append(shapes, shape)
		}
	}
	slices.SortFunc(shapes, func(a, b incidentShape) int {
		if c := strings.Compare(a.Scope, b.Scope); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return shapes, nil
}

// knownIncidents are those that guards can decide by; false where some may be missing or cannot be read, so that Rego has to
// be asked. Without a policy that reads any there is nothing to know.
func (j *judgement) knownIncidents(p *plan) (incidents []incidentShape, known bool) {
	if p.reads.fields["incidents"] == nil {
		return nil, true
	}
	for _, read := range incidentReads {
		if _, partial := j.facts.Partial[read]; partial {
			return nil, false
		}
	}
	incidents, err := incidentsOf(j.facts.Cluster, j.clock)
	return incidents, err == nil
}

func newIncidentShape(object Object, clock time.Time) (shape incidentShape, inForce bool, err error) {
	if object.Resource == v1alpha1.Quarantines.Resource {
		var quarantine v1alpha1.Quarantine
		if err := json.Unmarshal(object.Raw, &quarantine); err != nil {
			return shape, false, err
		}
		return ofQuarantine(&quarantine), quarantine.Status.Phase.InForce() && !quarantine.Status.PodGone, nil
	}
	var incident v1alpha1.Incident
	if err := json.Unmarshal(object.Raw, &incident); err != nil {
		return shape, false, err
	}
	return ofIncident(&incident), incident.Spec.Expires.After(clock), nil
}

func ofQuarantine(q *v1alpha1.Quarantine) incidentShape {
	shape := incidentShape{
		Name: q.Name, Scope: response.ScopePod, Effect: response.EffectDeny, Phase: string(q.Status.Phase), Quarantine: q.Name,
		Pod: &incidentPodShape{q.Spec.Pod.Namespace, q.Spec.Pod.Name, q.Spec.Pod.UID},
	}
	if len(q.Spec.Triggers) > 0 {
		first := q.Spec.Triggers[0]
		shape.Reason, shape.Policy, shape.Severity = first.Message, first.Policy, first.Severity
	}
	return shape
}

func ofIncident(i *v1alpha1.Incident) incidentShape {
	spec := &i.Spec
	shape := incidentShape{
		Name: i.Name, Scope: spec.Scope, Effect: spec.Effect, Digest: spec.Digest, Namespaces: spec.Namespaces, Reason: spec.Reason,
		Policy: spec.Policy, Severity: spec.Severity, Quarantine: spec.Quarantine, Expires: moment(spec.Expires.Time),
	}
	if spec.Owner != nil {
		shape.Owner = &incidentOwnerShape{spec.Owner.Group, spec.Owner.Kind, spec.Owner.Namespace, spec.Owner.Name}
	}
	if spec.ServiceAccount != nil {
		shape.ServiceAccount = &serviceAccountShape{spec.ServiceAccount.Namespace, spec.ServiceAccount.Name}
	}
	return shape
}
