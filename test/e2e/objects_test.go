package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"
)

// goodPod satisfies the restricted profile. What a test is about is changed in it.
const goodPod = `
apiVersion: v1
kind: Pod
metadata:
  name: good
  labels: {app: good}
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    seccompProfile: {type: RuntimeDefault}
  containers:
  - name: app
    image: registry.example.com/team/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    resources:
      requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 16Mi}
      limits: {cpu: 100m, memory: 32Mi, ephemeral-storage: 32Mi}
    livenessProbe: {tcpSocket: {port: 8080}}
    readinessProbe: {tcpSocket: {port: 8080}}
`

// pod is goodPod under another name, changed by each of the functions.
func pod(t *testing.T, name string, changes ...func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	made := parse[corev1.Pod](t, goodPod)
	made.Name = name
	for _, change := range changes {
		change(made)
	}
	return made
}

func privileged(pod *corev1.Pod) {
	yes := true
	pod.Spec.Containers[0].SecurityContext.Privileged = &yes
	pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
}

// parse reads YAML strictly: a field that the type does not have is a mistake of the test.
func parse[T any](t *testing.T, text string) *T {
	t.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		t.Fatalf("reading a manifest of the test: %v\n%s", err, text)
	}
	return object
}

// wantDenied checks that it was our webhook that denied a request, and that the
// reason holds each of the words.
func wantDenied(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("the request was admitted, want it denied because of %q", words)
		return
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !strings.Contains(err.Error(), "admission webhook") {
		t.Errorf("got %v, want a denial by the webhook because of %q", err, words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the reason does not say %q:\n%v", word, err)
		}
	}
}

// wantAdmitted checks that a request passed.
func wantAdmitted(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("got %v, want the request admitted", err)
	}
}

// must stops a test whose preparation failed.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustReturn is must for calls that return something as well.
func mustReturn[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return value
	}
}

// eventually polls a condition, whose error says what is missing.
func eventually(t *testing.T, condition func(context.Context) error) {
	t.Helper()
	var missing error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		missing = condition(ctx)
		return missing == nil, nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, missing)
	}
}
