package configuration

import (
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// entry is one webhook of a configuration.
type entry struct {
	name          string
	rules         []admissionregistrationv1.RuleWithOperations
	namespaces    *metav1.LabelSelector
	conditions    []admissionregistrationv1.MatchCondition
	failurePolicy admissionregistrationv1.FailurePolicyType
	recovers      bool
}

// Recovery says what must be able to start while the webhook is down, so that it can
// come back.
type Recovery struct {
	// Namespace is where the webhook itself runs, that of the service by default. ""
	// where it runs outside the cluster.
	Namespace string
	// NodeNamespaces hold the DaemonSets without which a new node is not ready, and so
	// cannot run the webhook: network plugin and service proxy. Only their pods of priority
	// class system-node-critical are meant.
	NodeNamespaces []string
}

// DefaultNodeNamespaces is where Kubernetes itself keeps its DaemonSets.
var DefaultNodeNamespaces = []string{"kube-system"}

// condition is a match condition by what it lets pass: requests for which the
// expression is true.
type condition struct{ name, expression string }

func (c condition) is() admissionregistrationv1.MatchCondition {
	return admissionregistrationv1.MatchCondition{Name: c.name, Expression: c.expression}
}

func (c condition) isNot() admissionregistrationv1.MatchCondition {
	return admissionregistrationv1.MatchCondition{Name: "not-" + c.name, Expression: "!(" + c.expression + ")"}
}

// The identities of the control plane. A controller manager without
// --use-service-account-credentials does everything as system:kube-controller-manager.
const (
	controllerManager = "system:kube-controller-manager"
	scheduler         = "system:kube-scheduler"
	controllers       = "system:serviceaccount:kube-system:"
)

// noSubresource holds for the resource itself: the API server leaves an empty field out.
const noSubresource = "(!has(request.subResource) || request.subResource == '')"

// Exemptions are requests that reach no entry:
//
//   - the API server's own, by which it reconciles roles, priority levels and API
//     services before it is ready. It must not need a webhook that needs it;
//   - the garbage collector's (that of pods, too) and the namespace controller's, where
//     they delete, or take the last finalizers off what is being deleted, changing nothing
//     else. But the garbage collector is asked about quarantined pods: whoever deletes
//     the owner of one would have it do away with the evidence;
//   - a node's, where it removes a pod whose deletion somebody else has begun: that is
//     what was judged, and its containers have stopped;
//   - a node's mirror pods: static pods run whether the API server shows them or not,
//     so a denial would only hide them. The audit judges them;
//   - a BreakGlass: it is for when no webhook answers, and the API server's own rules and
//     roles say who may open one.
var Exemptions = []string{apiServer.name, finishesDeletion.name, nodeFinishesDeletion.name, mirrorPod.name, breakGlass.name}

var apiServer = condition{"api-server",
	"request.userInfo.username == 'system:apiserver' && 'system:masters' in request.userInfo.groups"}

var finishesDeletion = condition{"finishes-deletion",
	"request.userInfo.username in " + list(controllers+"generic-garbage-collector", controllers+"pod-garbage-collector", controllers+"namespace-controller", controllerManager) +
		" && (request.operation == 'DELETE' && !(request.userInfo.username == '" + controllers + "generic-garbage-collector'" +
		" && request.resource.group == '' && request.resource.resource == 'pods' && has(oldObject.metadata.labels) && '" + v1alpha1.QuarantineLabel + "' in oldObject.metadata.labels)" +
		" || request.operation == 'UPDATE' && has(oldObject.metadata.deletionTimestamp)" +
		" && (has(object.metadata.labels) ? object.metadata.labels : {}) == (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {})" +
		" && (request.resource.group == '' && request.resource.resource == 'namespaces'" +
		" || (has(object.spec) ? object.spec : {}) == (has(oldObject.spec) ? oldObject.spec : {})))"}

// byNode holds for requests of kubelets.
const byNode = "request.userInfo.username.startsWith('system:node:') && 'system:nodes' in request.userInfo.groups"

var nodeFinishesDeletion = condition{"node-finishes-deletion",
	byNode + " && request.resource.group == '' && request.resource.resource == 'pods' && " + noSubresource +
		" && request.operation == 'DELETE' && has(oldObject.metadata.deletionTimestamp)"}

var mirrorPod = condition{"mirror-pod",
	byNode + " && request.resource.group == '' && request.resource.resource == 'pods' && " + noSubresource +
		" && (request.operation == 'CREATE' && has(object.metadata.annotations) && 'kubernetes.io/config.mirror' in object.metadata.annotations" +
		" || request.operation == 'DELETE' && has(oldObject.metadata.annotations) && 'kubernetes.io/config.mirror' in oldObject.metadata.annotations)"}

var breakGlass = condition{"break-glass",
	"request.resource.group == 'policy.portcullis.dev' && request.resource.resource == 'breakglasses'"}

var breakGlasses = resource{"policy.portcullis.dev", "breakglasses"}

// heartbeats are the writes that make up most of a cluster's traffic. Only a rule
// with a wildcard could match them.
var heartbeats = condition{"heartbeat",
	"request.resource.resource == 'leases' && request.resource.group == 'coordination.k8s.io'" +
		" || request.resource.resource == 'events' && request.resource.group in ['', 'events.k8s.io']" +
		" || request.resource.resource == 'nodes' && request.resource.group == '' && has(request.subResource) && request.subResource == 'status'"}

// recoveryResources are what the recovery conditions speak of.
var recoveryResources = []resource{
	{"", "nodes"}, {"", "nodes/status"}, {"", "pods"}, {"", "pods/binding"}, {"", "pods/status"}, {"", "bindings"},
	{"", "serviceaccounts/token"}, {"", "secrets"}, {"", "configmaps"}, {"", "endpoints"}, {"apps", "replicasets"}, {"apps", "replicasets/status"}, {"discovery.k8s.io", "endpointslices"},
	{"", "pods/eviction"}, {"apps", "deployments"}, {"apps", "statefulsets"}, {"batch", "cronjobs"}, {"batch", "jobs"},
	{"networking.k8s.io", "networkpolicies"}, {"policy.networking.k8s.io", "adminnetworkpolicies"}, {"policy.networking.k8s.io", "clusternetworkpolicies"},
	{"cilium.io", "ciliumclusterwidenetworkpolicies"}, {"crd.projectcalico.org", "globalnetworkpolicies"}, {"projectcalico.org", "globalnetworkpolicies"},
	{runtimeGroup, "incidents"}, {runtimeGroup, "quarantineevidences"}, {runtimeGroup, "quarantines"}, {runtimeGroup, "quarantines/status"},
}

// runtimeGroup is that of quarantines; responder is the account that makes them.
const (
	runtimeGroup = "runtime.portcullis.dev"
	responder    = "portcullis-responder"
	controller   = "portcullis-controller"
)

// ownCertificates holds for what the controller writes so that the webhook can serve: whoever has a policy about Secrets must be
// able to renew the certificate that nobody can be asked with any more.
func ownCertificates(namespace string) condition {
	return condition{"own-certificates", fmt.Sprintf("has(request.namespace) && request.namespace == %s && request.userInfo.username == %s"+
		" && request.resource.group == '' && request.resource.resource == 'secrets' && %s"+
		" && (has(request.name) && request.name in %[4]s || has(object.metadata.name) && object.metadata.name in %[4]s)",
		quote(namespace), quote("system:serviceaccount:"+namespace+":"+controller), noSubresource, list("portcullis-webhook-ca", "portcullis-webhook-tls"))}
}

// containment holds for what the responder does to contain a pod: whoever stops the webhook must not stop that, too. It changes no
// specification of a pod or template, and deletes nothing but pods.
func containment(namespace string) condition {
	same := func(field string) string {
		return fmt.Sprintf("(has(object.spec.%[1]s) ? object.spec.%[1]s : {}) == (has(oldObject.spec.%[1]s) ? oldObject.spec.%[1]s : {})", field)
	}
	changes := " && request.operation in ['CREATE', 'UPDATE']"
	return condition{"containment", "request.userInfo.username == " + quote("system:serviceaccount:"+namespace+":"+responder) +
		" && (request.resource.group == '' && request.resource.resource == 'pods' && (request.operation == 'DELETE'" +
		" || request.operation == 'CREATE' && has(request.subResource) && request.subResource == 'eviction'" +
		" || request.operation == 'UPDATE' && " + noSubresource + " && object.spec == oldObject.spec)" +
		" || request.resource.group == '' && request.resource.resource == 'nodes' && request.operation == 'UPDATE'" +
		" || request.resource.group in ['apps', 'batch'] && request.operation == 'UPDATE' && " + noSubresource + " && " + same("template") + " && " + same("jobTemplate") +
		" || request.resource.group in " + list(runtimeGroup, "networking.k8s.io", "policy.networking.k8s.io", "cilium.io", "crd.projectcalico.org", "projectcalico.org") + changes + ")"}
}

// conditions are the requests that recovery needs, each by who sends it and on what:
//
//   - the webhook's own pods, replica sets and endpoints, by the controllers that
//     derive them from the Deployment and the Service, which are judged, or that move
//     pods off lost nodes; and the ConfigMap by which its pods trust the API server;
//   - pods of node-critical DaemonSets, by the DaemonSet controller;
//   - the Secrets with the webhook's certificates, by the controller;
//   - what a node does to run both: its own Node, their status, their tokens;
//   - what the responder does to contain a pod.
func (r Recovery) conditions() []condition {
	var conditions []condition
	if r.Namespace != "" {
		conditions = append(conditions, condition{"own-workload",
			fmt.Sprintf("has(request.namespace) && request.namespace == %s && request.userInfo.username in %s && request.resource.resource in %s",
				quote(r.Namespace),
				list(controllers+"deployment-controller", controllers+"replicaset-controller", controllers+"endpoint-controller",
					controllers+"endpointslice-controller", controllers+"node-controller", controllers+"root-ca-cert-publisher",
					controllerManager, scheduler),
				list("pods", "bindings", "configmaps", "replicasets", "endpoints", "endpointslices"))},
			containment(r.Namespace), ownCertificates(r.Namespace))
	}
	if len(r.NodeNamespaces) > 0 {
		conditions = append(conditions, condition{"node-critical-pod",
			fmt.Sprintf("has(request.namespace) && request.namespace in %s && request.userInfo.username in %s"+
				" && request.resource.group == '' && request.resource.resource == 'pods' && request.operation == 'CREATE' && %s"+
				" && has(object.spec.priorityClassName) && object.spec.priorityClassName == 'system-node-critical'",
				list(r.NodeNamespaces...), list(controllers+"daemon-set-controller", controllerManager), noSubresource)})
	}
	namespaces := slices.Clone(r.NodeNamespaces)
	if r.Namespace != "" {
		namespaces = append(namespaces, r.Namespace)
	}
	if len(namespaces) == 0 {
		return nil
	}
	slices.Sort(namespaces)
	return append(conditions,
		condition{"node-agent", fmt.Sprintf(byNode+" && request.resource.group == '' && (request.resource.resource == 'nodes' && has(request.name) && request.userInfo.username == 'system:node:' + request.name"+
			" || has(request.namespace) && request.namespace in %s && has(request.subResource)"+
			" && (request.resource.resource == 'pods' && request.subResource == 'status'"+
			" || request.resource.resource == 'serviceaccounts' && request.subResource == 'token'))", list(slices.Compact(namespaces)...))},
		condition{"node-controller", fmt.Sprintf("request.userInfo.username in %s && request.resource.group == '' && request.resource.resource == 'nodes'"+
			" && request.operation in ['CREATE', 'UPDATE']",
			list(controllers+"node-controller", controllers+"cloud-node-controller", controllers+"cloud-controller-manager", "system:cloud-controller-manager", controllerManager))})
}

// entries are those that have rules.
func (s ruleSet) entries(door string, recovery Recovery) []entry {
	var entries []entry
	for n, p := range s {
		add := func(kind string, policy admissionregistrationv1.FailurePolicyType, matched []interest, more ...admissionregistrationv1.MatchCondition) {
			if len(matched) > 0 {
				made := p.entry(matched, more)
				made.name = kind + suffix(n) + "." + door + ".portcullis.dev"
				made.failurePolicy, made.recovers = policy, kind == "recover"
				entries = append(entries, made)
			}
		}
		recovering, conditions := p.recovering(), recovery.conditions()
		if len(recovering) == 0 || len(conditions) == 0 {
			recovering, conditions = nil, nil
		}
		add("fail", admissionregistrationv1.Fail, p.fail, none(conditions)...)
		add("recover", admissionregistrationv1.Ignore, recovering, anyOf("recovery", conditions).is())
		add("ignore", admissionregistrationv1.Ignore, p.ignore, s.remainder(p)...)
	}
	return entries
}

// suffix tells the entries for named namespaces apart from those for all, which come first.
func suffix(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "-namespaces"
	}
	return fmt.Sprintf("-namespaces-%d", n)
}

