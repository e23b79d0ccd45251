package pods

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// start is when the index of tests has begun; pods are created at whole seconds after it.
var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests set.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// newTestIndex is one that has listed no pod at start.
func newTestIndex(t testing.TB, clock *clock, objects ...k8sruntime.Object) *Index {
	t.Helper()
	index := newIndex(fake.NewSimpleDynamicClient(scheme(), objects...), Options{Now: clock.Now})
	if err := (*store)(index).Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	return index
}

// id is a container id that begins with some digits.
func id(prefix string) string { return prefix + strings.Repeat("0", 64-len(prefix)) }

// pod is one on node-a with the container "app", which has an id that begins with the digits.
func pod(uid, name string, created float64, digits string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(uid), CreationTimestamp: metav1.NewTime(at(created).Truncate(time.Second)), ResourceVersion: "1"},
		Spec:       corev1.PodSpec{NodeName: "node-a", ServiceAccountName: "web", Containers: []corev1.Container{{Name: "app", Image: "ghcr.io/acme/app:1"}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "app", ContainerID: "containerd://" + id(digits), ImageID: "ghcr.io/acme/app@sha256:" + strings.Repeat("a", 64),
		}}},
	}
}

func put(t testing.TB, index *Index, pods ...*corev1.Pod) {
	t.Helper()
	for _, pod := range pods {
		if err := (*store)(index).Update(pod); err != nil {
			t.Fatal(err)
		}
	}
}

func end(t testing.TB, index *Index, pod *corev1.Pod) {
	t.Helper()
	if err := (*store)(index).Delete(pod); err != nil {
		t.Fatal(err)
	}
}

// event has fields as "name=value".
func event(seconds float64, fields ...string) *response.Event {
	e := &response.Event{Source: "syscall", Rule: "Terminal shell in container", Time: at(seconds), Fields: map[string]any{}}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		e.Fields[name] = value
	}
	return e
}

