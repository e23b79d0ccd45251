package doctor

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// TestEachCheckSeesWhatIsBroken breaks an installation on purpose, thing by thing, and mends it again.
func TestEachCheckSeesWhatIsBroken(t *testing.T) {
	c := newClinic(t)
	t.Run("a healthy installation is fine", func(t *testing.T) {
		results := c.look("admin")
		for name, result := range results {
			// What etcd holds cannot be seen in a test.
			if want := map[string]State{"encryption-at-rest": Unknown}[name]; result.State != OK && (want != Unknown || name != "encryption-at-rest") {
				t.Errorf("%s is %s:\n%s", name, result.State, result.text())
			}
		}
	})
	t.Run("whoever has the doctor's roles sees all of it", func(t *testing.T) {
		for name, result := range c.look("ann") {
			for _, o := range result.Observations {
				if strings.Contains(o.Seen, "You may not") || strings.Contains(o.Seen, "keep you from") || o.State == Unknown && name != "encryption-at-rest" {
					t.Errorf("%s: %s", name, o.Seen)
				}
			}
		}
	})
	t.Run("whoever may nothing is told so, and not that all is well", func(t *testing.T) {
		seen := []string{"api-server", "clock", "registry"} // which every user may
		for name, result := range c.look("bob") {
			if result.State != Unknown && !slices.Contains(seen, name) {
				t.Errorf("%s is %s:\n%s", name, result.State, result.text())
			}
		}
	})
	for _, name := range slices.Sorted(maps.Keys(breakages)) {
		b := breakages[name]
		t.Run(name, func(t *testing.T) {
			c.t = t
			mend := b.broken(c)
			result := c.lookUntil(b.check, func(r Result) bool { return r.State == b.state && strings.Contains(r.text(), b.says) })
			if result.State != b.state || !strings.Contains(result.text(), b.says) {
				t.Errorf("broken: got %s, want %s and %q:\n%s", result.State, b.state, b.says, result.text())
			}
			for _, o := range result.Observations {
				if o.State != OK && o.Next == "" {
					t.Errorf("%q has no next step", o.Seen)
				}
			}
			mend()
			if result := c.lookUntil(b.check, func(r Result) bool { return r.State == OK }); result.State != OK {
				t.Errorf("mended: got %s:\n%s", result.State, result.text())
			}
		})
	}
}

// lookUntil lets one check look until it sees what is wanted, for some seconds: the API server notices changes of who is to be asked a moment later.
func (c *clinic) lookUntil(check string, wanted func(Result) bool) Result {
	c.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		result := c.look("admin", check)[check]
		if wanted(result) || time.Now().After(deadline) {
			return result
		}
	}
}

// breakage is one thing that is broken on purpose.
type breakage struct {
	check  string
	broken func(*clinic) (mend func())
	state  State
	says   string
}

