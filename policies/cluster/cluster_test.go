package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestACluster runs at one real API server, as a user with the webhook's rights, one after the other.
func TestACluster(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]func(*testing.T, *site){
		"what status says judges, and the replica reports it":                    activates,
		"what is not what it should be does not judge, and the old goes on":      refuses,
		"a candidate counts where the rollout says, and is compared elsewhere":   triesOut,
		"an exception waives until it ends or is deleted":                        excepts,
		"a tenant's bundle judges its namespaces only":                           keepsTenantsApart,
		"a bundle of a tenant that cannot be loaded at the start denies for him": deniesForTenants,
		"a key that is taken away stops no bundle that judges":                   losesAKey,
		"without API server the last good bundles judge":                         startsAlone,
		"deleting a bundle ends it, but for the last one":                        loses,
		"kinds that are read are followed before somebody judges":                follows,
		"a bundle is read once for whoever asks once":                            readsOnce,
		"a serial never decreases but by the spec":                               keepsSerials,
		"under blue-green the previous revision is ready to come back":           goesBack,
	} {
		t.Run(name, func(t *testing.T) {
			s.clean(t)
			test(t, s)
		})
	}
}

func activates(t *testing.T, s *site) {
	first := s.put(t, "acme", 1, "red")
	s.bundle(t, "acme", first)
	p := start(t, s.webhook, func(o *Options) { o.Name, o.Labels = "webhook-1", map[string]string{"pod": "webhook-abc"} }).ready(t)
	p.says(t, "is red", "shop", "red")
	p.says(t, "", "shop", "blue")
	second := s.put(t, "acme", 2, "blue")
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) { status.Active = revisionOf("acme", second) })
	p.says(t, "is blue", "shop", "blue")
	p.says(t, "", "shop", "red")
	clustertest.Eventually(t, "the PolicyReplica", func() error {
		object, err := s.admin.Resource(v1alpha1.Replicas).Get(t.Context(), "webhook-1", metav1.GetOptions{})
		if err != nil {
			return err
		}
		var replica v1alpha1.PolicyReplica
		if err := decode(object, &replica); err != nil {
			return err
		}
		want := []v1alpha1.ReplicaBundle{{Name: "acme", Active: second}}
		if !slices.Equal(replica.Status.Bundles, want) || time.Since(replica.Status.Heartbeat.Time) > time.Minute || replica.Labels["pod"] != "webhook-abc" || len(replica.OwnerReferences) > 0 {
			return fmt.Errorf("got %+v, want %+v", replica, want)
		}
		return nil
	})
	p.stop()
	if _, err := s.admin.Resource(v1alpha1.Replicas).Get(t.Context(), "webhook-1", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after the end the PolicyReplica is there (%v), want it deleted", err)
	}
}

func refuses(t *testing.T, s *site) {
	first := s.put(t, "acme", 1, "red")
	s.bundle(t, "acme", first)
	p := start(t, s.webhook).ready(t)
	good := files("acme", 2, "blue")
	for name, test := range map[string]struct {
		store   func(t *testing.T) (digest string)
		problem string
	}{
		"files of another digest": {func(t *testing.T) string {
			digest, _ := signed(t, files("acme", 3, "blue"), s.trusted)
			_, other := signed(t, files("acme", 4, "green"), s.trusted)
			s.store(t, "acme", digest, other, 1<<10)
			return digest
		}, "tampered"},
		"a byte that was changed": {func(t *testing.T) string {
			digest, stored := signed(t, files("acme", 5, "blue"), s.trusted)
			changed := bytes.Clone(stored)
			changed[len(changed)-30] ^= 1
			s.store(t, "acme", digest, changed, 1<<10)
			return digest
		}, "loading revision"},
		"a part that is missing": {func(t *testing.T) string {
			digest, stored := signed(t, files("acme", 6, "blue"), s.trusted)
			s.store(t, "acme", digest, stored, 512)
			name, _ := v1alpha1.RevisionName(digest, 1)
			if err := s.admin.Resource(v1alpha1.Revisions).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			return digest
		}, "not found"},
		"a signature of somebody else": {func(t *testing.T) string {
			digest, stored := signed(t, files("acme", 7, "blue"), s.other)
			s.store(t, "acme", digest, stored, 1<<20)
			return digest
		}, "verifying"},
		"no signature": {func(t *testing.T) string {
			digest, stored := signed(t, files("acme", 8, "blue"), nil)
			s.store(t, "acme", digest, stored, 1<<20)
			return digest
		}, "verifying"},
		"a bundle of another name": {func(t *testing.T) string { return s.put(t, "other", 1, "blue") }, `names it "other"`},
		"a policy that does not compile": {func(t *testing.T) string {
			digest, stored := signed(t, with(good, map[string][]byte{"blue/policy.rego": []byte("package portcullis.acme.blue\ndeny contains x")}), s.trusted)
			s.store(t, "acme", digest, stored, 1<<20)
			return digest
		}, "blue/policy.rego"},
		"no digest at all": {func(*testing.T) string { return "sha256:" + strings.Repeat("0", 64) }, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			digest := test.store(t)
			s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) { status.Active = revisionOf("acme", digest) })
			p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: first}, test.problem)
			p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: first}, "goes on judging")
			if got := p.ask(t, "shop", "red"); got != "is red" {
				t.Errorf("the old revision says %q, want that it goes on", got)
			}
			if err := p.watch.Check(); err != nil || len(p.watch.Notes()) == 0 {
				t.Errorf("ready: %v, notes: %q, want it ready with a note", err, p.watch.Notes())
			}
			s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) { status.Active = revisionOf("acme", first) })
			p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: first}, "")
		})
	}
}