func TestAnEventIsAboutThePodThatItNames(t *testing.T) {
	const web = "k8s.ns.name=shop k8s.pod.name=web"
	audit := func(seconds float64, fields ...string) *response.Event {
		e := event(seconds, fields...)
		e.Source = "k8s_audit"
		return e
	}
	named := func(seconds float64, fields string) *response.Event { return event(seconds, strings.Fields(fields)...) }
	sent := func(node string, e *response.Event) *response.Event {
		e.Sender = node
		return e
	}
	for name, test := range map[string]struct {
		event *response.Event
		want  string // UID and how, "host", or the error
		says  string
	}{
		"by its UID": {named(100, "k8s.pod.uid=new "+web), "new uid", ""},
		"by its UID though the container is not known": {named(100, "k8s.pod.uid=new container.id=ffffffffffff"), "new uid", ""},
		"by its UID though it is gone":                 {named(100, "k8s.pod.uid=old"), "old uid", ""},
		"by twelve digits of a container":              {named(100, "container.id=222222222222"), "new container", ""},
		"by the whole id of a container":               {named(100, "container.id=222222222222 container.full_id="+id("222222222222")), "new container", ""},
		"by the id with the runtime's scheme":          {named(100, "container.full_id=containerd://"+id("222222222222")), "new container", ""},
		"by a container of a pod that is gone":         {named(100, "container.id=111111111111"), "old container", ""},
		"by a container that has restarted since":      {named(100, "container.id=333333333333"), "new container", ""},
		"by name": {named(100, web), "new name", ""},
		"by name though the container is not known":   {named(100, "container.id=ffffffffffff "+web), "new name", ""},
		"by name, which another pod had then":         {named(20, web), "old name", ""},
		"by name in the first second of the only pod": {named(70.2, "k8s.ns.name=shop k8s.pod.name=other"), "other name", ""},
		"by what an audit event is about":             {audit(100, "ka.target.namespace=shop", "ka.target.name=web", "ka.target.resource=pods"), "new name", ""},
		"by the kubelet's UID of a static pod":        {named(100, "k8s.pod.uid=hash-of-static"), "static uid", ""},
		"by a UID, from its node":                     {sent("node-a", named(100, "k8s.pod.uid=new")), "new uid", ""},
		"a process of the node":                       {sent("node-b", named(100, "container.id=host")), "host", ""},

		"a UID that nobody has":                              {named(100, "k8s.pod.uid=none "+web), "unresolved", "no pod with the UID none"},
		"a UID, and the name of another pod":                 {named(100, "k8s.pod.uid=new k8s.ns.name=shop k8s.pod.name=other"), "unresolved", "it names pod shop/other"},
		"a UID, and another namespace":                       {named(100, "k8s.pod.uid=new k8s.ns.name=bank"), "unresolved", "another identity of shop/web"},
		"a UID, and the container of another pod":            {named(100, "k8s.pod.uid=new container.id=444444444444"), "unresolved", "a container of shop/other"},
		"a container, and the name of another pod":           {named(100, "container.id=444444444444 "+web), "unresolved", "another identity of shop/other"},
		"digits that two pods share":                         {named(100, "container.id=555555555555"), "unresolved", "2 pods have containers"},
		"fewer than twelve digits":                           {named(100, "container.id=2222"), "unresolved", "no container's id"},
		"twelve digits that are right and more that are not": {named(100, "container.full_id=222222222222ffff"), "unresolved", "no container's id"},
		"a name that nobody has":                             {named(100, "k8s.ns.name=shop k8s.pod.name=none"), "unresolved", "there is no pod shop/none"},
		"a name, before the pod was there":                   {named(5, web), "unresolved", "no pod had the name"},
		"a name, between two pods of it":                     {named(55, web), "unresolved", "no pod had the name"},
		"a name, in the second in which it was handed on":    {named(60.1, web), "unresolved", "another pod shop/web may have lived"},
		"a name whose namespace is not known":                {named(100, "k8s.ns.name=<NA> k8s.pod.name=web"), "no pod", ""},
		"nothing":                                            {event(100), "no pod", ""},
		"an audit event about something else":                {audit(100, "ka.target.namespace=shop", "ka.target.name=web", "ka.target.resource=configmaps"), "no pod", ""},
		"an audit event's word for a UID":                    {audit(100, "k8s.pod.uid=new"), "no pod", ""},
		"a node that speaks for another one":                 {sent("node-b", named(100, "k8s.pod.uid=new")), "wrong node", "node-b reports of pod shop/web, which is on node \"node-a\""},
		"a node that speaks for another one by audit":        {sent("node-b", audit(100, "ka.target.namespace=shop", "ka.target.name=web", "ka.target.resource=pods")), "wrong node", ""},
		"a process of the node that names a pod":             {named(100, "container.id=host k8s.pod.uid=new"), "new uid", ""},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &clock{now: start}
			index := newTestIndex(t, clock)
			old := pod("old", "web", 10, "111111111111")
			put(t, index, old)
			clock.now = at(50)
			end(t, index, old)
			clock.now = at(60.5)
			handed := pod("handed", "web", 58, "666666666666")
			put(t, index, handed)
			clock.now = at(60.05)
			end(t, index, handed)
			before := pod("new", "web", 60, "333333333333")
			put(t, index, before, pod("new", "web", 60, "222222222222"))
			put(t, index, pod("other", "other", 70, "444444444444"))
			static := pod("static", "static", 0, "777777777777")
			static.Annotations = map[string]string{mirrorAnnotation: "x", hashAnnotation: "hash-of-static"}
			put(t, index, static, pod("twin-1", "twin-1", 0, "555555555555"), pod("twin-2", "twin-2", 0, "5555555555556"))
			clock.now = at(101)

			_, err := index.Find(test.event)
			got := "nothing"
			switch e := test.event; {
			case errors.Is(err, ErrUnresolved):
				got = "unresolved"
			case errors.Is(err, ErrNoPod):
				got = "no pod"
			case errors.Is(err, ErrWrongNode):
				got = "wrong node"
			case e.Host:
				got = "host"
			case e.Pod != nil:
				got = e.Pod.UID + " " + e.Pod.ResolvedBy
			}
			if got != test.want || test.says != "" && !strings.Contains(fmt.Sprint(err), test.says) {
				t.Errorf("got %s, %v, want %s and %q", got, err, test.want, test.says)
			}
			if err != nil && (test.event.Pod != nil || test.event.Recent != nil) {
				t.Errorf("an event that is about no pod has %+v and %+v", test.event.Pod, test.event.Recent)
			}
		})
	}
}

