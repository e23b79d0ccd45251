package defaultdeny

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Comments list at most so many workloads, and of one at most so many needs and flows: a file is to be read.
const (
	maxCommented = 100
	maxOfOne     = 8
)

// YAML is the proposal as a file: why, who loses what, the policy, and, commented out, one that lets in what a Service
// stands for. Nothing from an object reaches it but quoted, or within a line of comment.
func (p *Proposal) YAML() ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# A proposal: namespace %s has no NetworkPolicy that denies %s to all of its pods by default.\n", p.Namespace, strings.ToLower(strings.Join(p.Directions, " and ")))
	b.WriteString("# It has been computed from objects, not from traffic. Apply it to a copy of the namespace first,\n# and add policies that allow what its pods need: NetworkPolicies add up.\n#\n")
	p.comment(&b)
	object, err := yaml.JSONToYAML(p.Object())
	if err != nil {
		return nil, fmt.Errorf("writing the NetworkPolicy of namespace %s: %w", p.Namespace, err)
	}
	b.Write(object)
	if err := p.allowances(&b); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

// allowances are policies, commented out, that let anybody reach what Services lead to.
func (p *Proposal) allowances(b *strings.Builder) error {
	if !slices.Contains(p.Directions, Ingress) {
		return nil
	}
	written := 0
	for _, hint := range p.Hints {
		selector := stable(hint.selector)
		if len(hint.ports) == 0 || len(selector) == 0 || written == maxCommented {
			continue
		}
		written++
		text, err := yaml.Marshal(allowance(p.Namespace, fmt.Sprintf("allow-%d", written), selector, hint.ports))
		if err != nil {
			return fmt.Errorf("writing what lets traffic to %s: %w", hint.Workload, err)
		}
		fmt.Fprintf(b, "# To let what is needed reach %s, name who may in from, take the marks away, and give it a better name:\n# ---\n", line(hint.Workload))
		for _, l := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
			fmt.Fprintf(b, "# %s\n", line(l))
		}
	}
	return nil
}

// stable are the labels that pods keep from one rollout to the next.
func stable(labels map[string]string) map[string]string {
	kept := maps.Clone(labels)
	for _, key := range []string{"pod-template-hash", "rollouts-pod-template-hash", "controller-revision-hash", "pod-template-generation", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"} {
		delete(kept, key)
	}
	return kept
}

func allowance(namespace, name string, selector map[string]string, targets []string) map[string]any {
	var ports []any
	for _, target := range targets {
		protocol, port, _ := strings.Cut(target, " ")
		number, _ := strconv.Atoi(port)
		ports = append(ports, map[string]any{"protocol": protocol, "port": number})
	}
	return map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{
			"podSelector": map[string]any{"matchLabels": selector}, "policyTypes": []string{Ingress},
			"ingress": []any{map[string]any{"from": []any{map[string]any{"podSelector": map[string]any{}}}, "ports": ports}},
		},
	}
}

// comment says who loses what.
func (p *Proposal) comment(b *strings.Builder) {
	if len(p.Hints) == 0 {
		b.WriteString("# None of its pods would lose anything that we know of")
		if p.Pods == 0 {
			b.WriteString(": it has none now")
		}
		b.WriteString(".\n")
	} else {
		fmt.Fprintf(b, "# What %d of its workloads would lose:\n", len(p.Hints))
	}
	for n, hint := range p.Hints {
		if n == maxCommented {
			fmt.Fprintf(b, "#   … and %d more\n", len(p.Hints)-n)
			break
		}
		fmt.Fprintf(b, "#   %s (%s)\n", line(hint.Workload), pods(hint.Pods))
		list(b, "needed by", hint.Needs)
		list(b, "loses", hint.Loses)
	}
	if p.Untouched > 0 {
		fmt.Fprintf(b, "# Of %s on the node's network no NetworkPolicy decides.\n", pods(p.Untouched))
	}
}

func list(b *strings.Builder, word string, lines []string) {
	for n, text := range lines {
		if n == maxOfOne {
			fmt.Fprintf(b, "#     … and %d more\n", len(lines)-n)
			return
		}
		fmt.Fprintf(b, "#     %s: %s\n", word, line(text))
	}
}

func pods(n int) string {
	if n == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", n)
}

// line keeps what comes from objects within its line.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		// YAML 1.1 also ends lines at NEL, LS and PS; controls and bidirectional marks have no place in a comment.
		if r < ' ' || r >= 0x7f && r <= 0x9f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff {
			return '?'
		}
		return r
	}, text)
}
