package rights_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission/decisions"
	policyv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/queue"
	scanv1alpha1 "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/installation"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// merge is a merge patch (RFC 7386) of an object; the namespace is "" for one that has none.
func (s *scene) merge(t *testing.T, of schema.GroupVersionResource, namespace, name, patch string, subresources ...string) {
	t.Helper()
	_, err := s.Dynamic.Resource(of).Namespace(namespace).Patch(t.Context(), name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}, subresources...)
	must(t, err)
}

// list has objects of a kind, everywhere.
func (s *scene) list(ctx context.Context, of schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	all, err := s.Dynamic.Resource(of).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return all.Items, nil
}

// useBundles has the bundle rolled out, called for, and changed until old revisions are not needed.
func (s *scene) useBundles(t *testing.T) {
	active := func(serial int) func(context.Context) error {
		return func(ctx context.Context) error {
			bundle, err := s.Dynamic.Resource(policyv1alpha1.Bundles).Get(ctx, "platform", metav1.GetOptions{})
			if err != nil {
				return err
			}
			is, _, _ := unstructured.NestedInt64(bundle.Object, "status", "active", "serial")
			if is != int64(serial) {
				status, err := json.Marshal(bundle.Object["status"])
				return errors.Join(fmt.Errorf("the active serial is %d: %s", is, status), err)
			}
			return nil
		}
	}
	eventually(t, "the bundle is active", active(1))
	for serial := 2; serial <= 4; serial++ {
		s.publish(t)
		s.call(t)
		eventually(t, "the next revision is active", active(serial))
	}
}

// call calls the push endpoint.
func (s *scene) call(t *testing.T) {
	t.Helper()
	names, err := s.Pods(t.Context(), installation.Controller)
	must(t, err)
	authority, err := os.ReadFile(s.authority.File)
	must(t, err)
	response := s.ask(t, client(authority, "portcullis-controller."+installation.Namespace+".svc"), http.MethodPost, names[0], "hook", "/hooks/platform", pushToken)
	must(t, response.Body.Close())
	if response.StatusCode != http.StatusAccepted {
		t.Fatalf("the push endpoint says %s", response.Status)
	}
}

// client trusts an authority, and asks a host of that name wherever it is.
func client(authority []byte, host string) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}}}
}

func (s *scene) ask(t *testing.T, client *http.Client, method, pod, port, path, token string) *http.Response {
	t.Helper()
	address, err := s.Address(pod, port)
	must(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+path, nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	must(t, err)
	return response
}

// useWebhook has pods judged: by facts and evidence, twice the same denial, and has its decisions read.
func (s *scene) useWebhook(t *testing.T) {
	ctx := t.Context()
	yes := true
	bad := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bad", Namespace: "shop"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: s.image, SecurityContext: &corev1.SecurityContext{Privileged: &yes}}}}}
	for range 3 {
		eventually(t, "a bad pod is refused", func(ctx context.Context) error {
			_, err := s.Client.CoreV1().Pods("shop").Create(ctx, bad, metav1.CreateOptions{})
			if err == nil || !strings.Contains(err.Error(), "pods/privileged") {
				return errors.Join(errNotYet, err)
			}
			return nil
		})
	}
	s.create(t, "workloads.yaml", "IMAGE", s.image)
	// The same image elsewhere has the scan that was asked for be about both.
	elsewhere := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere", Namespace: "shop"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: s.other}}}}
	_, err := s.Client.CoreV1().Pods("shop").Create(ctx, elsewhere, metav1.CreateOptions{})
	must(t, err)
	names, err := s.Pods(ctx, installation.Webhook)
	must(t, err)
	held, err := s.Client.CoreV1().Secrets(installation.Namespace).Get(ctx, "portcullis-webhook-tls", metav1.GetOptions{})
	must(t, err)
	response := s.ask(t, client(held.Data["ca.crt"], "portcullis-webhook."+installation.Namespace+".svc"), http.MethodGet, names[0], "https", decisions.Path+"?namespace=shop", s.Config.BearerToken)
	body, err := io.ReadAll(response.Body)
	must(t, errors.Join(err, response.Body.Close()))
	if response.StatusCode != http.StatusOK {
		t.Errorf("decisions: %s: %s", response.Status, body)
	}
	must(t, s.Client.CoreV1().Pods(installation.Namespace).Delete(ctx, names[0], metav1.DeleteOptions{}))
	eventually(t, "a replica that ends takes its report away", func(ctx context.Context) error {
		all, err := s.list(ctx, policyv1alpha1.Replicas)
		if err != nil || slices.ContainsFunc(all, func(o unstructured.Unstructured) bool { return strings.HasPrefix(o.GetName(), names[0]) }) {
			return errors.Join(errNotYet, err)
		}
		return nil
	})
	eventually(t, "all workloads have pods", func(ctx context.Context) error {
		for app, count := range map[string]int{"deployment": 6, "statefulset": 2, "daemonset": 1, "replicaset": 2, "replicationcontroller": 2, "job": 1} {
			if pods, err := s.running(ctx, app); err != nil || len(pods) < count {
				return fmt.Errorf("of %s %d run: %w", app, len(pods), errors.Join(errNotYet, err))
			}
		}
		return nil
	})
}

// running are the pods of an app that run and are not quarantined.
func (s *scene) running(ctx context.Context, app string) ([]corev1.Pod, error) {
	list, err := s.Client.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: "app=" + app + ",!" + runtimev1alpha1.QuarantineLabel})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil }), nil
}

