package notify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// What a real API server makes of Events: they are valid, and made once.
func TestEventsAreMadeOnceOnThePodItsOwnerAndTheQuarantine(t *testing.T) {
	control, _, _ := clustertest.Start(t, nil, []byte(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}`))
	config, err := control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	to := NewEvents("events", client.EventsV1(), "portcullis-system", strings.Repeat("responder-", 30))
	long := shell(func(q *v1alpha1.Quarantine) {
		q.Status.Verdict = "Residual"
		for n := range 40 {
			q.Status.Residual = append(q.Status.Residual, fmt.Sprintf("egress to anything, TCP %d: NetworkPolicy shop/größe", n))
		}
	})
	m := About(KindContained, long, noon, "All actions were taken.")
	send(t, to, m, m, NewMessage(Details{Kind: KindBreakerOpened, Time: noon, Reason: "more than 50 plans in 1m"}))
	// Of a pod whose namespace is gone there is nobody to tell.
	send(t, to, About(KindReleased, shell(func(q *v1alpha1.Quarantine) { q.Spec.Pod.Namespace, q.Spec.Owner = "gone", nil }), noon, "x"))

	list, err := client.EventsV1().Events(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, event := range list.Items {
		if event.ReportingController != reportingController { // the API server's own
			continue
		}
		got = append(got, fmt.Sprintf("%s %s %s %s in %s", event.Type, event.Reason, event.Regarding.Kind, event.Regarding.Name, event.Namespace))
		checkNote(t, &event)
	}
	slices.Sort(got)
	want := []string{
		"Normal Released Quarantine q-0123456789abcdef0123 in default",
		"Warning BreakerOpened Namespace portcullis-system in default",
		"Warning Contained Deployment web in shop",
		"Warning Contained Pod web-7d9f-abcde in shop",
		"Warning Contained Quarantine q-0123456789abcdef0123 in default",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func checkNote(t *testing.T, event *eventsv1.Event) {
	t.Helper()
	if event.Reason != string(KindContained) {
		return
	}
	if !strings.HasPrefix(event.Note, "Quarantined: pod shop/web-7d9f-abcde: Residual. All actions were taken") || !strings.HasSuffix(event.Note, ellipsis) {
		t.Errorf("note: got %q", event.Note)
	}
	if event.Regarding.Kind == "Pod" && (event.Related == nil || event.Related.Kind != "Quarantine" || event.Regarding.UID == "") {
		t.Errorf("about the pod: got %+v with related %+v, want its UID and the Quarantine", event.Regarding, event.Related)
	}
	if event.Type != corev1.EventTypeWarning {
		t.Errorf("type: got %s, want Warning", event.Type)
	}
}
