package doctor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/revision"
	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	testcluster "github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// own is the namespace of the installation.
const own = "portcullis-system"

// clinic is a real API server with an installation of Portcullis: its objects as the chart makes them, a webhook that judges by the library, and
// probes of each program that say what a test wants. There is no kubelet: the pods' addresses are those of the test.
type clinic struct {
	t       *testing.T
	ctx     context.Context
	control *testcluster.Cluster
	client  kubernetes.Interface
	dynamic dynamic.Interface
	ca      *authority
	reviews *httptest.Server

	mu      sync.Mutex
	metrics map[installation.Component]string
	ready   map[installation.Component]string
	ports   map[installation.Component]string
}

// healthy is what each program says of itself while all is well.
func healthy(component installation.Component) string {
	now := time.Now().Unix()
	lines := "portcullis_build_info{version=\"devel\"} 1\nportcullis_journal_lines_total 7\nportcullis_journal_dropped_total{reason=\"full\"} 0\n"
	switch component {
	case installation.Webhook:
		lines += fmt.Sprintf("portcullis_webhook_certificate_expiry_timestamp_seconds %d\nportcullis_webhook_requests_total{webhook=\"validate\"} 3\n", now+90*24*3600)
	case installation.Responder:
		lines += fmt.Sprintf("portcullis_falco_sensor_last_seen_timestamp_seconds{sensor=\"node-1\"} %d\nportcullis_falco_events_total{priority=\"Critical\"} 2\n", now)
	case installation.Scanner:
		lines += fmt.Sprintf("portcullis_scanner_database_timestamp_seconds %d\n", now-3600)
	}
	return lines
}

var installed = []installation.Component{installation.Webhook, installation.Controller, installation.Scanner, installation.Responder, installation.Secrets}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	manifests := [][]byte{[]byte(`{apiVersion: v1, kind: Namespace, metadata: {name: portcullis-system, labels: {pod-security.kubernetes.io/enforce: restricted}}}`)}
	for _, group := range groups() {
		manifests = append(manifests, group.definitions)
		if group.roles != nil {
			manifests = append(manifests, group.roles(own))
		}
	}
	manifests = append(manifests, policiesv1alpha1.BreakGlassGuard, Roles(own), []byte(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: portcullis-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ann}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-doctor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ann, namespace: portcullis-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: portcullis-doctor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ann, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: portcullis-doctor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ann, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-doctor-probe}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
