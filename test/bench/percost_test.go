package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

func TestPolicyCosts(t *testing.T) {
	if os.Getenv("COSTS") == "" {
		t.Skip()
	}
	bundle, _ := policies.Load(library.FS())
	request := podRequest(t)
	type row struct {
		id     string
		allocs float64
		ns     time.Duration
	}
	var rows []row
	for id, policy := range bundle.Policies {
		if policy.Subject.Workload != "any" || len(policy.Reads) > 0 {
			continue
		}
		only, _ := bundle.Only(id, parameters[id])
		e, err := policies.NewEngine(only)
		if err != nil {
			t.Fatal(err)
		}
		f := func() {
			e.Evaluate(context.Background(), request, &policies.Facts{}, time.Now(), policies.PhaseValidate)
		}
		a := testing.AllocsPerRun(50, f)
		best := time.Hour
		for range 10 {
			s := time.Now()
			for range 20 {
				f()
			}
			best = min(best, time.Since(s)/20)
		}
		rows = append(rows, row{id, a, best})
	}
	slices.SortFunc(rows, func(a, b row) int { return int(b.ns - a.ns) })
	for _, r := range rows {
		fmt.Println(r.id, r.allocs, r.ns)
	}
}
