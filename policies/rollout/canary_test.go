package rollout

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// TestMembershipIsFixed holds the hash to vectors: replicas of two versions must agree, too.
// They are those of: printf 'prod\0shop' | sha256sum, the first 8 bytes modulo 100.
func TestMembershipIsFixed(t *testing.T) {
	for _, test := range []struct {
		bundle, namespace string
		from              int32 // the smallest share that it is in
	}{
		{"prod", "shop", 77},
		{"prod", "kube-system", 49},
		{"tenant-a", "shop", 95},
		{"prod", "team-0", 97},
		{"prod", "a", 81},
	} {
		if InCanary(test.bundle, test.namespace, test.from-1) || !InCanary(test.bundle, test.namespace, test.from) {
			t.Errorf("%s of bundle %s is in %d %%: %v, in %d %%: %v, want it in from %d %% on", test.namespace, test.bundle,
				test.from-1, InCanary(test.bundle, test.namespace, test.from-1), test.from, InCanary(test.bundle, test.namespace, test.from), test.from)
		}
	}
}

func TestAThousandNamespacesAreInTheirShareAndStayInWhenItGrows(t *testing.T) {
	for _, bundle := range []string{"prod", "tenant-a"} {
		var before int
		for percent := int32(0); percent <= 100; percent++ {
			members := 0
			for i := range 1000 {
				namespace := fmt.Sprintf("team-%d", i)
				in := InCanary(bundle, namespace, percent)
				if in {
					members++
				}
				if in != InCanary(bundle, namespace, percent) {
					t.Fatalf("%s is in and out of %d %%", namespace, percent)
				}
				if percent > 0 && InCanary(bundle, namespace, percent-1) && !in {
					t.Errorf("%s is in %d %% and not in %d %%", namespace, percent-1, percent)
				}
			}
			// 4.5 standard deviations of a binomial distribution at 50 % are 71 of 1,000.
			if want := int(percent) * 10; members < want-71 || members > want+71 {
				t.Errorf("%s: %d of 1,000 namespaces are in %d %%, want %d, give or take 71", bundle, members, percent, want)
			}
			if members < before {
				t.Errorf("%s: %d namespaces are in %d %%, and %d were in 1 %% less", bundle, members, percent, before)
			}
			before = members
		}
		if before != 1000 {
			t.Errorf("%s: %d of 1,000 namespaces are in 100 %%, want all", bundle, before)
		}
	}
}

func TestTwoBundlesTryDifferentNamespaces(t *testing.T) {
	both := 0
	for i := range 1000 {
		if namespace := fmt.Sprint(i); InCanary("a", namespace, 50) && InCanary("b", namespace, 50) {
			both++
		}
	}
	if both < 180 || both > 320 {
		t.Errorf("%d of 1,000 namespaces are in both halves, want about 250", both)
	}
}

func TestACandidateIsEnforcedWhereItWasSaid(t *testing.T) {
	bundle := func(change func(*v1alpha1.PolicyBundle)) *v1alpha1.PolicyBundle {
		b := &v1alpha1.PolicyBundle{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}
		b.Spec.Rollout = v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Namespaces: []string{"canary-*", "["}}
		b.Status = v1alpha1.PolicyBundleStatus{Phase: v1alpha1.PhaseCanary, Candidate: &v1alpha1.RevisionStatus{}}
		change(b)
		return b
	}
	for name, test := range map[string]struct {
		change    func(*v1alpha1.PolicyBundle)
		namespace string
		want      bool
	}{
		"a namespace that a glob names":            {func(*v1alpha1.PolicyBundle) {}, "canary-eu", true},
		"another namespace":                        {func(*v1alpha1.PolicyBundle) {}, "shop", false},
		"a namespace called like a broken glob":    {func(*v1alpha1.PolicyBundle) {}, "[", false},
		"all namespaces":                           {func(b *v1alpha1.PolicyBundle) { b.Spec.Rollout.Percent = 100 }, "shop", true},
		"no namespace, at 99 %":                    {func(b *v1alpha1.PolicyBundle) { b.Spec.Rollout.Percent = 99 }, "", false},
		"no namespace, at 100 %":                   {func(b *v1alpha1.PolicyBundle) { b.Spec.Rollout.Percent = 100 }, "", true},
		"a shadow":                                 {func(b *v1alpha1.PolicyBundle) { b.Status.Phase = v1alpha1.PhaseShadow }, "canary-eu", false},
		"a canary that was just made a shadow":     {func(b *v1alpha1.PolicyBundle) { b.Spec.Rollout.Strategy = v1alpha1.StrategyShadow }, "canary-eu", false},
		"a shadow that was just made a canary":     {func(b *v1alpha1.PolicyBundle) { b.Status.Phase = v1alpha1.PhaseShadow }, "canary-eu", false},
		"a bundle without candidate":               {func(b *v1alpha1.PolicyBundle) { b.Status.Candidate = nil }, "canary-eu", false},
		"a bundle whose candidate was rolled back": {func(b *v1alpha1.PolicyBundle) { b.Status.Phase = v1alpha1.PhaseRolledBack }, "canary-eu", false},
	} {
		t.Run(name, func(t *testing.T) {
			enforced := Enforced(bundle(test.change))
			if got := enforced != nil && enforced(test.namespace); got != test.want {
				t.Errorf("in %q: got %v, want %v", test.namespace, got, test.want)
			}
		})
	}
}

func BenchmarkEnforced(b *testing.B) {
	bundle := &v1alpha1.PolicyBundle{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}
	bundle.Spec.Rollout = v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Percent: 10, Namespaces: []string{"canary-*"}}
	bundle.Status = v1alpha1.PolicyBundleStatus{Phase: v1alpha1.PhaseCanary, Candidate: &v1alpha1.RevisionStatus{}}
	enforced := Enforced(bundle)
	b.ReportAllocs()
	for b.Loop() {
		enforced("team-17")
	}
}
