package quarantine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// The controller runs with the roles that are shipped, and no others.
const responderUser = "portcullis-responder"

// shared is one API server for all tests of the package.
var shared = clustertest.Shared{
	Options: cluster.Options{WithoutControllers: true, Users: []cluster.User{{Name: responderUser}}},
	Manifests: [][]byte{
		clustertest.Namespaces(v1alpha1.DefaultNamespace, "shop", "desk"), v1alpha1.Manifest, v1alpha1.Roles(v1alpha1.DefaultNamespace),
		clustertest.Binding(responderUser, "portcullis-responder", v1alpha1.DefaultNamespace),
	},
	Prepare: func(ctx context.Context, server *cluster.Cluster) error {
		kube, err := server.Client(cluster.Admin)
		if err != nil {
			return err
		}
		for _, namespace := range []string{v1alpha1.DefaultNamespace, "shop", "desk"} {
			_, err := kube.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return err
			}
		}
		return nil
	},
}

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	os.Exit(shared.Run(m))
}

// bench is a cluster, as its administrator sees it, and a clock that stands still until it is moved.
type bench struct {
	t      testing.TB
	kube   *kubernetes.Clientset
	admin  dynamic.Interface
	config *rest.Config // the responder's
	hands  *hands
	kept   *keeping
	told   *listening
	store  *Store

	mu   sync.Mutex
	time time.Time
}

func newBench(t testing.TB) *bench {
	t.Helper()
	server := shared.Cluster(t)
	admin, err := server.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, told: &listening{}, kept: &keeping{}, time: time.Now().Truncate(time.Microsecond)}
	if b.config, err = server.Config(responderUser); err != nil {
		t.Fatal(err)
	}
	if b.kube, err = kubernetes.NewForConfig(admin); err != nil {
		t.Fatal(err)
	}
	if b.admin, err = dynamic.NewForConfig(admin); err != nil {
		t.Fatal(err)
	}
	responder, err := dynamic.NewForConfig(b.config)
	if err != nil {
		t.Fatal(err)
	}
	b.store = NewStore(responder, StoreOptions{Now: b.now})
	if b.hands, err = newHands(b.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.clean)
	return b
}

// clean deletes what tests make: a controller settles all quarantines that there are.
func (b *bench) clean() {
	ctx := context.WithoutCancel(b.t.Context())
	now := int64(0)
	for _, resource := range []dynamic.ResourceInterface{
		b.admin.Resource(v1alpha1.Quarantines), b.admin.Resource(v1alpha1.Evidences), b.admin.Resource(v1alpha1.Incidents),
		b.admin.Resource(pods).Namespace("shop"), b.admin.Resource(pods).Namespace("desk"),
		b.admin.Resource(networkPolicies).Namespace("shop"), b.admin.Resource(networkPolicies).Namespace("desk"),
	} {
		if err := resource.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}); err != nil {
			b.t.Error(err)
		}
	}
	if err := b.kube.CoordinationV1().Leases(v1alpha1.DefaultNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.time
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time = b.time.Add(d)
}

// controller makes one that does nothing by itself.
func (b *bench) controller(change ...func(*Options)) *Controller {
	b.t.Helper()
	o := Options{
		Config: b.config, Namespace: v1alpha1.DefaultNamespace, Identity: "one", LeaseDuration: 2 * time.Second, Cluster: b.hands, Capturer: b.kept, Notifier: b.told,
		Now: b.now, Jitter: func() float64 { return 0 },
	}
	if os.Getenv("PORTCULLIS_TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, c := range change {
		c(&o)
	}
	c, err := NewController(o)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// run has a controller run until the test ends, or the function is called.
func (b *bench) run(c *Controller) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	b.t.Cleanup(stop)
	return stop
}

// pod creates a pod, and gives it as events name it.
func (b *bench) pod(namespace, name string, labels map[string]string) response.Pod {
	b.t.Helper()
	off := false
	made, err := b.kube.CoreV1().Pods(namespace).Create(b.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "ghcr.io/acme/shop:1"}}, AutomountServiceAccountToken: &off},
	}, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return response.Pod{Namespace: namespace, Name: name, UID: string(made.UID), Node: "node-1", ServiceAccount: "default"}
}

