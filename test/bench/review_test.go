package bench

import (
	"bytes"
	"testing"
)

func TestTheSetsAreWhatTheirNamesSay(t *testing.T) {
	if err := check(Fifty, 50); err != nil {
		t.Error(err)
	}
	if err := check(Ten, 10); err != nil {
		t.Error(err)
	}
}

func TestEachBodyOfATemplateIsFresh(t *testing.T) {
	for name, template := range map[string]*Template{"pods of one template": SameTemplate(Pod()), "pods that all differ": AllDifferent(Pod()), "leases": Lease()} {
		first := bytes.Clone(template.Next())
		if second := template.Next(); bytes.Equal(first, second) {
			t.Errorf("%s: got the same body twice: %.300s", name, second)
		}
	}
	same, different := len(SameTemplate(Pod()).offsets), len(AllDifferent(Pod()).offsets)
	if same != 2 || different != 4 {
		t.Errorf("numbers in a body: got %d and %d, want 2 and 4: testdata/pod.json has changed", same, different)
	}
	if size := len(Pod()); size < 5_500 || size > 7_000 {
		t.Errorf("the pod has %d bytes: want about 6 KB", size)
	}
}
