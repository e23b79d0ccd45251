package constraints_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/gatekeeper"
	"github.com/portcullis-dev/portcullis/test/bench/constraints"
)

func newSet(t *testing.T, copies int) *constraints.Set {
	t.Helper()
	set, err := constraints.New(os.DirFS("../../../"+constraints.Originals), copies)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestEngineAndPlainOPAJudgeTheSameConstraints(t *testing.T) {
	request, err := constraints.Pod()
	if err != nil {
		t.Fatal(err)
	}
	if size := len(request.Object); size < 5_500 || size > 6_100 {
		t.Errorf("the pod has %d bytes, want about 5.8 KB", size)
	}
	for _, copies := range []int{1, 3} {
		set := newSet(t, copies)
		if got, want := set.Size(), copies*len(set.Kinds); got != want {
			t.Errorf("%d copies: got %d constraints, want %d", copies, got, want)
		}
		engine, err := gatekeeper.Load(set.Files, gatekeeper.Options{})
		if err != nil {
			t.Fatal(err)
		}
		result := engine.Evaluate(t.Context(), request, &policies.Facts{}, time.Now(), policies.PhaseValidate)
		if result.Matched != set.Size() || len(result.Findings)+len(result.Faults)+len(result.Undecided) > 0 {
			t.Errorf("%d copies: got %d constraints and %v %v %v, want %d and nothing", copies, result.Matched, result.Findings, result.Faults, result.Undecided, set.Size())
		}
		plain, err := set.Plain(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := plain.Review(t.Context(), request); err != nil {
			t.Errorf("%d copies: %v", copies, err)
		}
	}
}

func TestBothFindWhatIsWrong(t *testing.T) {
	request, err := constraints.Pod()
	if err != nil {
		t.Fatal(err)
	}
	request.Object = []byte(strings.Replace(string(request.Object), `"allowPrivilegeEscalation":false`, `"privileged":true`, 1))
	set := newSet(t, 2)
	engine, err := gatekeeper.Load(set.Files, gatekeeper.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := engine.Evaluate(context.Background(), request, &policies.Facts{}, time.Now(), policies.PhaseValidate); len(got.Findings) != set.Copies {
		t.Errorf("got %v, want a finding of each copy of the template about privileges", got.Findings)
	}
	plain, err := set.Plain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Review(t.Context(), request); err == nil || !strings.Contains(err.Error(), "rivileged") {
		t.Errorf("got %v, want the violation", err)
	}
}
