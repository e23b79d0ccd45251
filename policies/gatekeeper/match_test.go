package gatekeeper

import (
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestMatch has the rules of https://open-policy-agent.github.io/gatekeeper/website/docs/howto#the-match-field.
func TestMatch(t *testing.T) {
	pod := subject{kind: "Pod", namespace: "shop", name: "web-1", labels: map[string]string{"app": "web"}, source: sourceOriginal,
		namespaceKnown: true, namespaceLabels: map[string]string{"team": "a"}}
	unknown := pod
	unknown.namespaceKnown = false
	namespace := subject{kind: "Namespace", name: "shop", labels: map[string]string{"team": "a"}, source: sourceOriginal}
	node := subject{kind: "Node", name: "node1", source: sourceOriginal}
	generated := subject{kind: "Pod", namespace: "shop", generateName: "web-", source: sourceGenerated}
	for name, test := range map[string]struct {
		match   string
		subject subject
		want    bool
	}{
		"nothing given matches everything":              {"{}", node, true},
		"a kind of the core group":                      {"{kinds: [{apiGroups: [''], kinds: [Pod]}]}", pod, true},
		"another kind":                                  {"{kinds: [{apiGroups: [''], kinds: [Service]}]}", pod, false},
		"another group":                                 {"{kinds: [{apiGroups: [apps], kinds: [Pod]}]}", pod, false},
		"all kinds of a group by a star":                {"{kinds: [{apiGroups: [''], kinds: ['*']}]}", pod, true},
		"all kinds of a group by leaving them out":      {"{kinds: [{apiGroups: ['']}]}", pod, true},
		"one of several selectors":                      {"{kinds: [{kinds: [Service]}, {kinds: [Pod]}]}", pod, true},
		"objects in namespaces":                         {"{scope: Namespaced}", pod, true},
		"a node is not in one":                          {"{scope: Namespaced}", node, false},
		"a namespace counts as outside":                 {"{scope: Cluster}", namespace, true},
		"a pod is inside":                               {"{scope: Cluster}", pod, false},
		"a namespace by name":                           {"{namespaces: [shop]}", pod, true},
		"by the beginning of its name":                  {"{namespaces: ['sh*']}", pod, true},
		"by the end of its name":                        {"{namespaces: ['*op']}", pod, true},
		"by the middle of its name":                     {"{namespaces: ['*ho*']}", pod, true},
		"another namespace":                             {"{namespaces: [web]}", pod, false},
		"a namespace itself has its own name":           {"{namespaces: [shop]}", namespace, true},
		"namespaces do not concern what is in none":     {"{namespaces: [shop]}", node, true},
		"an excluded namespace":                         {"{excludedNamespaces: ['sh*']}", pod, false},
		"an exclusion does not concern what is in none": {"{excludedNamespaces: ['*']}", node, true},
		"exclusion is stronger":                         {"{namespaces: [shop], excludedNamespaces: [shop]}", pod, false},
		"labels":                                        {"{labelSelector: {matchLabels: {app: web}}}", pod, true},
		"other labels":                                  {"{labelSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}", pod, false},
		"labels of the namespace":                       {"{namespaceSelector: {matchLabels: {team: a}}}", pod, true},
		"other labels of the namespace":                 {"{namespaceSelector: {matchLabels: {team: b}}}", pod, false},
		"a namespace has its own labels":                {"{namespaceSelector: {matchLabels: {team: a}}}", namespace, true},
		"what is in no namespace passes a selector":     {"{namespaceSelector: {matchLabels: {team: a}}}", node, true},
		"nothing is asked when the kind differs":        {"{kinds: [{kinds: [Service]}], namespaceSelector: {matchLabels: {team: a}}}", unknown, false},
		"a name":                                        {"{name: web-1}", pod, true},
		"a name by its beginning":                       {"{name: 'web-*'}", pod, true},
		"another name":                                  {"{name: db}", pod, false},
		"a name still to be made":                       {"{name: 'we*'}", generated, true},
		"a name still to be made is no exact one":       {"{name: web-}", generated, false},
		"a name still to be made has no known end":      {"{name: '*-'}", generated, false},
		"generated objects":                             {"{source: Generated}", generated, true},
		"not those that somebody sent":                  {"{source: Generated}", pod, false},
		"original objects":                              {"{source: Original}", generated, false},
		"objects of any source":                         {"{source: All}", generated, true},
	} {
		t.Run(name, func(t *testing.T) {
			var m match
			if err := yaml.UnmarshalStrict([]byte(test.match), &m); err != nil {
				t.Fatal(err)
			}
			if err := m.prepare(); err != nil {
				t.Fatal(err)
			}
			if got, err := m.matches(&test.subject); got != test.want || err != nil {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
	var m match
	if err := yaml.Unmarshal([]byte("{namespaceSelector: {matchLabels: {team: a}}}"), &m); err != nil {
		t.Fatal(err)
	}
	if err := m.prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.matches(&unknown); !errors.Is(err, errNamespaceUnknown) {
		t.Errorf("got %v, want labels that are not known to be an error", err)
	}
}

func FuzzWildcard(f *testing.F) {
	for _, seed := range [][2]string{{"*", ""}, {"kube-*", "kube-system"}, {"*-system", "x-system"}, {"*a*", "bab"}, {"**", "*"}, {"", "x"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := wildcard(pattern).matches(name)
		text := strings.TrimSuffix(strings.TrimPrefix(pattern, "*"), "*")
		if got && !strings.Contains(name, text) {
			t.Errorf("%q matches %q without holding %q", pattern, name, text)
		}
		if !got && name == text && strings.Trim(pattern, "*") == text {
			t.Errorf("%q does not match %q", pattern, name)
		}
		if wildcard(pattern).matchesGenerated(name) && !wildcard(pattern).matches(name+"xxxxx") {
			t.Errorf("%q matches what is generated from %q, and not %q", pattern, name, name+"xxxxx")
		}
	})
}
