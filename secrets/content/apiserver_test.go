package content

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// What is made, a real API server takes; what is refused because of its rules, it refuses; and where more is asked than it does, that is known.
func TestTheAPIServerTakesWhatIsMadeAndNotWhatIsRefused(t *testing.T) {
	control, _, _ := clustertest.Start(t, nil)
	client, err := control.Client(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	create := func(kind string, content secrets.Data) error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "made"}, Type: corev1.SecretType(kind), Data: map[string][]byte{}}
		for key, value := range content {
			secret.Data[key] = value.Reveal()
		}
		_, err := client.CoreV1().Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	for name, test := range contents() {
		t.Run(name, func(t *testing.T) {
			made, err := Make(t.Context(), test.source, &test.destination)
			if err == nil {
				if err := create(test.destination.Type, made); err != nil {
					t.Errorf("the API server does not take what was made: %v", err)
				}
				return
			}
			switch err := create(test.destination.Type, test.source); {
			case test.apart && err != nil:
				t.Errorf("the API server refuses it, too: %v", err)
			case !test.apart && !apierrors.IsInvalid(err):
				t.Errorf("the API server says %v, want it refused, as here", err)
			}
		})
	}
}
