package guard

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

func quarantine(uid string, phase v1alpha1.Phase) v1alpha1.Quarantine {
	return v1alpha1.Quarantine{Spec: v1alpha1.QuarantineSpec{Pod: v1alpha1.PodReference{UID: uid}}, Status: v1alpha1.QuarantineStatus{Phase: phase}}
}

func TestOnlyPodsThatAreThereAndQuarantinedCount(t *testing.T) {
	gone := quarantine("gone", v1alpha1.PhaseContained)
	gone.Status.PodGone = true
	got := quarantinedPods([]v1alpha1.Quarantine{
		quarantine("b", v1alpha1.PhaseContained), quarantine("a", v1alpha1.PhaseContaining), quarantine("a", v1alpha1.PhaseReleasing), gone,
		quarantine("audited", v1alpha1.PhaseAudited), quarantine("new", ""), quarantine("waits", v1alpha1.PhaseAwaitingApproval), quarantine("over", v1alpha1.PhaseReleased),
	})
	if fmt.Sprint(got) != "[a b]" {
		t.Errorf("got %v, want [a b]", got)
	}
}

func TestManyPodsAreNotNamed(t *testing.T) {
	var pods []string
	for n := range maxNamed + 1 {
		pods = append(pods, fmt.Sprint(n))
	}
	if got := expression(pods); strings.Contains(got, "exists") || !strings.Contains(got, "pod-uid") {
		t.Errorf("got %s, want the tokens of all pods", got)
	}
	if got := expression([]string{`a'b\`}); !strings.Contains(got, `['a\'b\\']`) {
		t.Errorf("got %s, want the UID quoted", got)
	}
}

const source = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: portcullis}
webhooks:
- name: fail.validate.portcullis.dev
  clientConfig: {url: "https://127.0.0.1:1/validate"}
  rules: [{apiGroups: [""], apiVersions: ["*"], resources: [pods], operations: [CREATE]}]
  sideEffects: None
  admissionReviewVersions: [v1]
  failurePolicy: Ignore
`

// asPod is a client whose requests look as those by the token of a pod.
func asPod(t *testing.T, config *rest.Config, uid string) dynamic.Interface {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:default:default", Groups: []string{"system:masters"},
		Extra: map[string][]string{"authentication.kubernetes.io/pod-uid": {uid}},
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// The webhook of this test does not answer: whoever is sent to it is refused, whoever is not is admitted.
func TestTheAPIServerAsksAboutTokensOfQuarantinedPodsOnly(t *testing.T) {
	control, admin, _ := clustertest.Start(t, nil, []byte(source))
	config, err := control.Config("admin")
	if err != nil {
		t.Fatal(err)
	}
	write := func(client dynamic.Interface) error {
		object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"generateName": "x-"}}}
		_, err := client.Resource(configMaps).Namespace("default").Create(t.Context(), object, metav1.CreateOptions{})
		return err
	}
	guard := New(admin, Options{})
	sync := func(quarantines ...v1alpha1.Quarantine) {
		t.Helper()
		if err := guard.Sync(context.Background(), quarantines); err != nil {
			t.Fatal(err)
		}
	}
	version := func() string {
		object, err := admin.Resource(configurations).Get(t.Context(), DefaultName, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		return object.GetResourceVersion()
	}
	held, free := asPod(t, config, "u-1"), asPod(t, config, "u-2")

	sync(quarantine("u-1", v1alpha1.PhaseContained))
	clustertest.Eventually(t, "refusing the quarantined pod", func() error {
		if err := write(held); err == nil || !strings.Contains(err.Error(), "quarantined-tokens.runtime.portcullis.dev") {
			return fmt.Errorf("got %v, want a refusal by our entry", err)
		}
		return nil
	})
	for name, client := range map[string]dynamic.Interface{"another pod": free, "a person": admin} {
		if err := write(client); err != nil {
			t.Errorf("%s: got %v, want it admitted", name, err)
		}
	}
	before := version()
	sync(quarantine("u-1", v1alpha1.PhaseContained))
	if got := version(); got != before {
		t.Errorf("got version %s, want %s: nothing has changed", got, before)
	}
	sync(quarantine("u-1", v1alpha1.PhaseReleased))
	clustertest.Eventually(t, "admitting the released pod", func() error { return write(held) })
	if got := version(); !strings.Contains(got, "not found") {
		t.Errorf("got version %s, want no configuration", got)
	}
}

func TestWithoutOurWebhookThatIsSaid(t *testing.T) {
	_, admin, _ := clustertest.Start(t, nil)
	err := New(admin, Options{}).Sync(t.Context(), []v1alpha1.Quarantine{quarantine("u-1", v1alpha1.PhaseContained)})
	if err == nil || !strings.Contains(err.Error(), "there is no ValidatingWebhookConfiguration portcullis") {
		t.Errorf("got %v, want a word on the missing configuration", err)
	}
}

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