// entry matches interests, less what is exempt.
func (p part) entry(matched []interest, more []admissionregistrationv1.MatchCondition) entry {
	conditions := []admissionregistrationv1.MatchCondition{apiServer.isNot(), finishesDeletion.isNot()}
	if covering(matched, resource{"", "pods"}) {
		conditions = append(conditions, nodeFinishesDeletion.isNot(), mirrorPod.isNot())
	}
	if slices.ContainsFunc(matched, func(i interest) bool { return i.wild() }) {
		conditions = append(conditions, heartbeats.isNot())
	}
	if slices.ContainsFunc(matched, func(i interest) bool { return i.overlaps(breakGlasses) }) {
		conditions = append(conditions, breakGlass.isNot())
	}
	scope := admissionregistrationv1.AllScopes
	if p.namespaces != nil {
		// No selector of namespaces leaves cluster-scoped objects out.
		scope = admissionregistrationv1.NamespacedScope
	}
	return entry{rules: rules(matched, scope), namespaces: p.selector(), conditions: append(conditions, more...)}
}

// recovering are the rules of entry fail that recovery could need.
func (p part) recovering() []interest {
	var recovering []interest
	for _, i := range p.fail {
		if slices.ContainsFunc(recoveryResources, func(r resource) bool { return i.covers(r) }) {
			recovering = append(recovering, i)
		}
	}
	return recovering
}

