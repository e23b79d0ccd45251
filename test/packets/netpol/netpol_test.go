package netpol

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Upstream's source is in the module cache once the control plane of the tests was built.
func TestEveryTestOfUpstreamIsHereUnderItsName(t *testing.T) {
	command := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	command.Dir = filepath.Join("..", "..", "controlplane")
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(string(output))
	if dir == "" {
		t.Skip("the source of k8s.io/kubernetes is not in the module cache: run \"make controlplane\" to compare with it")
	}
	source, err := os.ReadFile(filepath.Join(dir, "test/e2e/network/netpol/network_policy.go"))
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, found := range regexp.MustCompile(`\tf\.It\("([^"]+)"`).FindAllSubmatch(source, -1) {
		want = append(want, string(found[1]))
	}
	for _, c := range Cases() {
		got = append(got, c.Name)
	}
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("there are %d tests here, upstream has %d:\ngot  %q\nwant %q", len(got), len(want), got, want)
	}
}

func TestEveryPolicyIsOneAndEveryTableNamesPodsThatThereAre(t *testing.T) {
	for _, c := range Cases() {
		addresses := map[string][]netip.Addr{}
		for _, pod := range c.Pods {
			addresses[pod] = []netip.Addr{netip.MustParseAddr("10.1.2.3")}
		}
		for _, step := range c.Steps {
			policies, err := step.NetworkPolicies(addresses)
			if err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
			for _, policy := range policies {
				if policy.Name == "" || !slices.Contains([]string{"x", "y"}, policy.Namespace) || len(policy.Spec.PolicyTypes) == 0 {
					t.Errorf("%s: a policy lacks its name, namespace or types: %+v", c.Name, policy)
				}
			}
			for _, table := range step.Tables {
				for _, rule := range table.Rules {
					for _, pattern := range []string{rule.From, rule.To} {
						if !slices.ContainsFunc(c.Pods, func(pod string) bool { return matches(pattern, pod) }) {
							t.Errorf("%s: no pod is %s", c.Name, pattern)
						}
					}
				}
			}
		}
	}
}

func TestLaterRulesOfATableOverrideEarlierOnes(t *testing.T) {
	table := on(tcp, 80, disconnect("*", "x/a"), connect("x/b", "x/a"))
	for pair, want := range map[[2]string]bool{{"x/b", "x/a"}: true, {"y/a", "x/a"}: false, {"x/a", "x/b"}: true} {
		if got := table.Connected(pair[0], pair[1]); got != want {
			t.Errorf("%s reaches %s: got %t, want %t", pair[0], pair[1], got, want)
		}
	}
}

func TestPoliciesNameTheAddressesOfPods(t *testing.T) {
	step := tables([]string{toCIDR(`{cidr: "WIDE(x/b)", except: ["IP(x/b)"]}`)})
	policies, err := step.NetworkPolicies(map[string][]netip.Addr{"x/b": {netip.MustParseAddr("10.99.1.2")}})
	if err != nil {
		t.Fatal(err)
	}
	block := policies[0].Spec.Egress[0].To[0].IPBlock
	if block.CIDR != "0.0.0.0/4" || block.Except[0] != "10.99.1.2/32" {
		t.Errorf("got %+v, want 0.0.0.0/4 without 10.99.1.2/32", block)
	}
}