// TestBeforePodsAreListedNothingIsResolved: a name may be another pod's by then.
func TestBeforePodsAreListedNothingIsResolved(t *testing.T) {
	index := newIndex(fake.NewSimpleDynamicClient(scheme()), Options{})
	put(t, index, pod("new", "web", 0, "222222222222"))
	if _, err := index.Find(event(100, "k8s.pod.uid=new")); !errors.Is(err, ErrUnresolved) || !strings.Contains(err.Error(), "not been listed") {
		t.Errorf("got %v, want that pods have not been listed", err)
	}
	if err := index.Check(); err == nil {
		t.Error("it is ready, want that it waits for pods")
	}
}

// TestAPodThatWasThereBeforeTheIndexIsNotFoundInItsFirstSecond by name: who had the name before is not known.
func TestAPodThatWasThereBeforeTheIndexIsNotFoundInItsFirstSecond(t *testing.T) {
	clock := &clock{now: at(30)}
	index := newTestIndex(t, clock)
	put(t, index, pod("new", "web", 20, "222222222222"))
	fields := []string{"k8s.ns.name=shop", "k8s.pod.name=web"}
	if _, err := index.Find(event(20.9, fields...)); !errors.Is(err, ErrUnresolved) {
		t.Errorf("got %v, want that it is not known which pod had the name", err)
	}
	if _, err := index.Find(event(21, fields...)); err != nil {
		t.Errorf("a second later: got %v, want the pod", err)
	}
}

func TestPodsThatAreGoneAreForgottenAfterAWhile(t *testing.T) {
	clock := &clock{now: start}
	index := newTestIndex(t, clock)
	for n := range 10 {
		one := pod(fmt.Sprint("uid-", n), fmt.Sprint("web-", n), 0, fmt.Sprintf("%012d", n))
		put(t, index, one)
		clock.now = at(float64(60 * n))
		end(t, index, one)
	}
	live, gone := index.Pods()
	if live != 0 || gone != 5 || len(index.uids) != 5 || len(index.names) != 5 || len(index.containers) != 5 {
		t.Errorf("got %d live and %d gone, %d UIDs, %d names and %d containers, want the 5 of the last five minutes", live, gone, len(index.uids), len(index.names), len(index.containers))
	}
}

// TestWhatAListLeavesOutIsGone: the watch may have missed its end.
func TestWhatAListLeavesOutIsGone(t *testing.T) {
	clock := &clock{now: start}
	index := newTestIndex(t, clock)
	put(t, index, pod("old", "web", 0, "111111111111"))
	clock.now = at(50)
	if err := (*store)(index).Replace([]any{pod("new", "web", 40, "222222222222")}, ""); err != nil {
		t.Fatal(err)
	}
	found, err := index.Find(event(100, "k8s.pod.uid=old"))
	if err != nil || !found.Gone() {
		t.Errorf("got %+v, %v, want the pod, gone", found, err)
	}
	if found, err = index.Find(event(100, "k8s.pod.uid=new")); err != nil || found.Gone() {
		t.Errorf("got %+v, %v, want the pod that is there", found, err)
	}
}

func TestMorePodsThanThereIsRoomForAreSaid(t *testing.T) {
	index := newIndex(fake.NewSimpleDynamicClient(scheme()), Options{MaxPods: 1, Now: func() time.Time { return start }})
	if err := (*store)(index).Replace([]any{pod("a", "a", 0, "111111111111"), pod("b", "b", 0, "222222222222")}, ""); err != nil {
		t.Fatal(err)
	}
	if notes := index.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "--max-pods") {
		t.Errorf("got the notes %q, want what to do", notes)
	}
	put(t, index, pod("a", "a", 0, "333333333333")) // one that is known changes
	if _, err := index.Find(event(10, "container.id=333333333333")); err != nil {
		t.Errorf("the pod that there is room for: %v", err)
	}
}

