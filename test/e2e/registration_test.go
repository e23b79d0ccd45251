package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/registration"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// Lives of certificates, and by how much the controller's clock is behind at first: with all of it certificates are valid now, and due to
// be renewed as soon as the clock is set right. A replica looks at its files every ten seconds, and what stands in for the kubelet
// brings them every second. New certificates are backdated by five minutes.
const (
	keptAuthority = 10 * time.Hour
	keptLeaf      = 9 * time.Hour
	keptBehind    = -7 * time.Hour
	keptSpread    = 3 * time.Second
	keptKeep      = 5 * time.Minute
	keptMount     = 25 * time.Second
)

// keptCluster is a cluster whose webhook is registered by the controller: its pods are processes on an address of this machine, and a
// Service without selector is in front of them.
type keptCluster struct {
	*environment
	registration *registration.Registration
	behind       atomic.Int64 // by how much the controller's clock is, a time.Duration
	files        pki.Pair     // as a Secret is mounted
	replicas     []*programs.Webhook
	glasses      dynamic.ResourceInterface
}

// TestTheControllerKeepsTheWebhookRegistered begins with nothing, takes the authority through a whole rotation with traffic, and then
// stops everything and starts it again.
func TestTheControllerKeepsTheWebhookRegistered(t *testing.T) {
	ctx := t.Context()
	k := startKept(t)
	try := func(ctx context.Context, changes ...func(*corev1.Pod)) error {
		_, err := k.dev.CoreV1().Pods("team").Create(ctx, pod(t, "try", changes...), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	judged := func(ctx context.Context) error {
		if err := try(ctx, privileged); err == nil || !strings.Contains(err.Error(), "pods/privileged") {
			return fmt.Errorf("a privileged pod: got %w, want it denied by pods/privileged", orAdmitted(err))
		}
		return try(ctx)
	}

	t.Run("before a replica is ready nothing is held up", func(t *testing.T) {
		must(t, try(ctx, privileged))
	})
	for number := range 2 {
		k.startReplica(t, number)
	}
	t.Run("once one is ready it judges", func(t *testing.T) { eventually(t, judged) })

	t.Run("an authority is replaced and no request is lost", func(t *testing.T) {
		first := k.bundle(t)
		k.behind.Store(0)
		good, bad := pod(t, "load"), pod(t, "load", privileged)
		dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
		loaded, stop := context.WithCancel(ctx)
		done := make(chan *load)
		go func() {
			done <- send(loaded, 20, 3*time.Minute, func(_ context.Context, number int) error {
				if number%5 != 0 {
					_, err := k.dev.CoreV1().Pods("team").Create(ctx, good, dryRun)
					return err
				}
				_, err := k.dev.CoreV1().Pods("team").Create(ctx, bad, dryRun)
				if err == nil || !strings.Contains(err.Error(), "pods/privileged") {
					return fmt.Errorf("a privileged pod: got %w, want it denied by pods/privileged", orAdmitted(err))
				}
				return nil
			})
		}()
		var both string
		for _, wanted := range []struct {
			what string
			is   func(bundle string) bool
		}{
			{"the next authority beside the first", func(bundle string) bool { both = bundle; return bundle != first && strings.Contains(bundle, first) }},
			{"the next authority alone", func(bundle string) bool {
				return bundle != first && !strings.Contains(bundle, first) && strings.Contains(both, bundle)
			}},
		} {
			eventually(t, func(context.Context) error {
				if !wanted.is(k.bundle(t)) {
					return errors.New(wanted.what + " is not there yet")
				}
				return nil
			})
		}
		stop()
		result := <-done
		t.Log(result)
		for n, err := range result.errors {
			if n == 5 {
				t.Errorf("… and %d more", len(result.errors)-n)
				break
			}
			t.Error(err)
		}
		if result.sent < 20*10 {
			t.Errorf("only %d requests were sent", result.sent)
		}
	})

	for _, replica := range k.replicas {
		replica.Kill()
	}
	t.Run("while all are down nothing passes, and a BreakGlass lets it", func(t *testing.T) {
		eventually(t, func(ctx context.Context) error {
			if err := try(ctx); err == nil {
				return errors.New("a pod is admitted though nobody judges")
			}
			return nil
		})
		made, err := k.glasses.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": "BreakGlass", "metadata": map[string]any{"name": "down"},
			"spec": map[string]any{"reason": "all replicas are down, OPS-1", "openedBy": cluster.Admin, "until": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
		}}, metav1.CreateOptions{})
		must(t, err)
		eventually(t, func(ctx context.Context) error { return try(ctx) })
		must(t, k.glasses.Delete(ctx, made.GetName(), metav1.DeleteOptions{}))
		eventually(t, func(ctx context.Context) error {
			if err := try(ctx); err == nil {
				return errors.New("a pod is admitted though the glass is whole again")
			}
			return nil
		})
	})
	t.Run("everything stops and starts again", func(t *testing.T) {
		must(t, k.control.RestartEtcd(ctx))
		must(t, k.control.RestartAPIServer(ctx))
		// The controller has to renew the certificate while nobody answers, though the library has a policy about the Secrets there.
		leaf := k.leaf(t)
		k.behind.Store(int64(keptBehind))
		eventually(t, func(context.Context) error {
			if k.leaf(t) == leaf || string(mustReturn(os.ReadFile(k.files.CertFile))(t)) == leaf {
				return errors.New("the certificate is not renewed")
			}
			return nil
		})
		for _, replica := range k.replicas {
			must(t, replica.Start(ctx))
		}
		eventually(t, judged)
	})
}

