// Package defaultdeny proposes NetworkPolicies that deny by default to namespaces that have none, and says which workloads
// they would cut off.
//
// A [Survey] is given the objects of a cluster one by one; [Survey.Proposals] is pure. What a workload would lose is computed
// by package isolation, from its network policies before and after; what it seems to need is read off Services, which
// somebody calls, and Ingresses. Nobody has watched the traffic: what no Service stands for is not known to be needed.
package defaultdeny

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/proposals/ownership"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

const (
	// maxGroups bounds the workloads that are told apart, as in package capacity.
	maxGroups = 50_000
	// maxObjects bounds the policies, Services and Ingresses that are kept: those of 5,000 namespaces with ten each.
	maxObjects = 50_000
)

// Survey gathers what proposals are made of. See [NewSurvey]. It is for one goroutine.
type Survey struct {
	namespaces map[string]isolation.Namespace
	policies   map[string][]networkPolicy
	// wide are policies for the cluster as a whole, and those of providers.
	wide      []isolation.Object
	groups    map[groupKey]*group
	services  map[string][]service
	ingresses map[string][]ingress
	objects   int
	// beyond and unread count what had no room and what could not be read.
	beyond, unread int
}

type groupKey struct {
	namespace string
	ownership.Workload
	labels string
}

// group are the pods of one workload with the same labels, but for those that tell one rollout or one pod from the next: no network
// policy that people write tells them apart. pod is one of them.
type group struct {
	groupKey
	pod  isolation.Pod
	pods int
}

type networkPolicy struct {
	raw        isolation.Object
	name       string
	everyPod   bool
	directions []string
}

type service struct {
	name     string
	selector map[string]string
	ports    []servicePort
}

type servicePort struct {
	Port       int32           `json:"port"`
	Protocol   string          `json:"protocol"`
	TargetPort json.RawMessage `json:"targetPort"`
}

type ingress struct {
	name     string
	services []string
}

// NewSurvey makes an empty one.
func NewSurvey() *Survey {
	return &Survey{
		namespaces: map[string]isolation.Namespace{}, policies: map[string][]networkPolicy{}, groups: map[groupKey]*group{},
		services: map[string][]service{}, ingresses: map[string][]ingress{},
	}
}

// Wants says whether Add does anything with objects of a kind.
func Wants(group, kind string) bool {
	switch group {
	case "":
		return kind == "Pod" || kind == "Namespace" || kind == "Service"
	case "networking.k8s.io":
		return kind == "NetworkPolicy" || kind == "Ingress"
	}
	return wide(group, kind)
}

// wide says that a kind is a network policy other than Kubernetes' own.
func wide(group, kind string) bool {
	if group == "networking.k8s.io" || !strings.Contains(kind, "NetworkPolicy") {
		return false
	}
	for _, resource := range isolation.Resources() {
		if resource.Group == group {
			return true
		}
	}
	return false
}

// Add takes an object; those of other kinds are ignored. What cannot be read is counted, and said in the notes.
func (s *Survey) Add(group, kind, namespace string, raw json.RawMessage) {
	var err error
	switch {
	case group == "" && kind == "Pod":
		err = s.pod(namespace, raw)
	case group == "" && kind == "Namespace":
		var read isolation.Namespace
		if read, err = isolation.NamespaceOf(raw); err == nil {
			s.namespaces[read.Name] = read
		}
	case s.objects >= maxObjects && Wants(group, kind):
		s.beyond++
	case group == "" && kind == "Service":
		err = s.service(namespace, raw)
	case group == "networking.k8s.io" && kind == "Ingress":
		err = s.ingress(namespace, raw)
	case group == "networking.k8s.io" && kind == "NetworkPolicy":
		err = s.policy(namespace, raw)
	case wide(group, kind):
		s.objects++
		s.wide = append(s.wide, slices.Clone(raw))
	}
	if err != nil {
		s.unread++
	}
}