func TestTheContainerIsTheOneThatTheEventNames(t *testing.T) {
	two := pod("two", "two", 0, "111111111111")
	two.Spec.Containers = append(two.Spec.Containers, corev1.Container{Name: "proxy", Image: "ghcr.io/acme/proxy@sha256:" + strings.Repeat("b", 64)})
	two.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: "ghcr.io/acme/setup:1"}}
	two.Status.ContainerStatuses = append(two.Status.ContainerStatuses, corev1.ContainerStatus{Name: "proxy", ContainerID: "containerd://" + id("222222222222"), ImageID: "sha256:" + strings.Repeat("c", 64)})
	two.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "setup", ImageID: "ghcr.io/acme/setup@sha256:" + strings.Repeat("d", 64),
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: "containerd://" + id("333333333333")}}}}
	for name, test := range map[string]struct {
		uid    string
		fields []string
		want   string // name, image and first digit of the digest
	}{
		"by its id":                              {"two", []string{"container.id=222222222222"}, "proxy ghcr.io/acme/proxy@sha256:bbbb b"},
		"an init container that has ended":       {"two", []string{"container.id=333333333333"}, "setup ghcr.io/acme/setup:1 d"},
		"by its name":                            {"two", []string{"container.name=app"}, "app ghcr.io/acme/app:1 a"},
		"by the name that dockershim gives it":   {"two", []string{"container.name=k8s_app_two_shop_two_0"}, "app ghcr.io/acme/app:1 a"},
		"the only one":                           {"one", nil, "app ghcr.io/acme/app:1 a"},
		"one of two that is not named":           {"two", nil, "  "},
		"a digest that the sender makes up":      {"one", []string{"container.image.digest=sha256:" + strings.Repeat("f", 64)}, "app ghcr.io/acme/app:1 a"},
		"by its id though it has another's name": {"two", []string{"container.id=222222222222", "container.name=app"}, "proxy ghcr.io/acme/proxy@sha256:bbbb b"},
	} {
		t.Run(name, func(t *testing.T) {
			index := newTestIndex(t, &clock{now: start})
			put(t, index, two, pod("one", "one", 0, "444444444444"))
			e := event(10, append(test.fields, "k8s.pod.uid="+test.uid)...)
			if _, err := index.Find(e); err != nil {
				t.Fatal(err)
			}
			digest, _ := strings.CutPrefix(e.Container.Digest, "sha256:")
			if got := fmt.Sprintf("%s %.30s %.1s", e.Container.Name, e.Container.Image, digest); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhatAPodMayIsKnown(t *testing.T) {
	yes := true
	one := pod("one", "one", 0, "111111111111")
	one.Spec.HostNetwork, one.Spec.HostPID, one.Spec.PriorityClassName = true, true, "system-node-critical"
	one.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", SecurityContext: &corev1.SecurityContext{Privileged: &yes}}}}
	one.Annotations = map[string]string{mirrorAnnotation: "x"}
	index := newTestIndex(t, &clock{now: start})
	put(t, index, one)
	e := event(10, "k8s.pod.uid=one")
	if _, err := index.Find(e); err != nil {
		t.Fatal(err)
	}
	want := response.Pod{Namespace: "shop", Name: "one", UID: "one", Node: "node-a", ServiceAccount: "web", Created: start, ResolvedBy: "uid",
		HostNetwork: true, HostPID: true, Static: true, Privileged: true, Priority: "system-node-critical"}
	if *e.Pod != want {
		t.Errorf("got %+v, want %+v", *e.Pod, want)
	}
}

// FuzzFind has hostile fields name a pod: what is found always agrees with all that the event says.
func FuzzFind(f *testing.F) {
	for _, seed := range []string{
		`{"k8s.pod.uid":"new"}`, `{"container.id":"222222222222","k8s.ns.name":"shop","k8s.pod.name":"web"}`, `{"container.id":"host"}`,
		`{"k8s.pod.uid":"new","container.id":"444444444444"}`, `{"container.id":["222222222222"],"k8s.pod.uid":{"a":1}}`, `{"k8s.ns.name":"shop","k8s.pod.name":"web"}`,
	} {
		f.Add(seed, int64(100))
	}
	index := newTestIndex(f, &clock{now: start})
	put(f, index, pod("new", "web", 60, "222222222222"), pod("other", "other", 70, "444444444444"))
	f.Fuzz(func(t *testing.T, fields string, seconds int64) {
		e := &response.Event{Source: "syscall", Rule: "r", Time: start.Add(time.Duration(seconds%1e6) * time.Second)}
		if json.Unmarshal([]byte(fields), &e.Fields) != nil {
			return
		}
		found, err := index.Find(e)
		if err != nil || e.Host {
			if e.Pod != nil {
				t.Fatalf("%s: got %+v with %v", fields, e.Pod, err)
			}
			return
		}
		is := func(field, value string) bool { got := text(e, field); return got == "" || got == value }
		if !is("k8s.pod.uid", e.Pod.UID) || !is("k8s.ns.name", e.Pod.Namespace) || !is("k8s.pod.name", e.Pod.Name) {
			t.Fatalf("%s: found %+v, which is another one", fields, e.Pod)
		}
		if e.Pod.ResolvedBy == byName && e.Time.Before(found.record.pod.Created) {
			t.Fatalf("%s: found %+v, which was not there yet at %s", fields, e.Pod, e.Time)
		}
	})
}

func TestImagesAreDigestsOfManifests(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for reference, want := range map[string]string{
		"ghcr.io/acme/app@" + digest: digest, "docker-pullable://ghcr.io/acme/app@" + digest: digest,
		digest: "", "": "", "ghcr.io/acme/app:1": "", "app@sha256:short": "", "app@" + strings.ToUpper(digest): "",
	} {
		if got := digestOf(reference); got != want {
			t.Errorf("%q: got %q, want %q", reference, got, want)
		}
	}
	one := project(pod("one", "one", 0, "111111111111"))
	if got := one.images(); !slices.Equal(got, []string{digest}) {
		t.Errorf("got %q, want %q", got, digest)
	}
}

// TestNobodyTakesThePlaceOfAnotherPod holds the index to the UIDs that the API server gives. Whoever may create pods chooses their annotations, those
// of mirror pods among them: by a pod that says it stands for another one nobody may hide that one from its events, or draw them.
func TestNobodyTakesThePlaceOfAnotherPod(t *testing.T) {
	decoy := pod("decoy", "decoy", 2, "bbbbbbbbbbbb")
	decoy.Annotations = map[string]string{mirrorAnnotation: "u1", hashAnnotation: "u1"}
	victim := pod("u1", "web", 1, "aaaaaaaaaaaa")
	changed := victim.DeepCopy()
	changed.ResourceVersion = "2"
	for name, steps := range map[string]func(*testing.T, *Index){
		"a decoy that comes later":              func(t *testing.T, i *Index) { put(t, i, victim, decoy) },
		"a decoy that is listed first":          func(t *testing.T, i *Index) { put(t, i, decoy, victim) },
		"a decoy that came and went":            func(t *testing.T, i *Index) { put(t, i, victim, decoy); end(t, i, decoy) },
		"a pod that changes beside a decoy":     func(t *testing.T, i *Index) { put(t, i, victim, decoy, changed) },
		"a pod that ends beside a decoy":        func(t *testing.T, i *Index) { put(t, i, decoy, victim); end(t, i, victim) },
		"a decoy that is listed with the other": func(t *testing.T, i *Index) { replace(t, i, decoy, victim); replace(t, i, decoy, victim) },
	} {
		t.Run(name, func(t *testing.T) {
			index := newTestIndex(t, &clock{at(3)})
			steps(t, index)
			e := event(2.5, "k8s.pod.uid=u1", "k8s.ns.name=shop", "k8s.pod.name=web")
			if _, err := index.Find(e); err != nil || e.Pod.Name != "web" || e.Pod.Static {
				t.Errorf("got pod %+v and error %v, want shop/web", e.Pod, err)
			}
			if live, gone := index.Pods(); live+gone != 2 {
				t.Errorf("got %d pods and %d that are gone, want 2 in all", live, gone)
			}
		})
	}
}

func replace(t testing.TB, index *Index, pods ...*corev1.Pod) {
	t.Helper()
	var all []any
	for _, pod := range pods {
		all = append(all, pod)
	}
	if err := (*store)(index).Replace(all, ""); err != nil {
		t.Fatal(err)
	}
}

// TestAnotherNodeCannotClaimAContainer: a kubelet writes what containers its pods have, and may not make a node's own events ambiguous.
func TestAnotherNodeCannotClaimAContainer(t *testing.T) {
	index := newTestIndex(t, &clock{at(3)})
	claims := pod("claims", "claims", 2, "aaaaaaaaaaaa")
	claims.Spec.NodeName = "node-b"
	put(t, index, pod("web", "web", 1, "aaaaaaaaaaaa"), claims)
	e := event(2.5, "container.id=aaaaaaaaaaaa")
	e.Sender = "node-a"
	if _, err := index.Find(e); err != nil || e.Pod.UID != "web" {
		t.Errorf("got pod %+v and error %v, want that of the sender's node", e.Pod, err)
	}
	if _, err := index.Find(event(2.5, "container.id=aaaaaaaaaaaa")); !errors.Is(err, ErrUnresolved) {
		t.Errorf("got %v from a sender of no node, want it unresolved", err)
	}
	e = event(2.5, "container.id=aaaaaaaaaaaa")
	e.Sender = "node-c"
	if _, err := index.Find(e); err == nil {
		t.Errorf("got pod %+v by the word of a third node, want none", e.Pod)
	}
}