func triesOut(t *testing.T, s *site) {
	active, candidate := s.put(t, "acme", 1, "red"), s.put(t, "acme", 2, "blue")
	s.bundle(t, "acme", active, func(spec *v1alpha1.PolicyBundleSpec) {
		spec.Rollout = v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Namespaces: []string{"canary-*"}}
	})
	p := start(t, s.webhook, func(o *Options) {
		o.Seen = func(bundle string) *v1alpha1.Comparison {
			return &v1alpha1.Comparison{Candidate: "of " + bundle}
		}
	}).ready(t)
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) {
		status.Phase, status.Candidate = v1alpha1.PhaseCanary, revisionOf("acme", candidate)
	})
	p.says(t, "is blue", "canary-1", "red", "blue")
	p.says(t, "is red", "shop", "red", "blue")
	p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: active, Candidate: candidate}, "")
	if got := p.watch.Report()[0].Comparison; got == nil || got.Candidate != "of acme" {
		t.Errorf("the comparison is %+v, want what was seen", got)
	}
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) { status.Phase = v1alpha1.PhaseShadow })
	p.says(t, "is red", "canary-1", "red", "blue")
	bad, stored := signed(t, files("acme", 3, "green"), s.other)
	s.store(t, "acme", bad, stored, 1<<20)
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) {
		status.Phase, status.Candidate = v1alpha1.PhaseCanary, revisionOf("acme", bad)
	})
	p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: active}, "verifying")
	p.says(t, "is red", "canary-1", "red", "green")
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) {
		status.Phase, status.Active, status.Candidate = v1alpha1.PhaseActive, revisionOf("acme", candidate), nil
	})
	p.says(t, "is blue", "shop", "red", "blue")
}

