package workload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Extract returns the normal form of the pods and pod templates in an object, in
// the order of their paths; nil where objects of the kind carry none (see
// [Carries]). raw is the object's JSON and is not modified.
//
// The version is not looked at: apps/v1beta1 and extensions/v1beta1 carry their pods
// where apps/v1 does. An image that is no reference is a [*ReferenceError].
func Extract(kind metav1.GroupVersionKind, raw []byte) ([]Workload, error) {
	row, ok := rowOf(kind.Group, kind.Kind)
	if !ok {
		return nil, nil
	}
	if first := jsontext.Value(raw).Kind(); first != '{' {
		return nil, fmt.Errorf("reading the pods of a %s: the object is a %s: give a map with a spec", kind.Kind, kindName(first))
	}
	if err := checkSize(raw); err != nil {
		return nil, fmt.Errorf("reading the pods of a %s: %w", kind.Kind, err)
	}
	pods, err := row.find(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the pods of a %s: %w", kind.Kind, err)
	}
	workloads := make([]Workload, 0, len(pods))
	for i := range pods {
		pods[i].kind = row.kind
		workload, err := build(&pods[i])
		if err != nil {
			return nil, err
		}
		workloads = append(workloads, workload)
	}
	return workloads, nil
}

// pod is what a manifest says about one pod, wherever it says so.
type pod struct {
	kind               string
	path, metadataPath string
	template           bool
	replicas           *int64
	metadata           objectMeta
	spec               podSpec
	// containers and volumes are those of spec, or where a kind has other lists, those.
	containers []placedContainer
	volumes    []placedVolume
	// origins are the paths of what fields belong to that do not lie at path.
	origins map[string]string
	// syntax is that of expressions the kind's controller resolves.
	syntax syntax
	// images is true when the kind's controller fills in images that are not given.
	images bool
	// lenient makes what cannot be read Unresolved instead of an error.
	lenient    bool
	unresolved []Unresolved
	// secrets are references in fields that only this kind has.
	secrets []SecretRef
}

// placedContainer is a container and its path: parent.field[index], or
// parent.field for a negative index.
type placedContainer struct {
	role          Role
	parent, field string
	number        int
	*container
}

// placedVolume is a volume and its path, parent.field[number].
type placedVolume struct {
	parent, field string
	number        int
	*volume
}

// at is the path of what a field of the pod spec belongs to.
func (p *pod) at(field string) string {
	if path, ok := p.origins[field]; ok {
		return path
	}
	return p.path
}

// place fills the containers and volumes of an ordinary pod spec.
func (p *pod) place() {
	s := &p.spec
	p.containers = make([]placedContainer, 0, len(s.InitContainers)+len(s.Containers)+len(s.EphemeralContainers))
	for i := range s.InitContainers {
		role := RoleInit
		if s.InitContainers[i].RestartPolicy == "Always" {
			role = RoleSidecar
		}
		p.containers = append(p.containers, placedContainer{role, p.path, "initContainers", i, &s.InitContainers[i]})
	}
	for i := range s.Containers {
		p.containers = append(p.containers, placedContainer{RoleApp, p.path, "containers", i, &s.Containers[i]})
	}
	for i := range s.EphemeralContainers {
		p.containers = append(p.containers, placedContainer{RoleEphemeral, p.path, "ephemeralContainers", i, &s.EphemeralContainers[i]})
	}
	p.volumes = make([]placedVolume, 0, len(s.Volumes))
	for i := range s.Volumes {
		p.volumes = append(p.volumes, placedVolume{p.path, "volumes", i, &s.Volumes[i]})
	}
}

// builder writes one normal form.
type builder struct {
	*pod
	paths paths
	out   Workload
	// injected is the name of the generated token volume, "" for none.
	injected string
}

// build writes the normal form of a pod.
func build(p *pod) (Workload, error) {
	b := builder{pod: p}
	b.paths.text.Grow(pathBytes(p))
	b.general()
	b.security()
	b.scheduling()
	if err := b.volumesAndTheirSecrets(); err != nil {
		return Workload{}, err
	}
	if err := b.podResources(); err != nil {
		return Workload{}, err
	}
	b.out.Containers = make([]Container, len(p.containers))
	b.out.Images = slices.Grow(b.out.Images, len(p.containers))
	for i := range p.containers {
		if err := b.container(&p.containers[i], &b.out.Containers[i]); err != nil {
			return Workload{}, err
		}
	}
	b.imagePullSecrets()
	b.out.SecretRefs = append(b.out.SecretRefs, b.secrets...)
	b.finish()
	return b.out, nil
}

// pathBytes estimates the length of all paths of a pod.
func pathBytes(p *pod) int {
	n := 4 + len(p.volumes)*2
	for i := range p.containers {
		c := p.containers[i].container
		n += 6 + len(c.Env) + len(c.EnvFrom) + len(c.Ports) + len(c.VolumeMounts)
	}
	return n * (len(p.path) + 40)
}