// useScanner works the queue off as the scanner's account. What Trivy does asks no API server.
func (s *scene) useScanner(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hour := int64(3600)
	token, err := s.Client.CoreV1().ServiceAccounts(installation.Namespace).CreateToken(ctx, "portcullis-scanner", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	must(t, err)
	config := rest.AnonymousClientConfig(s.Config)
	config.BearerToken = token.Status.Token
	client, err := dynamic.NewForConfig(config)
	must(t, err)
	worker, err := queue.NewWorker(queue.Options{Client: client, Name: "one", Keep: time.Hour, Scan: func(context.Context, queue.Work) (queue.Outcome, error) {
		return queue.Outcome{State: scanner.StateComplete, Database: scanner.Database{UpdatedAt: time.Now().UTC().Format(time.RFC3339)}}, nil
	}})
	must(t, err)
	done := make(chan error)
	go func() { done <- worker.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	old := metav1.NewTime(time.Now().Add(-48 * time.Hour))
	digest := "sha256:" + strings.Repeat("b", 64)
	s.apply(t, fmt.Sprintf("apiVersion: scan.portcullis.dev/v1alpha1\nkind: ImageScan\nmetadata: {name: %s}\nspec: {digest: '%s', repositories: [r.example/a], requestedAt: '%s'}\n", strings.Replace(digest, ":", "-", 1), digest, old.UTC().Format(time.RFC3339)))
	eventually(t, "what was asked for is scanned", func(ctx context.Context) error {
		all, err := s.list(ctx, scanv1alpha1.Resource)
		if err != nil {
			return err
		}
		for _, scan := range all {
			if state, _, _ := unstructured.NestedString(scan.Object, "status", "state"); state == string(scanner.StateComplete) {
				return nil
			}
		}
		return fmt.Errorf("none of %d is", len(all))
	})
	eventually(t, "an image that nobody asks for any more is forgotten", func(ctx context.Context) error {
		all, err := s.list(ctx, scanv1alpha1.Resource)
		if err != nil || slices.ContainsFunc(all, func(o unstructured.Unstructured) bool { return strings.HasSuffix(o.GetName(), "bbb") }) {
			return errors.Join(errNotYet, err)
		}
		return nil
	})
}

// apply applies objects.
func (s *scene) apply(t *testing.T, manifests string) {
	t.Helper()
	objects, err := cluster.Parse([]byte(manifests))
	must(t, err)
	must(t, cluster.Apply(t.Context(), s.Config, objects))
}

// useResponder asks for each action about pods of each owner, and releases.
func (s *scene) useResponder(t *testing.T) {
	ctx := t.Context()
	client, url, err := s.NewSender(ctx)
	must(t, err)
	var quarantined []string
	for _, one := range []struct{ app, actions string }{
		{"deployment", "snapshot annotate label isolate condemn revoke notify"},
		{"deployment", "snapshot detach"},
		{"deployment", "snapshot evict"},
		{"statefulset", "snapshot isolate"},
		{"statefulset", "snapshot scale"},
		{"daemonset", "snapshot delete"},
		{"replicaset", "snapshot isolate"},
		{"replicaset", "snapshot scale"},
		{"replicationcontroller", "snapshot isolate"},
		{"replicationcontroller", "snapshot scale"},
		{"deployment", "snapshot scale"},
		{"job", "snapshot suspend"},
		{"cronjob", "snapshot suspend cordon"},
	} {
		var pod corev1.Pod
		eventually(t, "a pod of "+one.app+" runs", func(ctx context.Context) error {
			pods, err := s.running(ctx, one.app)
			pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return slices.Contains(quarantined, string(p.UID)) })
			if err != nil || len(pods) == 0 {
				return errors.Join(errNotYet, err)
			}
			pod = pods[0]
			return nil
		})
		quarantined = append(quarantined, string(pod.UID))
		event := programs.FalcoEvent{
			Hostname: "here", Output: "Notice", Priority: "Notice", Rule: "Do: " + one.actions, Source: "syscall", Time: time.Now().UTC(), Tags: []string{"container"},
			Fields: map[string]any{"k8s.ns.name": pod.Namespace, "k8s.pod.name": pod.Name, "k8s.pod.uid": string(pod.UID), "evt.time": time.Now().UnixNano()},
		}
		for range 2 { // the second one is about a pod that is in quarantine
			status, text, err := event.Post(ctx, client, url)
			if err != nil || status != http.StatusOK {
				t.Fatalf("an event was answered with %d %s: %v", status, text, err)
			}
			event.Rule += " condemn"
		}
		s.reaches(t, pod, one.app+": "+one.actions, string(runtimev1alpha1.PhaseContained))
	}
	// What the standing deny says is put right when the responder starts.
	denies := schema.GroupVersionResource{Group: "policy.networking.k8s.io", Version: "v1alpha2", Resource: "clusternetworkpolicies"}
	all, err := s.list(ctx, denies)
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("there are %d standing denies, want one", len(all))
	}
	s.merge(t, denies, "", all[0].GetName(), `{"spec":{"priority":7}}`)
	s.Process("portcullis-responder-0").Kill()
	eventually(t, "the standing deny is as it was", func(ctx context.Context) error {
		now, err := s.Dynamic.Resource(denies).Get(ctx, all[0].GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if priority, _, _ := unstructured.NestedInt64(now.Object, "spec", "priority"); priority == 7 {
			return errNotYet
		}
		return nil
	})
	all, err = s.list(ctx, runtimev1alpha1.Quarantines)
	must(t, err)
	for _, q := range all {
		s.merge(t, runtimev1alpha1.Quarantines, "", q.GetName(), `{"spec":{"release":{"by":"admin","reason":"it was a test","time":"`+time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")+`"}}}`)
	}
	eventually(t, "all are released", func(ctx context.Context) error {
		all, err := s.list(ctx, runtimev1alpha1.Quarantines)
		if err != nil {
			return err
		}
		for _, q := range all {
			if phase, _, _ := unstructured.NestedString(q.Object, "status", "phase"); phase != string(runtimev1alpha1.PhaseReleased) {
				status, err := json.Marshal(q.Object["status"])
				return errors.Join(fmt.Errorf("%s is %s: %s", q.GetName(), phase, status), err)
			}
		}
		return nil
	})
}

// reaches waits until the quarantine of a pod is in one of some phases.
func (s *scene) reaches(t *testing.T, pod corev1.Pod, what string, phases ...string) {
	t.Helper()
	eventually(t, what, func(ctx context.Context) error {
		all, err := s.list(ctx, runtimev1alpha1.Quarantines)
		if err != nil {
			return err
		}
		for _, q := range all {
			if uid, _, _ := unstructured.NestedString(q.Object, "spec", "pod", "uid"); uid != string(pod.UID) {
				continue
			}
			phase, _, _ := unstructured.NestedString(q.Object, "status", "phase")
			if slices.Contains(phases, phase) {
				return nil
			}
			status, err := json.Marshal(q.Object["status"])
			return errors.Join(fmt.Errorf("it is %s: %s", phase, status), err)
		}
		return errors.New("there is no Quarantine")
	})
}

// useSecrets has secrets of all kinds kept, changed, restarted, revoked and let go.
func (s *scene) useSecrets(t *testing.T) {
	ctx := t.Context()
	for _, mount := range []struct {
		path, engine string
		options      map[string]string
	}{{"secret", "kv", map[string]string{"version": "2"}}, {"database", "leased-kv", nil}, {"transit", "transit", nil}} {
		must(t, s.vault.Mount(ctx, mount.path, mount.engine, mount.options, ""))
	}
	for path, data := range map[string]map[string]any{
		"secret/data/shop/api": {"data": map[string]any{"key": "one"}}, "database/creds/shop": {"username": "v", "password": "made", "ttl": "1h"},
		"transit/keys/leases": {}, "transit/keys/shop": {"type": "ed25519"},
	} {
		_, err := s.vault.Write(ctx, path, data)
		must(t, err)
	}
	must(t, s.vault.Policy(ctx, "shop", `path "*" { capabilities = ["create", "read", "update", "delete", "list"] }`))
	must(t, s.vault.EnableAuth(ctx, "kubernetes", "kubernetes"))
	hour := int64(3600)
	reviewer, err := s.Client.CoreV1().ServiceAccounts("shop").CreateToken(ctx, "reviewer", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	must(t, err)
	authority, err := os.ReadFile(s.Control.CAFile)
	must(t, err)
	must(t, s.vault.ConfigureKubernetesAuth(ctx, "kubernetes", s.Control.URL, authority, reviewer.Status.Token))
	for role, bound := range map[string][2]string{"shop": {"shop", "vault"}, "portcullis-secrets": {installation.Namespace, "portcullis-secrets"}} {
		_, err := s.vault.Write(ctx, "auth/kubernetes/role/"+role, map[string]any{
			"bound_service_account_namespaces": []string{bound[0]}, "bound_service_account_names": []string{bound[1]}, "audience": "vault", "token_policies": []string{"shop"}, "token_ttl": "1h",
		})
		must(t, err)
	}
	ca, err := json.Marshal(string(s.vault.CA()))
	must(t, err)
	s.grantSecrets(t, "ADDRESS", s.vault.Address(), "caBundle: CA", "caBundle: "+string(ca))
	s.create(t, "vault.yaml", "ADDRESS", s.vault.Address(), "caBundle: CA", "caBundle: "+string(ca))
	eventually(t, "everything is synced", s.synced)
}

// grantSecrets gives what `portcullis-secrets roles --namespace shop` prints.
func (s *scene) grantSecrets(t *testing.T, fill ...string) {
	t.Helper()
	text, err := os.ReadFile("testdata/vault.yaml")
	must(t, err)
	objects, err := cluster.Parse([]byte(strings.NewReplacer(fill...).Replace(string(text))))
	must(t, err)
	var secrets []secretsv1alpha1.VaultSecret
	var auths []secretsv1alpha1.VaultAuth
	var pushes []secretsv1alpha1.VaultPush
	for _, o := range objects {
		switch o.GetKind() {
		case "VaultSecret":
			one, err := secretsv1alpha1.Decode[secretsv1alpha1.VaultSecret](o)
			must(t, err)
			secrets = append(secrets, *one)
		case "VaultAuth":
			one, err := secretsv1alpha1.Decode[secretsv1alpha1.VaultAuth](o)
			must(t, err)
			auths = append(auths, *one)
		case "VaultPush":
			one, err := secretsv1alpha1.Decode[secretsv1alpha1.VaultPush](o)
			must(t, err)
			pushes = append(pushes, *one)
		}
	}
	s.apply(t, string(secretsv1alpha1.NamespaceRole("shop", secrets, auths, pushes, installation.Namespace)))
}

func (s *scene) synced(ctx context.Context) error {
	for _, of := range []schema.GroupVersionResource{secretsv1alpha1.VaultSecrets, secretsv1alpha1.VaultPushes} {
		all, err := s.list(ctx, of)
		if err != nil {
			return err
		}
		for _, o := range all {
			conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
			is := slices.ContainsFunc(conditions, func(c any) bool {
				one, _ := c.(map[string]any)
				return one["type"] == secretsv1alpha1.ConditionSynced && one["status"] == "True"
			})
			if !is {
				return fmt.Errorf("%s %s is not: %v", o.GetKind(), o.GetName(), conditions)
			}
		}
	}
	return nil
}

// changeSecrets has what is kept changed at both ends, and let go.
func (s *scene) changeSecrets(t *testing.T) {
	ctx := t.Context()
	must(t, s.vault.WriteKV2(ctx, "secret", "shop/api", map[string]any{"key": "two"}))
	s.merge(t, secretsv1alpha1.VaultSecrets, "shop", "api", `{"metadata":{"annotations":{"`+secretsv1alpha1.SyncAnnotation+`":"`+time.Now().Format(time.RFC3339Nano)+`"}}}`)
	eventually(t, "the second value is there", func(ctx context.Context) error {
		held, err := s.Client.CoreV1().Secrets("shop").Get(ctx, "api", metav1.GetOptions{})
		if err != nil || string(held.Data["key"]) != "two" {
			return errors.Join(errNotYet, err)
		}
		return nil
	})
	eventually(t, "what uses it is restarted", func(ctx context.Context) error {
		kept, err := s.Dynamic.Resource(secretsv1alpha1.VaultSecrets).Namespace("shop").Get(ctx, "api", metav1.GetOptions{})
		if err != nil {
			return err
		}
		restarts, _, _ := unstructured.NestedSlice(kept.Object, "status", "restarts")
		for _, restart := range restarts {
			if one, _ := restart.(map[string]any); one["state"] != "Restarted" {
				return fmt.Errorf("restarts: %v", restarts)
			}
		}
		if len(restarts) < 3 {
			return fmt.Errorf("restarts: %v", restarts)
		}
		return nil
	})
	secrets, configMaps := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	for _, one := range []struct {
		of   schema.GroupVersionResource
		name string
	}{{secrets, "api"}, {secrets, "credentials"}, {configMaps, "keys"}} {
		s.merge(t, one.of, "shop", one.name, `{"data":{"intruder":"aGVyZQ=="}}`)
		eventually(t, "what somebody wrote into "+one.name+" is taken out", func(ctx context.Context) error {
			held, err := s.Dynamic.Resource(one.of).Namespace("shop").Get(ctx, one.name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if _, is, _ := unstructured.NestedString(held.Object, "data", "intruder"); is {
				return errNotYet
			}
			return nil
		})
	}
	_, err := s.vault.Client().Logical().DeleteWithContext(ctx, "secret/data/shop/api")
	must(t, err)
	s.merge(t, secretsv1alpha1.VaultSecrets, "shop", "api", `{"metadata":{"annotations":{"`+secretsv1alpha1.SyncAnnotation+`":"`+time.Now().Format(time.RFC3339Nano)+`"}}}`)
	eventually(t, "what is gone from Vault is gone", func(ctx context.Context) error {
		_, err := s.Client.CoreV1().Secrets("shop").Get(ctx, "api", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return errors.Join(errNotYet, err)
		}
		return nil
	})
	for _, of := range []schema.GroupVersionResource{secretsv1alpha1.VaultSecrets, secretsv1alpha1.VaultPushes} {
		must(t, s.Dynamic.Resource(of).Namespace("shop").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
		eventually(t, "what was let go is gone", func(ctx context.Context) error {
			all, err := s.list(ctx, of)
			if err != nil || len(all) > 0 {
				return errors.Join(errNotYet, err)
			}
			return nil
		})
	}
}

// useRegistration has configurations and certificates changed by somebody else, and glass broken.
func (s *scene) useRegistration(t *testing.T) {
	ctx := t.Context()
	configurations := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}
	mutating := configurations.GroupVersion().WithResource("mutatingwebhookconfigurations")
	for _, of := range []schema.GroupVersionResource{configurations, mutating} {
		s.merge(t, of, "", "portcullis", `{"webhooks":[]}`)
		eventually(t, "the configuration is healed", s.registered(of))
	}
	s.apply(t, fmt.Sprintf("apiVersion: policy.portcullis.dev/v1alpha1\nkind: BreakGlass\nmetadata: {name: now}\nspec: {reason: a test of rights, mode: Admit, openedBy: %s, until: '%s'}\n", cluster.Admin, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	eventually(t, "nothing is judged while glass is broken", func(ctx context.Context) error {
		if _, err := s.Dynamic.Resource(configurations).Get(ctx, "portcullis", metav1.GetOptions{}); err == nil {
			return errNotYet
		}
		return nil
	})
	must(t, s.Dynamic.Resource(policyv1alpha1.GroupVersion.WithResource("breakglasses")).Delete(ctx, "now", metav1.DeleteOptions{}))
	eventually(t, "the webhook is registered again", s.registered(configurations))
	for _, name := range []string{"portcullis-webhook-ca", "portcullis-webhook-tls"} {
		of := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
		s.merge(t, of, installation.Namespace, name, `{"data":{"tls.crt":"bm9uZQ=="}}`)
		eventually(t, "there is a certificate again in "+name, func(ctx context.Context) error {
			held, err := s.Client.CoreV1().Secrets(installation.Namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil || string(held.Data["tls.crt"]) == "none" {
				return errors.Join(errNotYet, err)
			}
			return nil
		})
	}
}

func (s *scene) registered(configurations schema.GroupVersionResource) func(context.Context) error {
	return func(ctx context.Context) error {
		found, err := s.Dynamic.Resource(configurations).Get(ctx, "portcullis", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if webhooks, _, _ := unstructured.NestedSlice(found.Object, "webhooks"); len(webhooks) == 0 {
			return errNotYet
		}
		return nil
	}
}

// useAudit has reports of both forms written, changed and taken away.
func (s *scene) useAudit(t *testing.T) {
	reports := func(group, version, resource string, there bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s.%s: there are some: %v", resource, group, there), func(ctx context.Context) error {
			all, err := s.list(ctx, schema.GroupVersionResource{Group: group, Version: version, Resource: resource})
			if err != nil || (len(all) > 0) != there {
				return errors.Join(fmt.Errorf("there are %d", len(all)), err)
			}
			return nil
		})
	}
	changed := func(group, version, resource string) {
		t.Helper()
		of := schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
		eventually(t, resource+" about bindings are there", func(ctx context.Context) error {
			all, err := s.list(ctx, of)
			if err != nil || !slices.ContainsFunc(all, func(o unstructured.Unstructured) bool { return strings.Contains(o.GetName(), "clusterrolebindings") }) {
				return errors.Join(errNotYet, err)
			}
			return nil
		})
		binding := fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: owner-%s}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: ServiceAccount, name: vault, namespace: shop}]\n", resource)
		s.apply(t, binding)
		eventually(t, resource+" tell of what is new", func(ctx context.Context) error {
			all, err := s.list(ctx, of)
			if err != nil {
				return err
			}
			for _, report := range all {
				if text, err := json.Marshal(report.Object); err == nil && strings.Contains(string(text), "owner-"+resource) {
					return nil
				}
			}
			return fmt.Errorf("none of %d does", len(all))
		})
	}
	reports("wgpolicyk8s.io", "v1alpha2", "policyreports", true)
	changed("wgpolicyk8s.io", "v1alpha2", "clusterpolicyreports")
	must(t, s.Apply(t.Context(), "", s.values("openreports")))
	must(t, s.WaitUntilRolledOut(t.Context()))
	reports("openreports.io", "v1alpha1", "reports", true)
	changed("openreports.io", "v1alpha1", "clusterreports")
}

func lines[T fmt.Stringer](all []T) string {
	var text bytes.Buffer
	for _, one := range all {
		fmt.Fprintf(&text, "  %s\n", one)
	}
	return text.String()
}

// TestNoRightIsUnused has the programs do what they do, and compares with what their accounts may.
func TestNoRightIsUnused(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a control plane and everything on it")
	}
	s := newScene(t)
	for _, part := range []struct {
		name string
		use  func(*testing.T)
	}{
		{"bundles", s.useBundles}, {"webhook", s.useWebhook}, {"scanner", s.useScanner}, {"secrets", s.useSecrets}, {"audit", s.useAudit}, {"responder", s.useResponder},
		{"changed secrets", s.changeSecrets}, {"registration", s.useRegistration},
	} {
		began := time.Now()
		t.Run(part.name, part.use)
		t.Logf("%s took %.1f s", part.name, time.Since(began).Seconds())
	}
	s.compare(t)
}