func excepts(t *testing.T, s *site) {
	s.bundle(t, "acme", s.put(t, "acme", 1, "red", "blue"))
	p := start(t, s.webhook).ready(t)
	p.says(t, "is red", "shop", "red")
	grant := func(name string, expires time.Time, change func(*v1alpha1.PolicyExceptionSpec)) {
		exception := &v1alpha1.PolicyException{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: v1alpha1.PolicyExceptionSpec{
			Policy: "acme/red", Selector: v1alpha1.ExceptionSelector{Namespaces: []string{"shop"}}, Reason: "it is being mended", Owner: "shop team",
			Expires: expires.UTC().Format(time.RFC3339),
		}}
		if change != nil {
			change(&exception.Spec)
		}
		s.create(t, v1alpha1.Exceptions, "shop", "PolicyException", exception)
	}
	withdraw := func(name string) {
		if err := s.admin.Resource(v1alpha1.Exceptions).Namespace("shop").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	soon := time.Now().Add(time.Hour)
	grant("legacy", soon, nil)
	p.says(t, "", "shop", "red")
	if got := p.ask(t, "shop", "red", "blue"); got != "is blue" {
		t.Errorf("about both labels it says %q, want that only red is excepted", got)
	}
	if got := p.watch.Exceptions(); len(got) != 1 || got[0].Grant.Namespace != "shop" || !got[0].ExpiresAt().Equal(soon.Truncate(time.Second)) {
		t.Errorf("the exceptions are %+v, want that of shop, until %s", got, soon)
	}
	p.set(soon.Add(time.Second))
	if got := p.ask(t, "shop", "red"); !strings.HasPrefix(got, "is red (exception shop/legacy expired") {
		t.Errorf("after it has expired it says %q, want the denial, with the exception", got)
	}
	p.set(time.Time{})
	p.says(t, "", "shop", "red")
	withdraw("legacy")
	p.says(t, "is red", "shop", "red")
	grant("of-another", soon, func(spec *v1alpha1.PolicyExceptionSpec) { spec.Bundle = "other" })
	grant("beyond", soon, func(spec *v1alpha1.PolicyExceptionSpec) {
		spec.Policy, spec.Selector.Namespaces = "acme/blue", []string{"*"}
	})
	p.says(t, "", "shop", "blue")
	if got := p.ask(t, "shop", "red"); got != "is red" {
		t.Errorf("with an exception of another bundle it says %q, want the denial", got)
	}
	if got := p.ask(t, "other", "blue"); got != "is blue" {
		t.Errorf("in another namespace it says %q, want the denial", got)
	}
}

func keepsTenantsApart(t *testing.T, s *site) {
	s.bundle(t, "acme", s.put(t, "acme", 1, "red"))
	s.bundle(t, "team", s.put(t, "team", 1, "blue"), func(spec *v1alpha1.PolicyBundleSpec) { spec.Namespaces = []string{"team-*"} })
	p := start(t, s.webhook).ready(t)
	p.says(t, "is red, is blue", "team-1", "red", "blue")
	p.says(t, "is red", "shop", "red", "blue")
	// Another name for its policies would have them taken for those of the platform.
	digest, stored := signed(t, with(files("team", 2), map[string][]byte{
		"bundle.yaml":   []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: team\nserial: 2\npolicies: [{policy: acme/red}]\n"),
		"p/policy.rego": files("acme", 1, "red")["red/policy.rego"],
	}), s.trusted)
	s.store(t, "team", digest, stored, 1<<20)
	s.status(t, "team", func(status *v1alpha1.PolicyBundleStatus) { status.Active = revisionOf("team", digest) })
	clustertest.Eventually(t, "refusing it", func() error {
		if notes := strings.Join(p.watch.Notes(), "\n"); !strings.Contains(notes, "policies of a tenant's bundle are in the group of its name") {
			return fmt.Errorf("got the notes %q", notes)
		}
		return nil
	})
	p.says(t, "is red, is blue", "team-1", "red", "blue")
	s.spec(t, "team", func(spec *v1alpha1.PolicyBundleSpec) { spec.Namespaces = []string{"*"} })
	s.status(t, "team", func(status *v1alpha1.PolicyBundleStatus) {
		status.Active = revisionOf("team", s.put(t, "team", 3, "blue"))
	})
	p.says(t, "is blue", "shop", "blue")
}

func deniesForTenants(t *testing.T, s *site) {
	s.bundle(t, "acme", s.put(t, "acme", 1, "red"))
	digest, stored := signed(t, files("team", 1, "blue"), s.other)
	s.store(t, "team", digest, stored, 1<<20)
	s.bundle(t, "team", digest, func(spec *v1alpha1.PolicyBundleSpec) { spec.Namespaces = []string{"team-*"} })
	p := start(t, s.webhook).ready(t)
	p.says(t, "", "shop", "blue")
	if got := p.ask(t, "team-1"); !strings.Contains(got, "the bundle of this namespace could not be loaded: loading revision") {
		t.Errorf("in the tenant's namespace it says %q, want why nothing can be judged", got)
	}
	s.spec(t, "team", func(spec *v1alpha1.PolicyBundleSpec) { spec.Verification = by(t, s.other) })
	p.says(t, "", "team-1")
	p.says(t, "is blue", "team-1", "blue")
}

func losesAKey(t *testing.T, s *site) {
	digest := s.put(t, "acme", 1, "red")
	s.bundle(t, "acme", digest)
	p := start(t, s.webhook).ready(t)
	s.spec(t, "acme", func(spec *v1alpha1.PolicyBundleSpec) { spec.Verification = by(t, s.other) })
	p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: digest}, "verifying")
	p.says(t, "is red", "shop", "red")
	newcomer := start(t, s.webhook)
	clustertest.Eventually(t, "saying why the new process is not ready", func() error {
		if err := newcomer.watch.Check(); err == nil || !strings.Contains(err.Error(), "bundle acme: loading revision") {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	if got := newcomer.ask(t, "shop"); got == "" {
		t.Error("a process without a bundle admits, want it to deny")
	}
	s.spec(t, "acme", func(spec *v1alpha1.PolicyBundleSpec) { spec.Verification = by(t, s.trusted) })
	p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: digest}, "")
	newcomer.ready(t).says(t, "is red", "shop", "red")
}

