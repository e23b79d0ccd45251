package registration

import (
	"reflect"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

func TestWhatIsWrittenDownIsReadBack(t *testing.T) {
	m := &memory{
		since: start, service: "uid-1", uninstalled: start.Add(time.Hour), gone: "uid-2",
		openings: []Opening{{Name: "a", Mode: v1alpha1.BreakGlassAdmit, By: "alice", Reason: "x", Since: start, Until: start.Add(time.Hour)}},
		window:   &window{Since: start, Value: "2027-01-01T13:00:00Z"},
	}
	said, err := m.annotations()
	if err != nil {
		t.Fatal(err)
	}
	got := decodeMemory(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: said}})
	got.lease = nil
	if !reflect.DeepEqual(got, m) {
		t.Errorf("got %+v, want %+v", got, m)
	}
}

func FuzzWhatTheLeaseSaysIsReadOrLeftOut(f *testing.F) {
	f.Add("2027-01-01T12:00:00Z", `[{"name":"a"}]`, `{"since":"2027-01-01T12:00:00Z","value":"x"}`)
	f.Add("x", "[", "{")
	f.Fuzz(func(t *testing.T, since, openings, window string) {
		m := decodeMemory(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			sinceAnnotation: since, uninstalledAnnotation: since, openingsAnnotation: openings, windowAnnotation: window,
		}}})
		if _, err := m.annotations(); err != nil {
			t.Skip() // a year that JSON cannot write
		}
		if m.window != nil && m.window.Since.IsZero() {
			t.Error("a window without beginning counts")
		}
	})
}