var breakages = map[string]breakage{
	"a definition is gone": {"custom-resources", func(c *clinic) func() {
		return c.replace(definitionsResource, "", "vaultpushes.secrets.portcullis.dev", nil)
	}, Problem, "vaultpushes.secrets.portcullis.dev"},
	"a definition lost a field": {"custom-resources", func(c *clinic) func() {
		return c.replace(definitionsResource, "", "policyexceptions.policy.portcullis.dev", func(o *unstructured.Unstructured) {
			versions, _, _ := unstructured.NestedSlice(o.Object, "spec", "versions")
			unstructured.RemoveNestedField(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties", "owner")
			required, _, _ := unstructured.NestedStringSlice(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "required")
			required = slices.DeleteFunc(required, func(s string) bool { return s == "owner" })
			_ = unstructured.SetNestedStringSlice(versions[0].(map[string]any), required, "schema", "openAPIV3Schema", "properties", "spec", "required")
			_ = unstructured.SetNestedSlice(o.Object, versions, "spec", "versions")
		})
	}, Problem, "drops spec.owner"},
	"one replica of two is ready": {"replicas", func(c *clinic) func() {
		return c.status("deployments", "portcullis-webhook", `{"status":{"readyReplicas":1,"availableReplicas":1}}`, `{"status":{"readyReplicas":2,"availableReplicas":2}}`)
	}, Warning, "1 of 2 replicas of portcullis-webhook are ready"},
	"no replica is ready": {"replicas", func(c *clinic) func() {
		return c.status("deployments", "portcullis-webhook", `{"status":{"readyReplicas":null,"availableReplicas":null}}`, `{"status":{"readyReplicas":2,"availableReplicas":2}}`)
	}, Problem, "No replica of portcullis-webhook is ready, of 2"},
	"a container was killed for want of memory": {"replicas", func(c *clinic) func() {
		bad := `{"status":{"containerStatuses":[{"name":"portcullis-webhook","image":"x","imageID":"x","restartCount":9,"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}}`
		undo := c.status("pods", "portcullis-webhook-0", bad, `{"status":{"containerStatuses":null}}`)
		unready := c.status("deployments", "portcullis-webhook", `{"status":{"readyReplicas":1,"availableReplicas":1}}`, `{"status":{"readyReplicas":2,"availableReplicas":2}}`)
		return func() { undo(); unready() }
	}, Warning, "was killed for want of memory (9 restarts)"},
	"there is no disruption budget": {"replicas", func(c *clinic) func() {
		return c.replace(schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}, own, "portcullis-webhook", nil)
	}, Warning, "No disruption budget"},
	"a replica cannot read facts": {"readiness", func(c *clinic) func() {
		return c.says(installation.Webhook, "", "[+] bundle ok\n[!] facts: ingresses: forbidden\n")
	}, Warning, "facts: ingresses: forbidden"},
	"a replica is not ready": {"readiness", func(c *clinic) func() {
		return c.says(installation.Webhook, "", "[-] bundle failed: signature\n")
	}, Problem, "bundle failed: signature"},
	"the validating configuration is gone": {"webhook-configuration", func(c *clinic) func() {
		return c.replace(admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations"), "", "portcullis", nil)
	}, Problem, "nothing is judged"},
	"an entry fails open": {"webhook-configuration", func(c *clinic) func() {
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) {
			w.FailurePolicy = new(admissionregistrationv1.Ignore)
		})
	}, Problem, "while the webhook is down, everything is admitted"},
	"an entry lost its rule for pods": {"webhook-configuration", func(c *clinic) func() {
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) {
			for n := range w.Rules {
				w.Rules[n].Resources = slices.DeleteFunc(w.Rules[n].Resources, func(s string) bool { return s == "pods" })
			}
			w.Rules = slices.DeleteFunc(w.Rules, func(r admissionregistrationv1.RuleWithOperations) bool { return len(r.Resources) == 0 })
		})
	}, Problem, "CREATE pods (validating)"},
	"an entry waits for half a minute": {"webhook-configuration", func(c *clinic) func() {
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) { w.TimeoutSeconds = new(int32(30)) })
	}, Warning, "waits 30 s"},
	"the webhook does not answer": {"webhook-reachable", func(c *clinic) func() {
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) {
			w.ClientConfig.URL = new("https://127.0.0.1:1/validate")
		})
	}, Problem, "cannot ask the webhook"},
	"the webhook's certificate is of another authority": {"webhook-reachable", func(c *clinic) func() {
		other := newAuthority(c.t).pem()
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) { w.ClientConfig.CABundle = other })
	}, Problem, "portcullis doctor --only certificates"},
	"nobody asks the webhook about deployments": {"webhook-reachable", func(c *clinic) func() {
		return c.replace(admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations"), "", "portcullis", nil)
	}, Problem, "no webhook was asked"},
	"the entries trust different authorities": {"certificates", func(c *clinic) func() {
		other := newAuthority(c.t).pem()
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) { w.ClientConfig.CABundle = other })
	}, Problem, "trust different authorities"},
	"the certificate was signed by somebody else": {"certificates", func(c *clinic) func() {
		return c.serving(newAuthority(c.t).issue(c.t, time.Now().AddDate(1, 0, 0), "portcullis-webhook."+own+".svc").Certificate[0])
	}, Problem, "not signed by the authority"},
	"the certificate ends within the week": {"certificates", func(c *clinic) func() {
		return c.serving(c.ca.issue(c.t, time.Now().AddDate(0, 0, 3), "portcullis-webhook."+own+".svc").Certificate[0])
	}, Warning, "nobody has replaced it"},
	"the certificate has ended": {"certificates", func(c *clinic) func() {
		return c.serving(c.ca.issue(c.t, time.Now().Add(-time.Hour), "portcullis-webhook."+own+".svc").Certificate[0])
	}, Problem, "has ended"},
	"a pod serves by an old certificate": {"certificates", func(c *clinic) func() {
		return c.says(installation.Webhook, fmt.Sprintf("portcullis_webhook_certificate_expiry_timestamp_seconds %d\n", time.Now().Add(-time.Minute).Unix()), "")
	}, Problem, "serves by has ended"},
	"the webhook answers everybody": {"caller-mode", func(c *clinic) func() {
		return c.arguments(installation.Webhook, "--caller=open")
	}, Warning, "--caller=open"},
	"a namespace can be labelled out": {"exemptions", func(c *clinic) func() {
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) {
			w.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "skip", Operator: metav1.LabelSelectorOpDoesNotExist}}}
		})
	}, Problem, "whoever may label a namespace takes it out"},
	"an object can be labelled out": {"exemptions", func(c *clinic) func() {
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) {
			w.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"judge": "me"}}
		})
	}, Problem, "chooses whether it is judged"},
	"a match condition was added": {"exemptions", func(c *clinic) func() {
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) {
			w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{Name: "not-ann", Expression: "request.userInfo.username != 'ann'"})
		})
	}, Problem, "none of Portcullis's: not-ann"},
	"a match condition was widened": {"exemptions", func(c *clinic) func() {
		return c.entry(func(w *admissionregistrationv1.ValidatingWebhook) {
			for n := range w.MatchConditions {
				if w.MatchConditions[n].Name == "not-api-server" {
					w.MatchConditions[n].Expression = "!('system:authenticated' in request.userInfo.groups)"
				}
			}
		})
	}, Problem, "was changed"},
	"another webhook keeps our pods from starting": {"other-webhooks", func(c *clinic) func() {
		side, path := admissionregistrationv1.SideEffectClassNone, "/"
		other := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "others"}, Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "pods.example.com", SideEffects: &side, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: "default", Name: "gone", Path: &path}},
			Rules:        []admissionregistrationv1.RuleWithOperations{{Operations: []admissionregistrationv1.OperationType{"CREATE"}, Rule: admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
		}}}
		must(c.t, create(c.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(c.ctx, other, metav1.CreateOptions{})))
		return func() {
			must(c.t, c.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(c.ctx, "others", metav1.DeleteOptions{}))
		}
	}, Problem, "no pod of Portcullis can start"},
	"the webhook judges by bundles, and there is none": {"bundles", func(c *clinic) func() {
		return c.arguments(installation.Webhook, "--bundle=cluster")
	}, Problem, "there is none"},
	"a bundle has no active revision": {"bundles", func(c *clinic) func() {
		undo := c.arguments(installation.Webhook, "--bundle=cluster")
		made := c.custom(policiesv1alpha1.Bundles, "", `{"apiVersion":"policy.portcullis.dev/v1alpha1","kind":"PolicyBundle","metadata":{"name":"prod"},"spec":{"source":{"oci":{"repository":"registry.invalid/p","tag":"v1"}},"verification":{"insecureUnsigned":true}}}`)
		return func() { made(); undo() }
	}, Problem, "The bundle prod has no active revision"},
	"an exception has expired": {"exceptions", func(c *clinic) func() {
		return c.custom(policiesv1alpha1.Exceptions, "default", `{"apiVersion":"policy.portcullis.dev/v1alpha1","kind":"PolicyException","metadata":{"name":"old","namespace":"default"},"spec":{"policy":"pods/privileged","selector":{"namespaces":["default"],"names":["web-*"]},"reason":"A migration of last year.","owner":"ann@example.com","expires":"2024-01-31"}}`)
	}, Warning, "expired"},
	"somebody has broken the glass": {"break-glass", func(c *clinic) func() {
		return c.custom(breakGlasses(), "", fmt.Sprintf(`{"apiVersion":"policy.portcullis.dev/v1alpha1","kind":"BreakGlass","metadata":{"name":"tonight"},"spec":{"reason":"The webhook does not start.","until":%q,"openedBy":"admin"}}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	}, Warning, "has broken the glass"},
	"the glass is broken by hand": {"break-glass", func(c *clinic) func() {
		return c.replace(admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations"), "", "portcullis", func(o *unstructured.Unstructured) {
			o.SetAnnotations(map[string]string{policiesv1alpha1.BreakGlassUntilAnnotation: time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
		})
	}, Problem, "by hand"},
	"a role was not bound": {"permissions", func(c *clinic) func() {
		return c.unjudged(func() func() {
			return c.replace(rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings"), "", "portcullis-controller-0", nil)
		})
	}, Problem, "portcullis-controller (portcullis-controller) may not: create events.events.k8s.io"},
	"a program may do everything": {"permissions", func(c *clinic) func() {
		return c.unjudged(func() func() {
			return c.custom(rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings"), "", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"too-much"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"ServiceAccount","namespace":"portcullis-system","name":"portcullis-webhook"}]}`)
		})
	}, Warning, "may do more than it needs: * *.*"},
	"nobody renews a lease": {"leases", func(c *clinic) func() {
		lease := schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
		return c.replace(lease, own, "portcullis-responder", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, int64(15), "spec", "leaseDurationSeconds")
			_ = unstructured.SetNestedField(o.Object, time.Now().Add(-time.Hour).UTC().Format(metav1.RFC3339Micro), "spec", "renewTime")
		})
	}, Problem, "does not act"},
	"a lease is held by nobody that lives": {"leases", func(c *clinic) func() {
		lease := schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
		return c.replace(lease, own, "portcullis-secrets", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, "somebody-else", "spec", "holderIdentity")
		})
	}, Warning, "which is no pod of portcullis-secrets"},
	"a holder's clock is ahead": {"clock", func(c *clinic) func() {
		lease := schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
		return c.replace(lease, own, "portcullis-secrets", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, time.Now().Add(10*time.Minute).UTC().Format(metav1.RFC3339Micro), "spec", "renewTime")
		})
	}, Problem, "ahead of that of the API server"},
	"a journal lost lines": {"journal", func(c *clinic) func() {
		return c.says(installation.Webhook, "portcullis_journal_lines_total 7\nportcullis_journal_dropped_total{reason=\"full\"} 4\n", "")
	}, Problem, "has lost 4 lines of its journal since it started (full)"},
	"the guard denies nothing": {"guard", func(c *clinic) func() {
		return c.replace(admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicybindings"), "", "portcullis-break-glass", nil)
	}, Problem, "denies nothing"},
	"the namespace is not held to the restricted standard": {"guard", func(c *clinic) func() {
		return c.replace(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "", own, func(o *unstructured.Unstructured) {
			o.SetLabels(map[string]string{"kubernetes.io/metadata.name": own})
		})
	}, Warning, "restricted"},
	"Vault is sealed": {"vault", func(c *clinic) func() {
		made := c.custom(secretsv1alpha1.VaultConnections, "", `{"apiVersion":"secrets.portcullis.dev/v1alpha1","kind":"VaultConnection","metadata":{"name":"main"},"spec":{"address":"https://vault.example.com:8200"}}`)
		c.patch(secretsv1alpha1.VaultConnections, "", "main", "status", `{"status":{"sealed":true,"conditions":[{"type":"Ready","status":"False","reason":"Sealed","message":"it is sealed","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`)
		return made
	}, Problem, "is sealed"},
	"a sensor is silent": {"falco", func(c *clinic) func() {
		return c.says(installation.Responder, fmt.Sprintf("portcullis_falco_sensor_last_seen_timestamp_seconds{sensor=\"node-7\"} %d\n", time.Now().Add(-3*time.Hour).Unix()), "")
	}, Problem, "node-7 (3h ago)"},
	"events of Falco were lost": {"falco", func(c *clinic) func() {
		return c.says(installation.Responder, healthy(installation.Responder)+"portcullis_falco_events_dropped_total{reason=\"full\",priority=\"Critical\"} 3\n", "")
	}, Problem, "has lost 3 events of priority Critical (full)"},
	"a quarantine waits for approval": {"quarantines", func(c *clinic) func() {
		made := c.custom(runtimev1alpha1.Quarantines, "", strings.ReplaceAll(quarantine, "NAME", quarantineName))
		c.patch(runtimev1alpha1.Quarantines, "", quarantineName, "status", `{"status":{"phase":"AwaitingApproval"}}`)
		return made
	}, Warning, "portcullis quarantine approve q-"},
	"the database is old": {"vulnerability-database", func(c *clinic) func() {
		return c.says(installation.Scanner, fmt.Sprintf("portcullis_scanner_database_timestamp_seconds %d\n", time.Now().AddDate(0, 0, -9).Unix()), "")
	}, Problem, "was made 9d ago"},
	"two versions run": {"versions", func(c *clinic) func() {
		return c.says(installation.Webhook, "portcullis_build_info{version=\"v0.0.1\"} 1\n", "")
	}, Warning, "Several versions run: devel, v0.0.1"},
}