func startsAlone(t *testing.T, s *site) {
	directory := t.TempDir()
	keeps := func(o *Options) { o.Directory = directory }
	first, second := s.put(t, "acme", 1, "red"), s.put(t, "acme", 2, "blue")
	s.bundle(t, "acme", first)
	p := start(t, s.webhook, keeps).ready(t)
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) { status.Active = revisionOf("acme", second) })
	p.says(t, "is blue", "shop", "blue")
	clustertest.Eventually(t, "removing what is not needed any more", func() error {
		kept, err := filepath.Glob(filepath.Join(directory, "*.bundle"))
		if err != nil || len(kept) != 1 {
			return fmt.Errorf("got %q, %v, want one", kept, err)
		}
		return nil
	})
	p.stop()
	nowhere := &rest.Config{Host: "https://127.0.0.1:1"}
	alone := start(t, nowhere, keeps).ready(t)
	if got := alone.ask(t, "shop", "blue"); got != "is blue" {
		t.Errorf("without API server it says %q, want the last good bundle", got)
	}
	alone.stop()
	kept, _ := filepath.Glob(filepath.Join(directory, "*.bundle"))
	content, err := os.ReadFile(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-30] ^= 1
	if err := os.WriteFile(kept[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	rotten := start(t, nowhere, keeps)
	clustertest.Eventually(t, "refusing what has rotted", func() error {
		if err := rotten.watch.Check(); err == nil || !strings.Contains(err.Error(), "bundle acme") {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	if got := rotten.ask(t, "shop"); got == "" {
		t.Error("with a bundle that has rotted it admits, want it to deny")
	}
	rotten.stop()
	start(t, s.webhook, keeps).ready(t).says(t, "is blue", "shop", "blue") // it is fetched again
}

func loses(t *testing.T, s *site) {
	s.bundle(t, "acme", s.put(t, "acme", 1, "red"))
	s.bundle(t, "more", s.put(t, "more", 1, "blue"))
	p := start(t, s.webhook).ready(t)
	p.says(t, "is red, is blue", "shop", "red", "blue")
	remove := func(name string) {
		if err := s.admin.Resource(v1alpha1.Bundles).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove("more")
	p.says(t, "is red", "shop", "red", "blue")
	remove("acme")
	s.bundle(t, "third", s.put(t, "third", 1, "green"))
	p.says(t, "is green", "shop", "red", "green") // until then acme went on, or somebody would have been admitted
	if err := p.watch.Check(); err != nil {
		t.Errorf("it is not ready: %v", err)
	}
}

func follows(t *testing.T, s *site) {
	reading := with(files("acme", 2, "red"), map[string][]byte{"red/policy.rego": bytes.Replace(files("acme", 2, "red")["red/policy.rego"],
		[]byte("#   remediation"), []byte("#   reads: [{group: networking.k8s.io, resource: networkpolicies, scope: namespace}]\n#   remediation"), 1)})
	s.bundle(t, "acme", s.put(t, "acme", 1, "blue"))
	p := start(t, s.webhook).ready(t)
	digest, stored := signed(t, reading, s.trusted)
	s.store(t, "acme", digest, stored, 1<<20)
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) { status.Active = revisionOf("acme", digest) })
	p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: digest}, "")
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := []policies.Read{{Group: "networking.k8s.io", Resource: "networkpolicies"}}; !slices.Equal(p.followed, want) {
		t.Errorf("followed %+v, want %+v", p.followed, want)
	}
}

func readsOnce(t *testing.T, s *site) {
	if _, _, err := Load(t.Context(), s.webhook, Options{}); err == nil || !strings.Contains(err.Error(), "has no PolicyBundle") {
		t.Errorf("of a cluster without bundles: got %v", err)
	}
	active, candidate := s.put(t, "acme", 1, "red"), s.put(t, "acme", 2, "blue")
	s.bundle(t, "acme", active)
	s.bundle(t, "team", s.put(t, "team", 1, "green"), func(spec *v1alpha1.PolicyBundleSpec) { spec.Namespaces = []string{"team-*"} })
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) {
		status.Phase, status.Candidate = v1alpha1.PhaseShadow, revisionOf("acme", candidate)
	})
	lineup, bundles, err := Load(t.Context(), s.webhook, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(lineup.Members) != 2 || len(bundles) != 2 || bundles[0].Active.Digest != active || bundles[0].Candidate.Digest != candidate || bundles[0].Active.Tree == nil || bundles[1].Object.Name != "team" {
		t.Errorf("got %+v, want acme with its candidate, and team", bundles)
	}
	if lineup.Members[1].Namespaces == nil || lineup.Members[1].Namespaces("shop") {
		t.Error("the tenant's bundle judges more than its namespaces")
	}
	s.spec(t, "team", func(spec *v1alpha1.PolicyBundleSpec) { spec.Verification = by(t, s.other) })
	if _, _, err := Load(t.Context(), s.webhook, Options{}); err == nil || !strings.Contains(err.Error(), "bundle team: loading revision") {
		t.Errorf("with a bundle that does not verify: got %v, want an error that names it", err)
	}
}