// general is everything that needs no thought but a default.
func (b *builder) general() {
	s := &b.spec
	b.out = Workload{
		Platform: "kubernetes", Kind: b.kind, Path: b.path, MetadataPath: b.metadataPath,
		Template: b.template, OS: s.OS.Name, Replicas: b.replicas,
		Labels: sorted(b.metadata.Labels), Annotations: sorted(b.metadata.Annotations),
		HostNetwork: s.HostNetwork, HostPID: s.HostPID, HostIPC: s.HostIPC,
		HostUsers: s.HostUsers == nil || *s.HostUsers, ShareProcessNamespace: s.ShareProcessNamespace,
		Hostname: s.Hostname, NodeName: s.NodeName, RuntimeClass: s.RuntimeClassName,
		SchedulerName:                 or(s.SchedulerName, "default-scheduler"),
		RestartPolicy:                 or(s.RestartPolicy, "Always"),
		DNSPolicy:                     or(s.DNSPolicy, "ClusterFirst"),
		PriorityClass:                 s.PriorityClassName,
		Priority:                      priority(s),
		ServiceAccount:                or(or(s.ServiceAccountName, s.DeprecatedServiceAccount), "default"),
		AutomountServiceAccountToken:  s.AutomountServiceAccountToken,
		TerminationGracePeriodSeconds: gracePeriod(s.TerminationGracePeriodSeconds),
		ActiveDeadlineSeconds:         s.ActiveDeadlineSeconds,
		AppArmorAnnotations:           []AppArmorAnnotation{},
		Unresolved:                    b.unresolved,
	}
	if b.out.Unresolved == nil {
		b.out.Unresolved = []Unresolved{}
	}
	_, mirror := b.metadata.Annotations.get("kubernetes.io/config.mirror")
	b.out.Mirror = mirror && !b.template
}

// priority is the number that admission computes from the class: what is computed
// is left out, since a manifest in CI does not have it, except where the class is
// known everywhere.
func priority(s *podSpec) *int64 {
	known := func(n int64) *int64 { return &n }
	switch {
	case s.PriorityClassName == "system-cluster-critical":
		return known(2_000_000_000)
	case s.PriorityClassName == "system-node-critical":
		return known(2_000_001_000)
	case s.PriorityClassName != "", s.Priority != nil && *s.Priority == 0:
		return nil
	}
	return s.Priority
}

// gracePeriod is defaulted to 30; the API server takes a negative one for 1.
func gracePeriod(seconds *int64) int64 {
	switch {
	case seconds == nil:
		return 30
	case *seconds < 0:
		return 1
	}
	return *seconds
}

// scheduling is where the pod may run, and what it claims there.
func (b *builder) scheduling() {
	s := &b.spec
	b.out.NodeSelector = sorted(s.NodeSelector)
	b.out.Tolerations = make([]Toleration, 0, len(s.Tolerations))
	for i, t := range s.Tolerations {
		if t.isDefault() {
			continue
		}
		b.out.Tolerations = append(b.out.Tolerations, Toleration{t.Key, or(t.Operator, "Equal"), t.Value, t.Effect,
			b.paths.index(b.at("tolerations"), "tolerations", i)})
	}
	b.out.HostAliases = make([]HostAlias, 0, len(s.HostAliases))
	for i, alias := range s.HostAliases {
		b.out.HostAliases = append(b.out.HostAliases, HostAlias{alias.IP, list(alias.Hostnames),
			b.paths.index(b.at("hostAliases"), "hostAliases", i)})
	}
	b.out.ResourceClaims = make([]ResourceClaim, 0, len(s.ResourceClaims))
	for i, c := range s.ResourceClaims {
		b.out.ResourceClaims = append(b.out.ResourceClaims, ResourceClaim{c.Name,
			or(c.Claim, c.Source.Claim), or(c.Template, c.Source.Template),
			b.paths.index(b.at("resourceClaims"), "resourceClaims", i)})
	}
	b.out.ReadinessGate = make([]string, 0, len(s.ReadinessGates))
	for _, gate := range s.ReadinessGates {
		b.out.ReadinessGate = append(b.out.ReadinessGate, gate.ConditionType)
	}
	b.out.TopologyKeys = topologyKeys(s)
}

// isDefault recognises the two tolerations that the API server's
// DefaultTolerationSeconds adds to every pod.
func (t *toleration) isDefault() bool {
	return (t.Key == "node.kubernetes.io/not-ready" || t.Key == "node.kubernetes.io/unreachable") &&
		t.Operator == "Exists" && t.Value == "" && t.Effect == "NoExecute" && t.Seconds != nil && *t.Seconds == 300
}

func topologyKeys(s *podSpec) []string {
	anti := &s.Affinity.PodAntiAffinity
	keys := make([]string, 0, len(s.TopologySpreadConstraints)+len(anti.Required)+len(anti.Preferred))
	for _, c := range s.TopologySpreadConstraints {
		keys = append(keys, c.TopologyKey)
	}
	for _, term := range anti.Required {
		keys = append(keys, term.TopologyKey)
	}
	for _, preferred := range anti.Preferred {
		keys = append(keys, preferred.Term.TopologyKey)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// imagePullSecrets come last among the secret references, after volumes and containers.
func (b *builder) imagePullSecrets() {
	for i, secret := range b.spec.ImagePullSecrets {
		if secret.Name != "" {
			b.out.SecretRefs = append(b.out.SecretRefs, SecretRef{Name: secret.Name, Via: "imagePullSecret",
				Path: b.paths.index(b.at("imagePullSecrets"), "imagePullSecrets", i)})
		}
	}
}

// finish makes empty lists of those that nothing was added to.
func (b *builder) finish() {
	if b.out.SecretRefs == nil {
		b.out.SecretRefs = []SecretRef{}
	}
	if b.out.Images == nil {
		b.out.Images = []Image{}
	}
}

// or is the default of a string.
func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// list makes an empty list of none.
func list(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}

// sorted sorts pairs by key, and makes an empty list of none.
func sorted(p pairs) []KeyValue {
	if p == nil {
		return []KeyValue{}
	}
	slices.SortFunc(p, func(a, b KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return p
}