// plan asks for actions about a pod, all of them enforced, under settings that enforce.
func plan(pod response.Pod, actions ...response.Action) *response.Plan {
	p := &response.Plan{
		Name: response.QuarantineName(pod.UID), Mode: response.ModeEnforce, TTL: time.Hour, OnExpiry: response.OnExpiryRelease,
		Event: response.Event{
			ID: "sha256:" + fmt.Sprintf("%064d", 1), Source: "syscall", Rule: "Reverse shell", Priority: response.Critical, Time: time.Now(),
			Output: "bash -i (password=hunter2)", Pod: &pod, Owner: &response.Owner{Group: "apps", Version: "v1", Kind: "Deployment", Name: "web", UID: "d-1", Desired: 10, Ready: 10},
		},
	}
	for _, a := range actions {
		p.Actions = append(p.Actions, response.Planned{Ask: response.Ask{
			Policy: "runtime/reverse-shell", Bundle: "library", Severity: "critical", Message: "a shell was connected to the network", Mode: response.ModeEnforce, Action: a,
		}})
	}
	return p
}

// parameters changes those of an action.
func parameters(p *response.Plan, action response.Action, change func(*response.Planned)) *response.Plan {
	for n := range p.Actions {
		if p.Actions[n].Action == action {
			change(&p.Actions[n])
		}
	}
	return p
}

// wide lets much happen: limits are for tests about them.
var wide = response.Settings{
	Mode: response.ModeEnforce, Limits: response.Limits{Cluster: 1000, Namespace: 1000, Owner: 1000, OwnerPercent: 100}, Cooldown: "1ns",
	Breaker: response.Breaker{Plans: 1000},
}

func (b *bench) propose(p *response.Plan, settings response.Settings) string {
	b.t.Helper()
	name, _, err := b.store.Propose(b.t.Context(), p, Proposal{Settings: map[string]response.Settings{"library": settings}, Received: b.now()})
	if err != nil {
		b.t.Fatal(err)
	}
	return name
}

