package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/process"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// ownNamespace is where the controller has its Lease.
const ownNamespace = "portcullis-system"

// journal is the folder where the webhook keeps its decisions.
func (t *tour) journal() string { return filepath.Join(t.dir, "journal") }

// quietly runs a program whose output is not to be shown.
func (t *tour) quietly(ctx context.Context, program string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(t.dir, "bin", program), args...).Output()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w", typed(program, args), err)
	}
	return out, nil
}

// createBundle creates the PolicyBundle, with the verification that was used at the command line.
func (t *tour) createBundle(ctx context.Context) error {
	verification, err := os.ReadFile(filepath.Join(t.dir, "verification.yaml"))
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(t.authority.File)
	if err != nil {
		return err
	}
	manifest := fmt.Sprintf(`apiVersion: policy.portcullis.dev/v1alpha1
kind: PolicyBundle
metadata: {name: %s}
spec:
  source:
    git:
      url: %s
      branch: main
      caBundle: |
%s
  interval: 10s
  verification:
%s
`, bundleName, t.git.URL(bundleName), indent("        ", string(authority)), indent("    ", string(verification)))
	t.say("kubectl create -f -")
	t.show(strings.Replace(manifest, indent("        ", string(authority)), "        …", 1))
	config, err := t.control.Config(cluster.Admin)
	if err != nil {
		return err
	}
	// The API server serves a new kind a moment after it is defined, and a client asks it once which kinds there are.
	return t.soon(ctx, func(ctx context.Context) error {
		creator, err := cluster.NewCreator(config)
		if err == nil {
			_, err = creator.Create(ctx, []byte(manifest), metav1.CreateOptions{})
		}
		return err
	})
}

func indent(by, text string) string {
	return by + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+by)
}