// errAdmitted stands for no error where one is wanted.
var errAdmitted = errors.New("it was admitted")

func orAdmitted(err error) error {
	if err == nil {
		return errAdmitted
	}
	return err
}

// startKept starts a cluster with a controller that has nothing to register yet.
func startKept(t *testing.T) *keptCluster {
	t.Helper()
	ctx := t.Context()
	env := startAlone(t, cluster.Options{APIServerFlags: []string{"--enable-aggregator-routing=true"}})
	k := &keptCluster{environment: env}
	must(t, cluster.CreateNamespace(ctx, env.admin, ownNamespace, nil))
	for _, manifests := range [][]byte{v1alpha1.Manifest, v1alpha1.BreakGlassGuard, v1alpha1.Roles(ownNamespace)} {
		mustReturn(env.creator.Create(ctx, manifests, metav1.CreateOptions{}))(t)
	}
	account := []rbacv1.Subject{{Kind: "ServiceAccount", Name: registration.ManagedBy, Namespace: ownNamespace}}
	_, err := env.admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: registration.ManagedBy}, Subjects: account,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: registration.ManagedBy},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = env.admin.RbacV1().RoleBindings(ownNamespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: registration.ManagedBy}, Subjects: account,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: registration.ManagedBy},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = env.admin.CoreV1().Services(ownNamespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: webhookUser}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}, metav1.CreateOptions{})
	must(t, err)

	config := mustReturn(env.control.Config(cluster.Admin))(t)
	k.glasses = mustReturn(dynamic.NewForConfig(config))(t).Resource(v1alpha1.BreakGlasses)
	acting := rest.CopyConfig(config)
	acting.Impersonate.UserName = "system:serviceaccount:" + ownNamespace + ":" + registration.ManagedBy
	acting.Impersonate.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:" + ownNamespace, "system:authenticated"}
	options := registration.Options{
		Config: acting, Service: configuration.Service{Namespace: ownNamespace, Name: webhookUser}, Resync: time.Second,
		AuthorityLifetime: keptAuthority, LeafLifetime: keptLeaf, Spread: keptSpread, Keep: keptKeep, Mount: keptMount,
		Now: func() time.Time { return time.Now().Add(time.Duration(k.behind.Load())) },
	}
	k.behind.Store(int64(keptBehind))
	k.registration = mustReturn(registration.New(options))(t)
	engine := mustReturn(policies.NewEngine(mustReturn(policies.Load(library.FS()))(t)))(t)
	k.registration.Follow(admission.Solo(engine))

	k.files = pki.Pair{CertFile: filepath.Join(t.TempDir(), "tls.crt")}
	k.files.KeyFile = filepath.Join(filepath.Dir(k.files.CertFile), "tls.key")
	running, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = k.registration.Run(running) })
	tasks.Go(func() { k.mount(running) })
	t.Cleanup(func() { stop(); tasks.Wait() })
	eventually(t, func(context.Context) error { _, err := os.Stat(k.files.CertFile); return err })
	return k
}

// mount brings the Secret to where replicas read it, as a kubelet does, late.
func (k *keptCluster) mount(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if secret, err := k.admin.CoreV1().Secrets(ownNamespace).Get(ctx, registration.ServingSecret, metav1.GetOptions{}); err == nil {
			for file, key := range map[string]string{k.files.KeyFile: "tls.key", k.files.CertFile: "tls.crt"} {
				_ = os.WriteFile(file+".new", secret.Data[key], 0o600)
				_ = os.Rename(file+".new", file)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// startReplica starts one, and has the Service know it once it is ready.
func (k *keptCluster) startReplica(t *testing.T, number int) {
	t.Helper()
	ctx := t.Context()
	host := hostAddress(t)
	serving, probes := mustReturn(cluster.FreePort())(t), mustReturn(cluster.FreePort())(t)
	name := fmt.Sprintf("kept-%d", number)
	replica, err := programs.StartWebhook(ctx, programs.WebhookOptions{
		Dir: built, Name: name, Profile: "restricted", Listen: net.JoinHostPort(host, strconv.Itoa(serving)), Probes: fmt.Sprintf("127.0.0.1:%d", probes),
		Serving: k.files, ClientCAFile: k.control.WebhookClientCAFile, ClientName: cluster.WebhookClientName,
		Kubeconfig: mustReturn(k.control.Kubeconfig(webhookUser))(t), LogFile: filepath.Join(filepath.Dir(k.control.AuditLog), name+".log"),
	})
	t.Cleanup(func() { _ = replica.Stop() })
	must(t, err)
	k.replicas = append(k.replicas, replica)
	_, err = k.admin.DiscoveryV1().EndpointSlices(ownNamespace).Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: webhookUser}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(serving))}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{host}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}},
	}, metav1.CreateOptions{})
	must(t, err)
}

// leaf is what replicas are given.
func (k *keptCluster) leaf(t *testing.T) string {
	t.Helper()
	return string(mustReturn(k.admin.CoreV1().Secrets(ownNamespace).Get(t.Context(), registration.ServingSecret, metav1.GetOptions{}))(t).Data["tls.crt"])
}

// bundle is what the API server trusts.
func (k *keptCluster) bundle(t *testing.T) string {
	t.Helper()
	found := mustReturn(k.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), "portcullis", metav1.GetOptions{}))(t)
	return string(found.Webhooks[0].ClientConfig.CABundle)
}

// hostAddress is an address of this machine that is not loopback.
func hostAddress(t *testing.T) string {
	t.Helper()
	address, err := cluster.HostAddress()
	if err != nil {
		t.Skip(err)
	}
	return address
}