func (b *bench) get(name string) *v1alpha1.Quarantine {
	b.t.Helper()
	q, err := b.store.Get(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return q
}

// settle has a quarantine settled until nothing is left to be done now.
func (b *bench) settle(c *Controller, name string) time.Duration {
	b.t.Helper()
	again, err := c.settle(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return again
}

// wantPhase holds a quarantine to a phase.
func (b *bench) wantPhase(name string, want v1alpha1.Phase) *v1alpha1.Quarantine {
	b.t.Helper()
	q := b.get(name)
	if q.Status.Phase != want {
		b.t.Fatalf("it is %s (%s), want %s; steps: %+v", q.Status.Phase, q.Status.Reason, want, q.Status.Steps)
	}
	return q
}

// until waits until a quarantine is as wanted.
func (b *bench) until(name, what string, is func(*v1alpha1.Quarantine) bool) *v1alpha1.Quarantine {
	b.t.Helper()
	var q *v1alpha1.Quarantine
	defer func() {
		if b.t.Failed() && q != nil {
			b.t.Logf("%s is %+v", name, q.Status)
		}
	}()
	clustertest.Eventually(b.t, what, func() error {
		var err error
		if q, err = b.store.Get(b.t.Context(), name); err != nil {
			return err
		}
		if !is(q) {
			return errors.New("not yet")
		}
		return nil
	})
	return q
}

func inPhase(phase v1alpha1.Phase) func(*v1alpha1.Quarantine) bool {
	return func(q *v1alpha1.Quarantine) bool { return q.Status.Phase == phase }
}

// steps are the records of steps as "isolate Done".
func steps(q *v1alpha1.Quarantine) (all []string) {
	for _, s := range q.Status.Steps {
		all = append(all, s.Name+" "+string(s.State))
	}
	return all
}

// hands is a small [Cluster] that labels pods and makes policies on the API server, and notes what it is asked. What it is told to
// fail at, fails.
type hands struct {
	kube    *kubernetes.Clientset
	dynamic dynamic.Interface

	mu     sync.Mutex
	calls  []string // "do isolate"
	fail   map[string]error
	skip   map[response.Action]string
	report isolation.Report
	seen   func(call string, q *v1alpha1.Quarantine)
}

func newHands(config *rest.Config) (*hands, error) {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &hands{kube: kube, dynamic: client, fail: map[string]error{}, skip: map[response.Action]string{},
		report: isolation.Report{Verdict: isolation.Isolated, Connections: isolation.MayPersist}}, nil
}

func (h *hands) note(q *v1alpha1.Quarantine, verb string, a response.Action) error {
	h.mu.Lock()
	call := verb + " " + string(a)
	h.calls = append(h.calls, call)
	seen, err := h.seen, h.fail[call]
	h.mu.Unlock()
	if seen != nil {
		seen(call, q)
	}
	return err
}

// called are the calls that change something.
func (h *hands) called() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, call := range h.calls {
		if call[:2] == "do" || call[:4] == "undo" {
			all = append(all, call)
		}
	}
	return all
}

func (h *hands) proves(r isolation.Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report = r
}

func (h *hands) fails(call string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail[call] = err
}

func (h *hands) Setup(context.Context) error { return nil }

func (h *hands) pod(ctx context.Context, q *v1alpha1.Quarantine) (*corev1.Pod, error) {
	pod, err := h.kube.CoreV1().Pods(q.Spec.Pod.Namespace).Get(ctx, q.Spec.Pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && string(pod.UID) != q.Spec.Pod.UID {
		return nil, containment.ErrGone
	}
	return pod, err
}

func (h *hands) Prepare(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (containment.Preparation, error) {
	if err := h.note(q, "prepare", a.Action); err != nil {
		return containment.Preparation{}, err
	}
	pod, err := h.pod(ctx, q)
	if err != nil {
		return containment.Preparation{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return containment.Preparation{Precondition: "uid " + string(pod.UID), Originals: v1alpha1.Originals{Labels: pod.Labels}, Skip: h.skip[a.Action]}, nil
}

func (h *hands) Do(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (containment.Outcome, error) {
	if err := h.note(q, "do", a.Action); err != nil {
		return containment.Outcome{}, err
	}
	switch a.Action {
	case response.Isolate:
		return h.isolate(ctx, q)
	case response.Delete, response.Evict:
		now := int64(1)
		err := h.kube.CoreV1().Pods(q.Spec.Pod.Namespace).Delete(ctx, q.Spec.Pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: (*types.UID)(&q.Spec.Pod.UID)}})
		return containment.Outcome{Result: "ended"}, err
	case response.Condemn:
		return containment.Outcome{Result: "condemned", Incidents: []string{q.Name + "-0123456789"}}, nil
	default:
		return containment.Outcome{Result: "done"}, nil
	}
}

// isolate labels the pod, and creates the policy.
func (h *hands) isolate(ctx context.Context, q *v1alpha1.Quarantine) (containment.Outcome, error) {
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NetworkPolicyName(q.Name), Labels: map[string]string{v1alpha1.QuarantineLabel: q.Name}},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.QuarantineLabel: q.Name}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		},
	}
	if _, err := h.kube.NetworkingV1().NetworkPolicies(q.Spec.Pod.Namespace).Create(ctx, policy, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return containment.Outcome{}, err
	}
	pod, err := h.pod(ctx, q)
	if err != nil {
		return containment.Outcome{}, err
	}
	if want := map[string]string{v1alpha1.QuarantineLabel: q.Name}; !maps.Equal(pod.Labels, want) {
		patch, err := json.Marshal([]map[string]any{{"op": "test", "path": "/metadata/uid", "value": q.Spec.Pod.UID}, {"op": "add", "path": "/metadata/labels", "value": want}})
		if err != nil {
			return containment.Outcome{}, err
		}
		if _, err := h.kube.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
			return containment.Outcome{}, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	report := h.report
	return containment.Outcome{Result: "isolated", Report: &report}, nil
}

func (h *hands) Undo(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (containment.Outcome, error) {
	if err := h.note(q, "undo", a.Action); err != nil {
		return containment.Outcome{}, err
	}
	if a.Action == response.Isolate {
		err := h.kube.NetworkingV1().NetworkPolicies(q.Spec.Pod.Namespace).Delete(ctx, v1alpha1.NetworkPolicyName(q.Name), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return containment.Outcome{}, err
		}
	}
	return containment.Outcome{Result: "taken back"}, nil
}

func (h *hands) Prove(ctx context.Context, q *v1alpha1.Quarantine) (isolation.Report, error) {
	if err := h.note(q, "prove", ""); err != nil {
		return isolation.Report{}, err
	}
	if _, err := h.pod(ctx, q); err != nil {
		return isolation.Report{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.report, nil
}

// keeping is a [Capturer] that keeps one piece, unless it is told to fail.
type keeping struct {
	mu    sync.Mutex
	times int
	err   error
	hold  chan struct{} // what captures wait for, nil for nothing
}

func (k *keeping) Capture(ctx context.Context, q *v1alpha1.Quarantine, _ func()) ([]v1alpha1.EvidenceReference, error) {
	k.mu.Lock()
	k.times++
	err, hold := k.err, k.hold
	k.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return []v1alpha1.EvidenceReference{{Name: q.Name + "-pod", Kind: "pod", Size: 10, Digest: "sha256:" + fmt.Sprintf("%064d", 2)}}, nil
}

// listening is a [Notifier] that remembers.
type listening struct {
	mu  sync.Mutex
	all []notify.Message
}

func (l *listening) Notify(m notify.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, m)
}

// kinds are those that were told, in order, each message once.
func (l *listening) kinds() (all []notify.Kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, m := range l.all {
		if !slices.Contains(ids, m.ID()) {
			ids, all = append(ids, m.ID()), append(all, m.Details().Kind)
		}
	}
	return all
}