// quarantineName is q- and 20 digits of the SHA-256 of the pod's UID.
var quarantineName = fmt.Sprintf("q-%x", sha256.Sum256([]byte("5f1c0d2e-9b7a-44c1-93e8-000000000000")))[:22]

const quarantine = `{"apiVersion":"runtime.portcullis.dev/v1alpha1","kind":"Quarantine","metadata":{"name":"NAME"},"spec":{"pod":{"namespace":"shop","name":"web","uid":"5f1c0d2e-9b7a-44c1-93e8-000000000000"},"mode":"approve","triggers":[{"policy":"runtime/crypto-miner","message":"it mines","event":"e-1","rule":"Crypto miner","priority":"critical","time":"2026-01-01T00:00:00.000000Z"}],"actions":[{"policy":"runtime/crypto-miner","message":"it mines","mode":"approve","action":"isolate"}]}}`

// replace changes an object, or deletes it where change is nil. What it gives puts the object back as it was.
func (c *clinic) replace(resource schema.GroupVersionResource, namespace, name string, change func(*unstructured.Unstructured)) func() {
	c.t.Helper()
	client := c.dynamic.Resource(resource).Namespace(namespace)
	was, err := client.Get(c.ctx, name, metav1.GetOptions{})
	must(c.t, err)
	again := was.DeepCopy()
	again.SetResourceVersion("")
	again.SetUID("")
	if change == nil {
		must(c.t, client.Delete(c.ctx, name, metav1.DeleteOptions{}))
		return func() {
			c.eventually("creating "+name+" again", func() error { return create(client.Create(c.ctx, again, metav1.CreateOptions{})) })
			c.served(resource, name)
		}
	}
	changed := was.DeepCopy()
	change(changed)
	must(c.t, create(client.Update(c.ctx, changed, metav1.UpdateOptions{})))
	return func() {
		now, err := client.Get(c.ctx, name, metav1.GetOptions{})
		must(c.t, err)
		again.SetResourceVersion(now.GetResourceVersion())
		again.SetUID(now.GetUID())
		must(c.t, create(client.Update(c.ctx, again, metav1.UpdateOptions{})))
	}
}