// remainder keeps an entry ignore from matching what an entry fail does: by a wildcard,
// or everywhere though it is closed in some namespaces.
func (s ruleSet) remainder(ignoring part) []admissionregistrationv1.MatchCondition {
	if ignoring.namespaces != nil {
		return nil // what is closed was taken out by name
	}
	var alternatives []condition
	for _, p := range s {
		for _, failing := range p.fail {
			overlaps := func(i interest) bool { return i.operation == failing.operation && i.overlaps(failing.resource) }
			if slices.ContainsFunc(ignoring.ignore, overlaps) {
				alternatives = append(alternatives, failing.matches(p.namespaces))
			}
		}
	}
	if len(alternatives) == 0 {
		return nil
	}
	return []admissionregistrationv1.MatchCondition{anyOf("fails-closed", alternatives).isNot()}
}

func covering(interests []interest, r resource) bool {
	return slices.ContainsFunc(interests, func(i interest) bool { return i.covers(r) })
}

// overlaps says whether some resource is covered by both.
func (r resource) overlaps(o resource) bool {
	name, sub, _ := strings.Cut(r.name, "/")
	otherName, otherSub, _ := strings.Cut(o.name, "/")
	meet := func(a, b string) bool { return a == "*" || b == "*" || a == b }
	return meet(r.group, o.group) && meet(name, otherName) && meet(sub, otherSub)
}

