package defaultdeny

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

func add(t *testing.T, s *Survey, text string) {
	t.Helper()
	for part := range strings.SplitSeq(text, "---\n") {
		raw, err := yaml.YAMLToJSON([]byte(part))
		if err != nil {
			t.Fatal(err)
		}
		var head struct {
			APIVersion, Kind string
			Metadata         struct{ Namespace string }
		}
		if err := json.Unmarshal(raw, &head); err != nil {
			t.Fatal(err)
		}
		group, _, grouped := strings.Cut(head.APIVersion, "/")
		if !grouped {
			group = ""
		}
		s.Add(group, head.Kind, head.Metadata.Namespace, raw)
	}
}

const shop = `{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-x2x4z, namespace: shop, labels: {app: web, controller-revision-hash: a}, ownerReferences: [{kind: DaemonSet, name: web, controller: true}]}, spec: {containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-y2x4z, namespace: shop, labels: {app: web, controller-revision-hash: b}, ownerReferences: [{kind: DaemonSet, name: web, controller: true}]}, spec: {containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: node, namespace: shop}, spec: {hostNetwork: true, containers: [{name: a}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done, namespace: shop}, spec: {containers: [{name: a}]}, status: {phase: Succeeded}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}, {port: 53, protocol: UDP}, {port: 1, targetPort: nowhere}]}}
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: front, namespace: shop}, spec: {rules: [{http: {paths: [{backend: {service: {name: web}}}]}}]}}
`

// policy is a NetworkPolicy of the namespace shop.
func policy(spec string) string {
	return fmt.Sprintf("---\n{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: shop}, spec: %s}\n", spec)
}

func TestPoliciesAreProposedWhereNoneDenies(t *testing.T) {
	for name, test := range map[string]struct {
		policies   string
		options    Options
		directions []string // nil for no proposal
		// loses are how the flows begin that the DaemonSet would lose.
		loses []string
	}{
		"nothing denies":                       {"", Options{}, []string{Ingress, Egress}, []string{"ingress from anything", "egress to anything"}},
		"ingress is asked for only":            {"", Options{Directions: []string{Ingress}}, []string{Ingress}, []string{"ingress from anything"}},
		"ingress is denied":                    {policy("{podSelector: {}}"), Options{}, []string{Egress}, []string{"egress to anything"}},
		"both are denied":                      {policy("{podSelector: {}, policyTypes: [Ingress, Egress]}"), Options{}, nil, nil},
		"a policy of some pods denies nothing": {policy("{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress]}"), Options{}, []string{Ingress, Egress}, nil},
		"what one policy lets in stays": {policy("{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}"), Options{},
			[]string{Ingress, Egress}, []string{"egress to anything"}},
		"another namespace is asked for": {"", Options{Namespace: func(name string) bool { return name == "web" }}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSurvey()
			add(t, s, shop+test.policies)
			proposals, notes, err := s.Proposals(test.options)
			if err != nil {
				t.Fatal(err)
			}
			if test.directions == nil {
				if len(proposals) > 0 {
					t.Errorf("got %+v, want no proposal", proposals)
				}
				return
			}
			if len(proposals) != 1 || proposals[0].Namespace != "shop" || !slices.Equal(proposals[0].Directions, test.directions) {
				t.Fatalf("got %+v, want one for shop that denies %q", proposals, test.directions)
			}
			if len(notes) != 1 || !strings.Contains(notes[0], "kube-system") {
				t.Errorf("got the notes %q, want one about kube-system", notes)
			}
			p := proposals[0]
			if p.Pods != 3 || p.Untouched != 1 {
				t.Errorf("got %d pods of which %d are untouched, want 3 and 1", p.Pods, p.Untouched)
			}
			var loses []string
			for _, hint := range p.Hints {
				if hint.Workload != "DaemonSet/web" || hint.Pods != 2 {
					t.Errorf("got the hint %+v, want the DaemonSet's 2 pods as one", hint)
				}
				if want := []string{"Service web (TCP 8080, UDP 53), which Ingress front sends to"}; !slices.Equal(hint.Needs, want) {
					t.Errorf("got needs %q, want %q", hint.Needs, want)
				}
				loses = append(loses, hint.Loses...)
			}
			if !slices.EqualFunc(loses, test.loses, strings.HasPrefix) {
				t.Errorf("got losses %q, want those that begin with %q", loses, test.loses)
			}
		})
	}
}

