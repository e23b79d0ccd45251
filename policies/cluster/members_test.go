package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic/fake"
	toolscache "k8s.io/client-go/tools/cache"
)

func digestLike(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

// bundleLike is a bundle with an active revision and, perhaps, a previous one.
func bundleLike(name, active, previous string) v1alpha1.PolicyBundle {
	b := v1alpha1.PolicyBundle{ObjectMeta: metav1.ObjectMeta{Name: name}}
	b.Spec.Verification.PGPKeys = "the first key"
	b.Status.Active = &v1alpha1.RevisionStatus{Digest: digestLike(active)}
	if previous != "" {
		b.Spec.Rollout.Strategy = v1alpha1.StrategyBlueGreen
		b.Status.Previous = &v1alpha1.RevisionStatus{Digest: digestLike(previous)}
	}
	return b
}

// loadedLike is a revision that was loaded for a bundle as it is.
func loadedLike(b *v1alpha1.PolicyBundle, letter string) *loaded {
	r := reference{bundle: b, digest: digestLike(letter)}
	return &loaded{key: r.key(), trust: r.trust(), ready: admission.Ready{Bundle: b.Name, Digest: r.digest}}
}

// membersLike are members of a cluster in which nothing is stored: nothing more can be loaded or verified.
func membersLike() *members {
	client := fake.NewSimpleDynamicClient(runtime.NewScheme())
	return newMembers(&loader{objects: &objects{client: client}, options: &Options{}}, time.Now)
}

// An object that cannot be read, as for a duration of "7 days", said before what is to be judged by. Without it the
// cluster would admit what the bundle denies.
func TestABundleWhoseObjectCannotBeReadGoesOn(t *testing.T) {
	first, second := bundleLike("first", "a", ""), bundleLike("second", "b", "")
	m := membersLike()
	m.byName["first"] = &member{bundle: &first, active: loadedLike(&first, "a")}
	m.byName["second"] = &member{bundle: &second, active: loadedLike(&second, "b")}
	m.update(t.Context(), listing{bundles: []v1alpha1.PolicyBundle{first}, unreadable: map[string]error{"second": errors.New("reading the PolicyBundle second: 7 days")}})
	lineup, err := m.lineup(nil)
	if err != nil || len(lineup.Members) != 2 {
		t.Fatalf("the lineup is of %d bundles (%v), want both", len(lineup.Members), err)
	}
	if problem := m.byName["second"].problem; problem == nil || !strings.Contains(problem.Error(), "7 days") {
		t.Errorf("its problem is %v, want why it cannot be read", problem)
	}
	m = membersLike()
	m.update(t.Context(), listing{unreadable: map[string]error{"second": errors.New("7 days")}})
	if lineup, err := m.lineup(nil); err == nil || len(lineup.Members) != 0 {
		t.Errorf("of one that never judged the lineup has %d members (%v), want an error", len(lineup.Members), err)
	}
}

func TestObjectsThatCannotBeReadAreNamed(t *testing.T) {
	informer := toolscache.NewSharedIndexInformer(nil, &unstructured.Unstructured{}, 0, toolscache.Indexers{})
	for _, b := range []struct{ name, interval string }{{"good", "5m0s"}, {"bad", "7 days"}} {
		made := bundleLike(b.name, "a", "")
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&made)
		if err != nil {
			t.Fatal(err)
		}
		content["spec"].(map[string]any)["interval"] = b.interval
		if err := informer.GetStore().Add(&unstructured.Unstructured{Object: content}); err != nil {
			t.Fatal(err)
		}
	}
	all, unreadable := read[v1alpha1.PolicyBundle](informer)
	if len(all) != 1 || all[0].Name != "good" || len(unreadable) != 1 || unreadable["bad"] == nil {
		t.Errorf("got %d objects and %v, want the good one, and what is wrong with the bad one", len(all), unreadable)
	}
}

// A key may be taken out at the moment at which a revision that it has signed is to come back.
func TestARevisionThatIsNotTrustedAnyMoreDoesNotBegin(t *testing.T) {
	before := bundleLike("acme", "a", "b")
	for name, loaded := range map[string]*member{
		"the previous revision": {bundle: &before, active: loadedLike(&before, "a"), previous: loadedLike(&before, "b")},
		"the candidate":         {bundle: &before, active: loadedLike(&before, "a"), candidate: loadedLike(&before, "b")},
	} {
		t.Run(name, func(t *testing.T) {
			m := membersLike()
			m.byName["acme"] = loaded
			now := bundleLike("acme", "b", "a")
			now.Spec.Verification.PGPKeys = "another key"
			m.update(t.Context(), listing{bundles: []v1alpha1.PolicyBundle{now}})
			got := m.byName["acme"]
			if digestOf(got.active) != digestLike("a") || got.problem == nil {
				t.Errorf("%.12s judges (%v), want %.12s to go on", digestOf(got.active), got.problem, digestLike("a"))
			}
		})
	}
}

// A tenant who may write exceptions must not be able to have those of others waive nothing.
func TestNoNamespaceTakesThePlaceOfAllOthersExceptions(t *testing.T) {
	at := metav1.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	exception := func(namespace string, n int) v1alpha1.PolicyException {
		e := v1alpha1.PolicyException{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("e-%05d", n), CreationTimestamp: metav1.NewTime(at.Add(time.Duration(n) * time.Second))}}
		e.Spec = v1alpha1.PolicyExceptionSpec{Policy: "pods/x", Reason: "r", Owner: "o", Expires: "2026-12-01", Selector: v1alpha1.ExceptionSelector{Namespaces: []string{namespace}}}
		return e
	}
	var objects []v1alpha1.PolicyException
	for n := range MaxExceptions {
		objects = append(objects, exception("greedy", n))
	}
	objects = append(objects, exception("shop", MaxExceptions))
	taken, err := exceptionsOf(objects)
	if len(taken) != MaxExceptionsOfNamespace+1 || taken[len(taken)-1].Grant.Namespace != "shop" {
		t.Errorf("took %d exceptions, want %d of one namespace and that of the other", len(taken), MaxExceptionsOfNamespace)
	}
	if err == nil || strings.Count(err.Error(), "greedy") != 1 {
		t.Errorf("got %.300v, want the namespace named once", err)
	}
}
