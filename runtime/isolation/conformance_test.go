package isolation

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// The conformance tests of network-policy-api say which connections its tiers leave open. Their policies and probes, as they stand after each
// step, are in testdata with their source; steps that change pods, or take addresses from the cluster that they run in, are left out.
func TestTiersAreWhatTheConformanceTestsOfTheirAPIExpect(t *testing.T) {
	raw, err := os.ReadFile("testdata/network-policy-api.json")
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Policies []Object
		Steps    []struct {
			Test, Step string
			Policies   []int
			Probes     []string // "namespace/pod namespace/pod protocol port open"
		}
	}
	if err := json.Unmarshal(raw, &suite); err != nil {
		t.Fatal(err)
	}
	c, pods := hogwarts()
	probes := 0
	for _, step := range suite.Steps {
		t.Run(step.Test+"/"+step.Step, func(t *testing.T) {
			c.Policies = nil
			for _, i := range step.Policies {
				c.Policies = append(c.Policies, suite.Policies[i])
			}
			for _, probe := range step.Probes {
				var from, to, protocol, want string
				var port int32
				if _, err := fmt.Sscan(probe, &from, &to, &protocol, &port, &want); err != nil {
					t.Fatal(err)
				}
				possible, why := c.Reachable(Endpoint{Pod: pods[from]}, Endpoint{Pod: pods[to]}, port, protocol)
				if possible != (want == "open") {
					t.Errorf("%s: got %t (%s), want %s", probe, possible, why, want)
				}
				probes++
			}
		})
	}
	if probes < 300 {
		t.Errorf("got %d probes, want 300", probes)
	}
}

// hogwarts is the cluster of the conformance tests (conformance/base/manifests.yaml).
func hogwarts() (*Cluster, map[string]*Pod) {
	const prefix = "network-policy-conformance-"
	c := &Cluster{CNI: KubeNetworkPolicies}
	pods := map[string]*Pod{}
	for i, set := range []string{"gryffindor/harry-potter", "slytherin/draco-malfoy", "hufflepuff/cedric-diggory", "ravenclaw/luna-lovegood"} {
		house, name, _ := strings.Cut(set, "/")
		c.Namespaces = append(c.Namespaces, Namespace{Name: prefix + house, Labels: map[string]string{"conformance-house": house}})
		for j := range 2 {
			pod := &Pod{
				Namespace: prefix + house, Name: fmt.Sprintf("%s-%d", name, j), IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 244, byte(i), byte(2 + j)})},
				Labels: map[string]string{"conformance-house": house, "statefulset.kubernetes.io/pod-name": fmt.Sprintf("%s-%d", name, j)},
				Ports:  []Port{{"web", 80, "TCP"}, {"dns", 53, "UDP"}},
			}
			pods[pod.Namespace+"/"+pod.Name] = pod
			c.Pods = append(c.Pods, *pod)
		}
	}
	return c, pods
}