func (s *Survey) pod(namespace string, raw json.RawMessage) error {
	var phase struct {
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
	if err := json.Unmarshal(raw, &phase); err != nil {
		return fmt.Errorf("reading a pod: %w", err)
	}
	if phase.Status.Phase == "Succeeded" || phase.Status.Phase == "Failed" {
		return nil
	}
	pod, err := isolation.PodOf(raw)
	if err != nil {
		return err
	}
	object, err := ownership.Of(raw, "Pod")
	if err != nil {
		return err
	}
	pod.Namespace = namespace
	key := groupKey{namespace, object.Root(), labelsKey(stable(pod.Labels))}
	known := s.groups[key]
	if known == nil {
		if len(s.groups) >= maxGroups {
			s.beyond++
			return nil
		}
		known = &group{groupKey: key, pod: pod}
		s.groups[key] = known
	}
	known.pods++
	return nil
}

func labelsKey(labels map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, "%q=%q,", key, labels[key])
	}
	return b.String()
}

func (s *Survey) policy(namespace string, raw json.RawMessage) error {
	var read struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			PodSelector struct {
				MatchLabels      map[string]string `json:"matchLabels"`
				MatchExpressions []any             `json:"matchExpressions"`
			} `json:"podSelector"`
			PolicyTypes []string          `json:"policyTypes"`
			Egress      []json.RawMessage `json:"egress"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &read); err != nil {
		return fmt.Errorf("reading a NetworkPolicy: %w", err)
	}
	directions := read.Spec.PolicyTypes
	if len(directions) == 0 { // the API server's default
		directions = []string{Ingress}
		if len(read.Spec.Egress) > 0 {
			directions = append(directions, Egress)
		}
	}
	s.objects++
	s.policies[namespace] = append(s.policies[namespace], networkPolicy{
		raw: inNamespace(raw, namespace), name: read.Metadata.Name, directions: directions,
		everyPod: len(read.Spec.PodSelector.MatchLabels) == 0 && len(read.Spec.PodSelector.MatchExpressions) == 0,
	})
	return nil
}

// inNamespace is a copy of a NetworkPolicy that says where it is, and what: items of lists and manifests may not.
func inNamespace(raw json.RawMessage, namespace string) isolation.Object {
	var object map[string]any
	if json.Unmarshal(raw, &object) != nil {
		return slices.Clone(raw)
	}
	metadata, _ := object["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["namespace"] = namespace
	object["metadata"], object["apiVersion"], object["kind"] = metadata, "networking.k8s.io/v1", "NetworkPolicy"
	out, err := json.Marshal(object)
	if err != nil {
		return slices.Clone(raw)
	}
	return out
}

func (s *Survey) service(namespace string, raw json.RawMessage) error {
	var read struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			Selector map[string]string `json:"selector"`
			Ports    []servicePort     `json:"ports"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &read); err != nil {
		return fmt.Errorf("reading a Service: %w", err)
	}
	if len(read.Spec.Selector) > 0 {
		s.objects++
		s.services[namespace] = append(s.services[namespace], service{read.Metadata.Name, read.Spec.Selector, read.Spec.Ports})
	}
	return nil
}

func (s *Survey) ingress(namespace string, raw json.RawMessage) error {
	type backend struct {
		Service struct {
			Name string `json:"name"`
		} `json:"service"`
	}
	var read struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			DefaultBackend backend `json:"defaultBackend"`
			Rules          []struct {
				HTTP struct {
					Paths []struct {
						Backend backend `json:"backend"`
					} `json:"paths"`
				} `json:"http"`
			} `json:"rules"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &read); err != nil {
		return fmt.Errorf("reading an Ingress: %w", err)
	}
	found := ingress{name: read.Metadata.Name}
	add := func(b backend) {
		if b.Service.Name != "" && !slices.Contains(found.services, b.Service.Name) {
			found.services = append(found.services, b.Service.Name)
		}
	}
	add(read.Spec.DefaultBackend)
	for _, rule := range read.Spec.Rules {
		for _, path := range rule.HTTP.Paths {
			add(path.Backend)
		}
	}
	s.objects++
	s.ingresses[namespace] = append(s.ingresses[namespace], found)
	return nil
}

// groupsOf are the groups of a namespace, sorted.
func (s *Survey) groupsOf(namespace string) []*group {
	var all []*group
	for _, g := range s.groups {
		if g.namespace == namespace {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.labels, b.labels))
	})
	return all
}
