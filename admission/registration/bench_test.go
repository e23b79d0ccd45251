package registration

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// The registration runs with the roles that the controller prints, and no others. alice may break the glass.
const controllerUser, glassUser = "portcullis-controller", "alice"

// shared is one API server for all tests of the package.
var shared = clustertest.Shared{
	Options: cluster.Options{WithoutControllers: true, Users: []cluster.User{{Name: controllerUser}, {Name: glassUser}}},
	Manifests: [][]byte{
		clustertest.Namespaces(v1alpha1.DefaultNamespace), v1alpha1.Manifest, v1alpha1.BreakGlassGuard, v1alpha1.Roles(v1alpha1.DefaultNamespace),
		clustertest.Binding(controllerUser, "portcullis-controller", v1alpha1.DefaultNamespace), clustertest.Binding(glassUser, "portcullis-break-glass"),
	},
}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// clock is the registration's: one that can be set, and one that cannot.
type clock struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
}

func (c *clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// set sets the clock, without time going by.
func (c *clock) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.elapsed = c.now.Add(d), c.elapsed+d
}

// lines is the journal.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Registration(_ context.Context, step, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, step+": "+reason)
}

func (l *lines) steps(of string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.all {
		if len(line) > len(of) && line[:len(of)+1] == of+":" {
			n++
		}
	}
	return n
}

var service = configuration.Service{Namespace: v1alpha1.DefaultNamespace, Name: "portcullis-webhook"}

// bench is a cluster, as its administrator sees it, and a registration.
type bench struct {
	*Registration
	t       *testing.T
	kube    kubernetes.Interface
	objects dynamic.Interface
	clock   *clock
	journal *lines
	options Options
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, clock: &clock{now: time.Now()}, journal: &lines{}}
	admin := b.config(cluster.Admin)
	var err error
	if b.kube, err = kubernetes.NewForConfig(admin); err != nil {
		t.Fatal(err)
	}
	if b.objects, err = dynamic.NewForConfig(admin); err != nil {
		t.Fatal(err)
	}
	b.options = Options{Config: b.config(controllerUser), Service: service, Now: b.clock.Now, Elapsed: b.clock.Elapsed, Journal: b.journal, Resync: time.Second}
	b.restart()
	t.Cleanup(b.clean)
	return b
}

func (b *bench) config(user string) *rest.Config {
	b.t.Helper()
	config, err := shared.Cluster(b.t).Config(user)
	if err != nil {
		b.t.Fatal(err)
	}
	return config
}

// restart has another process take over, which knows nothing.
func (b *bench) restart() {
	b.t.Helper()
	made, err := New(b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Registration = made
}

// clean takes everything away that a test may have left.
func (b *bench) clean() {
	ctx, in := context.Background(), service.Namespace
	_ = b.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	_ = b.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	_ = b.kube.CoreV1().Secrets(in).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	_ = b.kube.CoordinationV1().Leases(in).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	_ = b.kube.DiscoveryV1().EndpointSlices(in).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	_ = b.kube.CoreV1().Services(in).Delete(ctx, service.Name, metav1.DeleteOptions{})
	_ = b.objects.Resource(v1alpha1.BreakGlasses).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// turn takes one.
func (b *bench) turn() time.Time {
	b.t.Helper()
	next, err := b.Turn(b.t.Context())
	b.must(err)
	return next
}

// settled takes turns until one changes nothing: what a write makes known is followed by the next.
func (b *bench) settled() {
	b.t.Helper()
	for range 3 {
		b.turn()
	}
}

// judge is one that policies are about.
type judge struct {
	admission.Judge
	interests []policies.Interest
}

func (j *judge) Interests(string) []policies.Interest { return j.interests }

func lineup(interests ...policies.Interest) *admission.Lineup {
	return &admission.Lineup{Members: []admission.Member{{Active: admission.Ready{Bundle: "test", Judges: []admission.Judge{&judge{interests: interests}}}}}}
}

var (
	podsClosed     = policies.Interest{Resource: "pods", Operation: "CREATE", Validates: true, Mutates: true, FailClosed: true}
	servicesOpen   = policies.Interest{Resource: "services", Operation: "CREATE", Validates: true}
	ingressClosed  = policies.Interest{Group: "networking.k8s.io", Resource: "ingresses", Operation: "CREATE", Validates: true, FailClosed: true}
	ordinaryLineup = lineup(podsClosed, servicesOpen)
)

func (b *bench) createService() {
	b.t.Helper()
	_, err := b.kube.CoreV1().Services(service.Namespace).Create(b.t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: service.Name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 443}}},
	}, metav1.CreateOptions{})
	b.must(err)
}