func goesBack(t *testing.T, s *site) {
	old, current := s.put(t, "acme", 1, "red"), s.put(t, "acme", 2, "blue")
	s.bundle(t, "acme", current, func(spec *v1alpha1.PolicyBundleSpec) { spec.Rollout.Strategy = v1alpha1.StrategyBlueGreen })
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) { status.Previous = revisionOf("acme", old) })
	p := start(t, s.webhook).ready(t)
	p.says(t, "is blue", "shop", "red", "blue")
	for part := range int32(v1alpha1.MaxParts) { // what it is made of is gone, and it needs nothing of it
		name, _ := v1alpha1.RevisionName(old, part)
		if err := s.admin.Resource(v1alpha1.Revisions).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) {
		status.Active, status.Previous = revisionOf("acme", old), revisionOf("acme", current)
	})
	p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: current}, "its serial is 1, and that of the revision that judges is 2")
	p.says(t, "is blue", "shop", "red", "blue")
	s.spec(t, "acme", func(spec *v1alpha1.PolicyBundleSpec) { spec.Rollout.Promote = old })
	p.says(t, "is red", "shop", "red", "blue")
	p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: old}, "")
}

func keepsSerials(t *testing.T, s *site) {
	old, current := s.put(t, "acme", 1, "red"), s.put(t, "acme", 2, "blue")
	s.bundle(t, "acme", current)
	p := start(t, s.webhook).ready(t)
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) { status.Active = revisionOf("acme", old) })
	p.reports(t, v1alpha1.ReplicaBundle{Name: "acme", Active: current}, "to go back, name the revision in spec.pin")
	if got := p.ask(t, "shop", "red", "blue"); got != "is blue" {
		t.Errorf("with a lower serial it says %q, want that the old revision goes on", got)
	}
	s.spec(t, "acme", func(spec *v1alpha1.PolicyBundleSpec) { spec.Pin = old })
	p.says(t, "is red", "shop", "red", "blue")
	s.status(t, "acme", func(status *v1alpha1.PolicyBundleStatus) { status.Active = revisionOf("acme", current) })
	p.says(t, "is blue", "shop", "red", "blue")
	if err := s.admin.Resource(v1alpha1.Bundles).Delete(t.Context(), "acme", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.bundle(t, "acme", old) // another object of the same name
	p.says(t, "is red", "shop", "red", "blue")
}