// What is proposed is proved to leave DNS, and nothing else.
func TestAProposalLeavesOnlyNames(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		want    []string
	}{
		"by default":         {Options{}, []string{"egress to pods with k8s-app=kube-dns in namespace kube-system (none today), TCP 53, UDP 53"}},
		"with its neighbour": {Options{SameNamespace: true}, []string{"egress to pods with k8s-app=kube-dns", "egress to", "ingress from"}},
		"with other DNS":     {Options{DNS: DNS{"dns", map[string]string{"app": "coredns"}}}, []string{"egress to pods with app=coredns in namespace dns"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSurvey()
			add(t, s, shop)
			proposals, _, err := s.Proposals(test.options)
			if err != nil {
				t.Fatal(err)
			}
			cluster := &isolation.Cluster{CNI: isolation.KubeNetworkPolicies, Policies: []isolation.Object{proposals[0].Object()}, Namespaces: []isolation.Namespace{{Name: "shop"}, {Name: "kube-system"}, {Name: "dns"}}}
			report, err := isolation.Evaluate(cluster, isolation.Pod{Namespace: "shop", Name: "a", Labels: map[string]string{"app": "web"}})
			if err != nil {
				t.Fatal(err)
			}
			var flows []string
			for _, flow := range report.Residual {
				flows = append(flows, flow.String())
			}
			slices.Sort(flows)
			if len(flows) != len(test.want) {
				t.Fatalf("got the flows %q, want %d", flows, len(test.want))
			}
			for _, want := range test.want {
				if !slices.ContainsFunc(flows, func(flow string) bool { return strings.HasPrefix(flow, want) }) {
					t.Errorf("got the flows %q, want one that begins with %q", flows, want)
				}
			}
		})
	}
}

func TestFilesHoldOnePolicyWhateverObjectsSay(t *testing.T) {
	s := NewSurvey()
	add(t, s, shop)
	const evil = "x\nkind: ClusterRole\u2028---\u0085a: b"
	labels, _ := json.Marshal(map[string]string{"app": evil})
	name, _ := json.Marshal(evil)
	s.Add("", "Pod", "shop", json.RawMessage(fmt.Sprintf(`{"metadata":{"name":%s,"labels":%s},"spec":{"containers":[{"name":"a"}]}}`, name, labels)))
	s.Add("", "Service", "shop", json.RawMessage(fmt.Sprintf(`{"metadata":{"name":%s},"spec":{"selector":%s,"ports":[{"port":80}]}}`, name, labels)))
	s.Add("", "Namespace", "", json.RawMessage(fmt.Sprintf(`{"metadata":{"name":%s}}`, name)))
	proposals, notes, err := s.Proposals(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(proposals) != 1 || !strings.Contains(strings.Join(notes, " "), "1 objects could not be read") {
		t.Fatalf("got %d proposals and the notes %q, want one, and the namespace that cannot be counted as unread", len(proposals), notes)
	}
	content, err := proposals[0].YAML()
	if err != nil {
		t.Fatal(err)
	}
	var uncommented []string
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "#") {
			uncommented = append(uncommented, line)
		}
	}
	var got, want any
	if err := yaml.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(proposals[0].Object(), &want); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || strings.Contains(strings.Join(uncommented, ""), "ClusterRole") {
		t.Errorf("got\n%s\nwant only the NetworkPolicy outside of comments", content)
	}
	for _, want := range []string{"DaemonSet/web (2 pods)", "needed by: Service web (TCP 8080, UDP 53), which Ingress front sends to", "#       port: 8080", "Of 1 pod on the node's network"} {
		if !strings.Contains(strings.ReplaceAll(string(content), "- port: 8080", "  port: 8080"), want) {
			t.Errorf("the file does not say %q:\n%s", want, content)
		}
	}
	if strings.Contains(string(content), "controller-revision-hash") {
		t.Errorf("the file selects pods of one rollout:\n%s", content)
	}
}