// setEndpoint has one endpoint that is ready, or is not.
func (b *bench) setEndpoint(ready bool) {
	b.t.Helper()
	slices := b.kube.DiscoveryV1().EndpointSlices(service.Namespace)
	wanted := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "one", Labels: map[string]string{discoveryv1.LabelServiceName: service.Name}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}
	_, err := slices.Create(b.t.Context(), wanted, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = slices.Update(b.t.Context(), wanted, metav1.UpdateOptions{})
	}
	b.must(err)
}

// registered is a bench with everything registered.
func registered(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.createService()
	b.setEndpoint(true)
	b.Follow(ordinaryLineup)
	b.settled()
	if len(b.there()) != 2 {
		t.Fatalf("got %d configurations, want both", len(b.there()))
	}
	return b
}

// there are the configurations that there are.
func (b *bench) there() map[door]*configured {
	b.t.Helper()
	found, err := b.readConfigurations(b.t.Context())
	b.must(err)
	return found
}

func (b *bench) validating() *admissionregistrationv1.ValidatingWebhookConfiguration {
	b.t.Helper()
	found, err := b.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(b.t.Context(), "portcullis", metav1.GetOptions{})
	b.must(err)
	return found
}

// edit changes the validating configuration as somebody else.
func (b *bench) edit(change func(*admissionregistrationv1.ValidatingWebhookConfiguration)) {
	b.t.Helper()
	found := b.validating()
	change(found)
	_, err := b.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Update(b.t.Context(), found, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
	b.must(err)
}

// annotate annotates both configurations, "" takes the annotation off.
func (b *bench) annotate(until string) {
	b.t.Helper()
	change := func(meta *metav1.ObjectMeta) {
		if meta.Annotations == nil {
			meta.Annotations = map[string]string{}
		}
		meta.Annotations[v1alpha1.BreakGlassUntilAnnotation] = until
		if until == "" {
			delete(meta.Annotations, v1alpha1.BreakGlassUntilAnnotation)
		}
	}
	b.edit(func(c *admissionregistrationv1.ValidatingWebhookConfiguration) { change(&c.ObjectMeta) })
	of := b.kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	found, err := of.Get(b.t.Context(), "portcullis", metav1.GetOptions{})
	b.must(err)
	change(&found.ObjectMeta)
	_, err = of.Update(b.t.Context(), found, metav1.UpdateOptions{FieldManager: "kubectl-annotate"})
	b.must(err)
}

func (b *bench) deleteConfigurations() {
	b.t.Helper()
	b.must(b.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(b.t.Context(), "portcullis", metav1.DeleteOptions{}))
	b.must(b.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(b.t.Context(), "portcullis", metav1.DeleteOptions{}))
}

// failures are the failure policies of all entries that should fail closed.
func (b *bench) failures() (closed, open int) {
	b.t.Helper()
	for _, one := range b.there() {
		for n := range one.entries {
			switch e := &one.entries[n]; {
			case !failsClosed(e.Name):
			case *e.FailurePolicy == admissionregistrationv1.Fail:
				closed++
			default:
				open++
			}
		}
	}
	return closed, open
}

// breakGlass opens one as a user.
func (b *bench) breakGlass(as string, spec v1alpha1.BreakGlassSpec) (*unstructured.Unstructured, error) {
	b.t.Helper()
	client, err := dynamic.NewForConfig(b.config(as))
	b.must(err)
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.BreakGlass{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "BreakGlass"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, Spec: spec,
	})
	b.must(err)
	delete(content, "status")
	return client.Resource(v1alpha1.BreakGlasses).Create(b.t.Context(), &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
}