`))
	control, untyped, _ := clustertest.Start(t, []testcluster.User{{Name: "ann", Groups: []string{"kubeadm:cluster-admins"}}, {Name: "bob"}}, manifests...)
	client, err := control.Client(testcluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	c := &clinic{
		t: t, ctx: t.Context(), control: control, client: client, dynamic: untyped,
		metrics: map[installation.Component]string{}, ready: map[installation.Component]string{}, ports: map[installation.Component]string{},
	}
	clustertest.Serving(t, untyped, policiesv1alpha1.Bundles, breakGlasses())
	c.ca = newAuthority(t)
	for _, component := range installed {
		c.servesProbes(component)
		c.install(component)
	}
	c.leads()
	c.bind()
	c.serveReviews()
	return c
}

// servesProbes answers for a program, on an address that the API server takes for one of a pod.
func (c *clinic) servesProbes(component installation.Component) {
	c.t.Helper()
	c.metrics[component], c.ready[component] = healthy(component), "[+] all ok\n"
	listener, err := net.Listen("tcp", net.JoinHostPort(address(c.t), "0"))
	if err != nil {
		c.t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		said := c.metrics[component]
		if r.URL.Path == "/readyz" {
			if said = c.ready[component]; strings.Contains(said, "[-]") {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		_, _ = w.Write([]byte(said))
	})}}
	server.Start()
	c.t.Cleanup(server.Close)
	_, c.ports[component], _ = net.SplitHostPort(listener.Addr().String())
}

// says changes what a program says of itself; the answer puts it back.
func (c *clinic) says(component installation.Component, metrics, ready string) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, wasReady := c.metrics[component], c.ready[component]
	if metrics != "" {
		c.metrics[component] = metrics
	}
	if ready != "" {
		c.ready[component] = ready
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.metrics[component], c.ready[component] = was, wasReady
	}
}

// address is one of this machine that is no loopback: the API server connects to no pod there.
func address(t *testing.T) string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if network, ok := one.(*net.IPNet); ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	t.Skip("this machine has only loopback addresses")
	return ""
}

// install makes a program's Deployment and two pods on two nodes.
func (c *clinic) install(component installation.Component) {
	c.t.Helper()
	two, no, yes := int32(2), false, true
	labels := map[string]string{installation.PartOfLabel: installation.PartOf, installation.ComponentLabel: string(component)}
	spec := corev1.PodSpec{
		ServiceAccountName: component.Program(), AutomountServiceAccountToken: &no,
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{
			Name: component.Program(), Image: "registry.invalid/portcullis/" + component.Program() + ":devel",
			Args:            []string{"--probes=:" + c.ports[component]},
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
		}},
	}
	must(c.t, create(c.client.CoreV1().ServiceAccounts(own).Create(c.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: component.Program()}}, metav1.CreateOptions{})))
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: component.Program(), Labels: labels},
		Spec:       appsv1.DeploymentSpec{Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}},
	}
	if component == installation.Responder { // its log on disk makes it one, in the chart, too
		set := &appsv1.StatefulSet{ObjectMeta: deployment.ObjectMeta, Spec: appsv1.StatefulSetSpec{Replicas: &two, Selector: deployment.Spec.Selector, Template: deployment.Spec.Template}}
		set, err := c.client.AppsV1().StatefulSets(own).Create(c.ctx, set, metav1.CreateOptions{})
		must(c.t, err)
		set.Status = appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2}
		must(c.t, create(c.client.AppsV1().StatefulSets(own).UpdateStatus(c.ctx, set, metav1.UpdateOptions{})))
	} else {
		deployment, err := c.client.AppsV1().Deployments(own).Create(c.ctx, deployment, metav1.CreateOptions{})
		must(c.t, err)
		deployment.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2}
		must(c.t, create(c.client.AppsV1().Deployments(own).UpdateStatus(c.ctx, deployment, metav1.UpdateOptions{})))
	}
	for n := range 2 {
		scheduled := *spec.DeepCopy()
		scheduled.NodeName = fmt.Sprintf("node-%d", n+1)
		pod, err := c.client.CoreV1().Pods(own).Create(c.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", component.Program(), n), Labels: labels}, Spec: scheduled}, metav1.CreateOptions{})
		must(c.t, err)
		pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address(c.t), PodIPs: []corev1.PodIP{{IP: address(c.t)}}}
		must(c.t, create(c.client.CoreV1().Pods(own).UpdateStatus(c.ctx, pod, metav1.UpdateOptions{})))
	}
	if component == installation.Webhook {
		one := intstr.FromInt32(1)
		must(c.t, create(c.client.PolicyV1().PodDisruptionBudgets(own).Create(c.ctx, &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Name: "portcullis-webhook"}, Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}},
		}, metav1.CreateOptions{})))
	}
}

// leads makes the Leases of those that elect. They last long: nobody renews them here.
func (c *clinic) leads() {
	for _, component := range leaders {
		seconds, holder, now := int32(3600), component.Program()+"-0", metav1.NewMicroTime(time.Now())
		must(c.t, create(c.client.CoordinationV1().Leases(own).Create(c.ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: component.Program()}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, metav1.CreateOptions{})))
	}
}

// builtIn is the library, compiled once.
var builtIn = sync.OnceValues(func() (*revision.Revision, error) { return revision.Read(library.FS(), revision.Options{}) })

// bind gives each program its roles.
func (c *clinic) bind() {
	c.t.Helper()
	read, err := builtIn()
	must(c.t, err)
	facts := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "portcullis-facts-reader"}}
	for _, one := range cluster.ReadsOf(read) {
		facts.Rules = append(facts.Rules, rbacv1.PolicyRule{APIGroups: []string{one.Group}, Resources: []string{one.Resource}, Verbs: []string{"list", "watch"}})
	}
	must(c.t, create(c.client.RbacV1().ClusterRoles().Create(c.ctx, facts, metav1.CreateOptions{})))
	bindings := map[installation.Component][]string{installation.Webhook: {"portcullis-facts-reader", bundleReader}}
	for component, roles := range rolesOf {
		bindings[component] = append(bindings[component], roles...)
	}
	for component, roles := range bindings {
		for n, role := range roles {
			subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: own, Name: component.Program()}}
			must(c.t, create(c.client.RbacV1().ClusterRoleBindings().Create(c.ctx, &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", component.Program(), n)}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}, Subjects: subjects,
			}, metav1.CreateOptions{})))
			if _, err := c.client.RbacV1().Roles(own).Get(c.ctx, role, metav1.GetOptions{}); err == nil {
				must(c.t, create(c.client.RbacV1().RoleBindings(own).Create(c.ctx, &rbacv1.RoleBinding{
					ObjectMeta: metav1.ObjectMeta{Name: role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role}, Subjects: subjects,
				}, metav1.CreateOptions{})))
			}
		}
	}
}

// noFacts gathers nothing: policies that need facts fail.
type noFacts struct{}

func (noFacts) Gather(context.Context, policies.Needs) policies.Facts { return policies.Facts{} }

// serveReviews runs a webhook by the built-in library, and tells the API server to ask it.
func (c *clinic) serveReviews() {
	c.t.Helper()
	read, err := builtIn()
	must(c.t, err)
	reviewer := admission.NewLineupReviewer(&admission.Lineup{Members: []admission.Member{{Active: read.Ready}}}, noFacts{}, time.Now)
	handler, err := webhook.NewHandler(webhook.Options{Reviewer: reviewer, Callers: &webhook.Callers{Mode: webhook.CallerOpen}})
	must(c.t, err)
	c.reviews = httptest.NewUnstartedServer(handler)
	c.reviews.TLS = &tls.Config{Certificates: []tls.Certificate{c.ca.issue(c.t, time.Now().AddDate(1, 0, 0), "portcullis-webhook."+own+".svc")}}
	c.reviews.StartTLS()
	c.t.Cleanup(c.reviews.Close)
	c.register()
	c.secret(c.ca.issue(c.t, time.Now().AddDate(1, 0, 0), "portcullis-webhook."+own+".svc"))
}

// register tells the API server to ask the webhook.
func (c *clinic) register() {
	c.t.Helper()
	read, err := builtIn()
	must(c.t, err)
	reviewer := admission.NewLineupReviewer(&admission.Lineup{Members: []admission.Member{{Active: read.Ready}}}, noFacts{}, time.Now)
	made, err := configuration.Compute(reviewer.Interests(), configuration.Options{
		URL: c.reviews.URL, CABundle: c.ca.pem(), Recovery: configuration.Recovery{Namespace: own, NodeNamespaces: configuration.DefaultNodeNamespaces},
	})
	must(c.t, err)
	must(c.t, create(c.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(c.ctx, made.Validating, metav1.CreateOptions{})))
	if made.Mutating != nil {
		must(c.t, create(c.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(c.ctx, made.Mutating, metav1.CreateOptions{})))
	}
}

// secret puts a certificate where the controller keeps that of the webhook.
func (c *clinic) secret(certificate tls.Certificate) {
	c.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: servingSecret}, Data: map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), "tls.key": []byte("never looked at"),
	}}
	must(c.t, create(c.client.CoreV1().Secrets(own).Create(c.ctx, secret, metav1.CreateOptions{})))
}

// as opens the installation as a user.
func (c *clinic) as(user string) *installation.Installation {
	c.t.Helper()
	config, err := c.control.Config(user)
	must(c.t, err)
	opened, err := installation.Open(config, own, time.Now)
	must(c.t, err)
	return opened
}

// look lets checks look, all for none.
func (c *clinic) look(user string, names ...string) map[string]Result {
	c.t.Helper()
	checks, unknown := Select(names)
	if unknown != "" {
		c.t.Fatalf("there is no check %s", unknown)
	}
	report, err := Run(c.ctx, c.as(user), checks, time.Minute, Options{})
	must(c.t, err)
	results := map[string]Result{}
	for _, result := range report.Results {
		results[result.Check] = result
	}
	return results
}

// create drops what was created.
func create[T any](_ T, err error) error { return err }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority signs certificates that last longer than those of other tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "portcullis-webhook-ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(2, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{certificate, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

func (a *authority) issue(t *testing.T, until time.Time, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().AddDate(0, 0, -30), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// text is a result for people, to look for words in it.
func (r Result) text() string {
	var b bytes.Buffer
	for _, o := range r.Observations {
		fmt.Fprintf(&b, "%s: %s -> %s\n", o.State, o.Seen, o.Next)
	}
	return b.String()
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (c *clinic) eventually(what string, condition func() error) {
	c.t.Helper()
	clustertest.Eventually(c.t, what, condition)
}

// served waits until a definition that was created again is served.
func (c *clinic) served(resource schema.GroupVersionResource, name string) {
	c.t.Helper()
	if resource != definitionsResource {
		return
	}
	c.eventually("serving "+name, func() error {
		got, err := c.dynamic.Resource(resource).Get(c.ctx, name, metav1.GetOptions{})
		if err == nil && conditionOf(got, "Established").Status != "True" {
			err = errors.New("not established")
		}
		return err
	})
}
