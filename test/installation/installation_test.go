package installation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// installed starts an installation that ends with the test.
func installed(t *testing.T, options Options) *Installation {
	t.Helper()
	if testing.Short() {
		t.Skip("a control plane takes seconds to start")
	}
	options.Dir = t.TempDir()
	i, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(i.Logs(20))
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// eventually polls until something is so.
func eventually(t *testing.T, what string, is func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = is(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, last)
	}
}

var dry = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

func pod(name string, privileged bool) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx"}}}}
	if privileged {
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &privileged}
	}
	return p
}

// TestAnInstallation goes the way of a first installation: no certificate and no configuration is there before the programs run,
// and nobody helps them.
func TestAnInstallation(t *testing.T) {
	i := installed(t, Options{Components: []string{Responder, Secrets, Console}})
	ctx := t.Context()
	pods := i.Client.CoreV1().Pods("default")
	refused := func(ctx context.Context) error {
		if _, err := pods.Create(ctx, pod("bad", true), dry); err == nil || !strings.Contains(err.Error(), "pods/privileged") {
			return fmt.Errorf("no refusal by pods/privileged: %w", errors.Join(errors.New("got"), err))
		}
		return nil
	}
	eventually(t, "a bad pod is refused", refused)
	eventually(t, "a good pod runs", func(ctx context.Context) error {
		good, err := pods.Get(ctx, "good", metav1.GetOptions{})
		if err != nil {
			_, err = pods.Create(ctx, pod("good", false), metav1.CreateOptions{})
			return errors.Join(errors.New("created now"), err)
		}
		if good.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s", good.Status.Phase)
		}
		return nil
	})
	names, err := i.Pods(ctx, Webhook)
	if err != nil || len(names) != 2 {
		t.Fatalf("got pods %v and %v, want two of the webhook", names, err)
	}
	tail := int64(100)
	log, err := i.Client.CoreV1().Pods(Namespace).GetLogs(names[0], &corev1.PodLogOptions{TailLines: &tail}).DoRaw(ctx)
	if err != nil || !strings.Contains(string(log), `"msg":"serving"`) {
		t.Errorf("the log of %s: got %q and %v, want that it serves", names[0], log, err)
	}
	for _, name := range names {
		i.Process(name).Kill()
	}
	eventually(t, "after both replicas crashed they are back", refused)
	if err := i.Upgrade(ctx, "", map[string]any{"webhook": map[string]any{"replicas": 1}}); err != nil {
		t.Errorf("an upgrade: %v", err)
	}
	if err := i.Uninstall(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "after it was uninstalled nobody is asked any more", func(ctx context.Context) error {
		_, err := pods.Create(ctx, pod("bad", true), dry)
		return err
	})
}