// matches is the rule as an expression, in the given namespaces only unless they are nil.
func (i interest) matches(namespaces []string) condition {
	name, sub, _ := strings.Cut(i.name, "/")
	terms := []string{"request.operation == " + quote(i.operation)}
	if i.group != "*" {
		terms = append(terms, "request.resource.group == "+quote(i.group))
	}
	if name != "*" {
		terms = append(terms, "request.resource.resource == "+quote(name))
	}
	switch sub {
	case "*":
	case "":
		terms = append(terms, noSubresource)
	default:
		terms = append(terms, "has(request.subResource) && request.subResource == "+quote(sub))
	}
	if namespaces != nil {
		terms = append(terms, "has(request.namespace) && request.namespace in "+list(namespaces...))
	}
	return condition{expression: strings.Join(terms, " && ")}
}

func none(conditions []condition) []admissionregistrationv1.MatchCondition {
	var not []admissionregistrationv1.MatchCondition
	for _, condition := range conditions {
		not = append(not, condition.isNot())
	}
	return not
}

func anyOf(name string, conditions []condition) condition {
	alternatives := make([]string, len(conditions))
	for i, c := range conditions {
		alternatives[i] = "(" + c.expression + ")"
	}
	return condition{name, strings.Join(alternatives, " || ")}
}

// quote writes a string of CEL. Names of Kubernetes need no escaping; anything else
// is escaped as Go does, which CEL reads alike.
func quote(text string) string {
	if strings.ContainsAny(text, "'\\") || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Sprintf("%q", text)
	}
	return "'" + text + "'"
}

func list(names ...string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