// custom creates an object, and gives what deletes it.
func (c *clinic) custom(resource schema.GroupVersionResource, namespace, manifest string) func() {
	c.t.Helper()
	var object unstructured.Unstructured
	must(c.t, json.Unmarshal([]byte(manifest), &object.Object))
	client := c.dynamic.Resource(resource).Namespace(namespace)
	must(c.t, create(client.Create(c.ctx, &object, metav1.CreateOptions{})))
	return func() { must(c.t, client.Delete(c.ctx, object.GetName(), metav1.DeleteOptions{})) }
}

func (c *clinic) patch(resource schema.GroupVersionResource, namespace, name, subresource, patch string) {
	c.t.Helper()
	var sub []string
	if subresource != "" {
		sub = []string{subresource}
	}
	must(c.t, create(c.dynamic.Resource(resource).Namespace(namespace).Patch(c.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, sub...)))
}

// unjudged makes a change that policies about roles would not take: the webhook of a test knows no roles.
func (c *clinic) unjudged(change func() func()) func() {
	c.t.Helper()
	quietly := func(do func()) {
		register := c.replace(admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations"), "", "portcullis", nil)
		c.eventually("the API server asks nobody", func() error {
			return create(c.client.AppsV1().Deployments("default").Create(c.ctx, probe("default"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}))
		})
		do()
		register()
	}
	var mend func()
	quietly(func() { mend = change() })
	return func() { quietly(mend) }
}

// status patches the status of a Deployment or a pod of ours.
func (c *clinic) status(resource, name, broken, mended string) func() {
	c.t.Helper()
	of := schema.GroupVersionResource{Version: "v1", Resource: resource}
	if resource == "deployments" {
		of.Group = "apps"
	}
	c.patch(of, own, name, "status", broken)
	return func() { c.patch(of, own, name, "status", mended) }
}

// entry changes all entries fail… of the validating configuration.
func (c *clinic) entry(change func(*admissionregistrationv1.ValidatingWebhook)) func() {
	c.t.Helper()
	client := c.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	was, err := client.Get(c.ctx, "portcullis", metav1.GetOptions{})
	must(c.t, err)
	changed := was.DeepCopy()
	for n := range changed.Webhooks {
		if strings.HasPrefix(changed.Webhooks[n].Name, "fail") {
			change(&changed.Webhooks[n])
		}
	}
	must(c.t, create(client.Update(c.ctx, changed, metav1.UpdateOptions{})))
	return func() {
		now, err := client.Get(c.ctx, "portcullis", metav1.GetOptions{})
		must(c.t, err)
		now.Webhooks = was.Webhooks
		must(c.t, create(client.Update(c.ctx, now, metav1.UpdateOptions{})))
	}
}

// serving puts another certificate into the Secret.
func (c *clinic) serving(der []byte) func() {
	c.t.Helper()
	secrets := c.client.CoreV1().Secrets(own)
	was, err := secrets.Get(c.ctx, servingSecret, metav1.GetOptions{})
	must(c.t, err)
	changed := was.DeepCopy()
	changed.Data["tls.crt"] = certificatePEM(der)
	must(c.t, create(secrets.Update(c.ctx, changed, metav1.UpdateOptions{})))
	return func() {
		now, err := secrets.Get(c.ctx, servingSecret, metav1.GetOptions{})
		must(c.t, err)
		now.Data = was.Data
		must(c.t, create(secrets.Update(c.ctx, now, metav1.UpdateOptions{})))
	}
}

// arguments adds one to those of a program's Deployment.
func (c *clinic) arguments(component installation.Component, more string) func() {
	c.t.Helper()
	of := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	undo := c.replace(of, own, component.Program(), func(o *unstructured.Unstructured) {
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		first := containers[0].(map[string]any)
		first["args"] = append(first["args"].([]any), more)
		_ = unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers")
	})
	return undo
}
