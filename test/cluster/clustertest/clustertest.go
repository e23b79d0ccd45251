// Package clustertest starts API servers for tests that need little of one, and waits for what other programs do there.
package clustertest

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

// Start runs an API server without controllers until the test ends, and creates objects in it. It gives the administrator's
// client and kubeconfig file. A short test is skipped.
func Start(t testing.TB, users []cluster.User, manifests ...[]byte) (control *cluster.Cluster, admin dynamic.Interface, kubeconfig string) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts an API server")
	}
	control, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir(), WithoutControllers: true, Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = control.Stop() })
	config, err := control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	creator, err := cluster.NewCreator(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, objects := range manifests {
		if _, err := creator.Create(t.Context(), objects, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if admin, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if kubeconfig, err = control.Kubeconfig(cluster.Admin); err != nil {
		t.Fatal(err)
	}
	return control, admin, kubeconfig
}

// Serving waits until custom resources that were just created are served.
func Serving(t testing.TB, client dynamic.Interface, resources ...schema.GroupVersionResource) {
	t.Helper()
	for _, resource := range resources {
		Eventually(t, "serving "+resource.Resource, func() error {
			_, err := client.Resource(resource).List(t.Context(), metav1.ListOptions{})
			return err
		})
	}
}

// patience is for a machine that does much else.
const patience = 2 * time.Minute

// Eventually waits until a condition holds, and fails the test with what is still wrong when it does not.
func Eventually(t testing.TB, what string, condition func() error) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("in %s this did not happen: %s: %v", patience, what, err)
		}
	}
}

// errNotYet is all that is known of what is not done.
var errNotYet = errors.New("not yet")

// Until is [Eventually] for what is done or not.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	Eventually(t, what, func() error {
		if done() {
			return nil
		}
		return errNotYet
	})
}