func (t *tour) startController(ctx context.Context) error {
	probes, err := address()
	if err != nil {
		return err
	}
	kubeconfig, err := t.control.Kubeconfig(cluster.Admin)
	if err != nil {
		return err
	}
	args := []string{"serve", "--kubeconfig=" + kubeconfig, "--namespace=" + ownNamespace, "--probes=" + probes, "--allow-registry=127.0.0.0/8"}
	t.say("portcullis-controller serve --namespace=%s --allow-registry=127.0.0.0/8", ownNamespace)
	t.controller, err = process.Start(process.Command{
		Name: "portcullis-controller", Path: filepath.Join(t.dir, "bin", "portcullis-controller"), Args: args, LogFile: filepath.Join(t.dir, "controller.log"),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second}
	return t.controller.WaitUntil(ctx, func(ctx context.Context) error { return programs.Probe(ctx, client, "http://"+probes+"/readyz") })
}

func (t *tour) startWebhook(ctx context.Context) error {
	options := programs.WebhookOptions{
		Dir: filepath.Join(t.dir, "bin"), Name: "portcullis-webhook", Bundle: "cluster", LogFile: filepath.Join(t.dir, "webhook.log"),
		ClientCAFile: t.control.WebhookClientCAFile, ClientName: cluster.WebhookClientName,
		Args: []string{"--journal=" + t.journal()},
	}
	var err error
	if options.Listen, err = address(); err != nil {
		return err
	}
	if options.Probes, err = address(); err != nil {
		return err
	}
	if options.Serving, err = t.control.ServingCertificate("portcullis-webhook"); err != nil {
		return err
	}
	if options.Kubeconfig, err = t.control.Kubeconfig(cluster.Admin); err != nil {
		return err
	}
	t.say("portcullis-webhook --bundle=cluster --journal=journal")
	if t.webhook, err = programs.StartWebhook(ctx, options); err != nil {
		return err
	}
	printed, err := programs.PrintConfig(ctx, programs.ConfigOptions{
		Dir: options.Dir, Name: "portcullis", Bundle: t.work, URL: "https://" + options.Listen, CAFile: t.control.CAFile,
	})
	if err != nil {
		return err
	}
	if _, err := t.creator.Create(ctx, printed, metav1.CreateOptions{}); err != nil {
		return err
	}
	return t.soon(ctx, func(ctx context.Context) error {
		return t.tryPod(ctx, pod{namespace: "shop", privileged: true}, "pods/privileged")
	})
}

func address() (string, error) {
	port, err := cluster.FreePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

func (t *tour) bundle(ctx context.Context) (v1alpha1.PolicyBundle, error) {
	var bundle v1alpha1.PolicyBundle
	object, err := t.dynamic.Resource(v1alpha1.Bundles).Get(ctx, bundleName, metav1.GetOptions{})
	if err == nil {
		err = k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &bundle)
	}
	return bundle, err
}

func (t *tour) patchBundle(ctx context.Context, patch string) error {
	_, err := t.dynamic.Resource(v1alpha1.Bundles).Patch(ctx, bundleName, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// waitFor waits until the PolicyBundle's status is as told, and shows it.
func (t *tour) waitFor(what string, told func(v1alpha1.PolicyBundleStatus) bool) part {
	return func(ctx context.Context) error { return t.wait(ctx, what, told) }
}

func (t *tour) wait(ctx context.Context, what string, told func(v1alpha1.PolicyBundleStatus) bool) error {
	t.say("%s:", what)
	var status v1alpha1.PolicyBundleStatus
	err := t.soon(ctx, func(ctx context.Context) error {
		bundle, err := t.bundle(ctx)
		if status = bundle.Status; err != nil || told(status) {
			return err
		}
		text, err := json.Marshal(status)
		return errors.Join(err, fmt.Errorf("the status is %s", text))
	})
	if err != nil {
		return fmt.Errorf("waiting until %s: %w", what, err)
	}
	t.show("status: " + summary(status))
	return nil
}

func summary(status v1alpha1.PolicyBundleStatus) string {
	parts := []string{string(status.Phase)}
	for _, one := range []struct {
		name     string
		revision *v1alpha1.RevisionStatus
	}{{"active", status.Active}, {"candidate", status.Candidate}} {
		if r := one.revision; r != nil {
			parts = append(parts, fmt.Sprintf("%s %s@%d signed by %s", one.name, r.Name, r.Serial, strings.Join(r.Signers, ", ")))
		}
	}
	if status.Replicas > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d replicas ready", status.ReadyReplicas, status.Replicas))
	}
	if c := status.Comparison; c != nil {
		parts = append(parts, fmt.Sprintf("%d requests compared, %d new denials", c.Compared, c.NewDenials))
	}
	if len(status.Rejected) > 0 {
		parts = append(parts, "rejected: "+status.Rejected[0].Reason)
	}
	return strings.Join(parts, "; ")
}

// showHistory shows what has become of the bundle.
func (t *tour) showHistory(ctx context.Context) error {
	bundle, err := t.bundle(ctx)
	if err != nil {
		return err
	}
	t.say("its history, newest first:")
	for _, transition := range bundle.Status.History {
		t.show(fmt.Sprintf("%s  %-12s %.19s  %s", transition.Time.UTC().Format(time.TimeOnly), transition.Step, transition.To, transition.Reason))
	}
	return nil
}

// soon asks again and again until there is no error, or patience ends.
func (t *tour) soon(ctx context.Context, ask func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}

// pod is what pods of the tour differ in.
type pod struct {
	namespace, owner string
	privileged       bool
}

// create creates a pod under a name of its own, and gives what the API server says.
func (t *tour) create(ctx context.Context, p pod) error {
	t.pods++
	labels := map[string]any{"app.kubernetes.io/name": "cart"}
	if p.owner != "" {
		labels["owner"] = p.owner
	}
	security := map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []any{"ALL"}}}
	if p.privileged {
		security = map[string]any{"privileged": true}
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": fmt.Sprintf("cart-%d", t.pods), "namespace": p.namespace, "labels": labels},
		"spec": map[string]any{
			"automountServiceAccountToken": false,
			"securityContext":              map[string]any{"runAsNonRoot": true, "runAsUser": int64(10001), "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
			"containers": []any{map[string]any{
				"name":  "app",
				"image": "registry.example.com/cart@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
				"resources": map[string]any{
					"requests": map[string]any{"cpu": "50m", "memory": "64Mi"},
					"limits":   map[string]any{"cpu": "100m", "memory": "64Mi"},
				},
				"livenessProbe":   map[string]any{"httpGet": map[string]any{"path": "/live", "port": int64(8080)}},
				"readinessProbe":  map[string]any{"httpGet": map[string]any{"path": "/ready", "port": int64(8080)}},
				"securityContext": security,
			}},
		},
	}}
	_, err := t.dynamic.Resource(podResource).Namespace(p.namespace).Create(ctx, object, metav1.CreateOptions{})
	return err
}

var podResource = corev1.SchemeGroupVersion.WithResource("pods")

// wantPod creates a pod. It has to be refused by a policy, or, for "", to be admitted.
func (t *tour) wantPod(what string, p pod, policy string) part {
	return func(ctx context.Context) error { return t.told(what, t.tryPod(ctx, p, policy), policy) }
}

// wantPodSoon is wantPod for what a replica may need a moment to know.
func (t *tour) wantPodSoon(what string, p pod, policy string) part {
	return func(ctx context.Context) error {
		return t.told(what, t.soon(ctx, func(ctx context.Context) error { return t.tryPod(ctx, p, policy) }), policy)
	}
}

func (t *tour) told(what string, err error, policy string) error {
	outcome := "admitted"
	if policy != "" {
		outcome = "refused by " + policy
	}
	if err != nil {
		return fmt.Errorf("%s: want it %s: %w", what, outcome, err)
	}
	t.say("%s: %s", what, outcome)
	return nil
}

func (t *tour) tryPod(ctx context.Context, p pod, policy string) error {
	err := t.create(ctx, p)
	switch {
	case policy == "":
		return err
	case err == nil:
		return errors.New("it was admitted")
	case !strings.Contains(err.Error(), policy):
		return fmt.Errorf("it was refused for something else: %w", err)
	}
	return nil
}
