package bench

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// budgetLineup is what a lineup may cost that has a single bundle, beside its engine: nothing but what one run differs from another.
const budgetLineup = 1.05

// podRequest is the creation of a pod.
func podRequest(object []byte) admission.Request {
	return admission.Request{
		Door: admission.DoorAdmission, UID: "7f0c2b0e-5d5e-4f39-9a53-000000000000", Operation: "CREATE", Namespace: "shop", Object: object,
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Subject: admission.Subject{Username: "system:serviceaccount:kube-system:replicaset-controller", Groups: []string{"system:authenticated"}},
	}
}

// NewLineup has so many bundles share policies, each a compile unit of its own.
func NewLineup(ids []string, bundles int) (*admission.Lineup, error) {
	lineup := &admission.Lineup{}
	for n := range bundles {
		engine, err := NewEngine(ids[n*len(ids)/bundles : (n+1)*len(ids)/bundles])
		if err != nil {
			return nil, err
		}
		ready := admission.ReadyEngine(engine)
		ready.Bundle = fmt.Sprintf("%s-%d", ready.Bundle, n)
		lineup.Members = append(lineup.Members, admission.Member{Active: ready})
	}
	return lineup, nil
}

// lineupRows compare an engine that is asked directly with lineups of one and of several bundles that have the same policies.
func lineupRows(ctx context.Context, size Size, _ string) ([]Row, error) {
	const direct = "the engine alone"
	engine, err := NewEngine(Fifty)
	if err != nil {
		return nil, err
	}
	var failed failing
	contenders := []Contender{{direct, newDirect(ctx, engine, &failed)}}
	names := map[int]string{}
	for _, bundles := range []int{1, 2, 5} {
		lineup, err := NewLineup(Fifty, bundles)
		if err != nil {
			return nil, err
		}
		names[bundles] = fmt.Sprintf("%d bundles", bundles)
		contenders = append(contenders, Contender{names[bundles], newReviews(ctx, lineup, &failed)})
	}
	f := Compare(size.Rounds, size.Calls, contenders...)
	rows := []Row{
		{What: "50 policies, their engine asked directly", Got: fmt.Sprintf("%5.0f µs", micros(f[direct].Mean))},
		ratioRow("  as the one bundle of a lineup", f[names[1]].Ratio(f[direct]), budgetLineup, direct),
	}
	for _, bundles := range []int{2, 5} {
		row := ratioRow(fmt.Sprintf("  divided among %d bundles, which judge at once", bundles), f[names[bundles]].Ratio(f[direct]), 0, direct)
		row.Got += fmt.Sprintf(", CPU %.2f x", float64(f[names[bundles]].CPU)/float64(f[direct].CPU))
		rows = append(rows, row)
	}
	return rows, failed.err
}

// newDirect does what a reviewer does with an engine, and no more.
func newDirect(ctx context.Context, engine *policies.Engine, failed *failing) func() {
	pods := AllDifferentPods(Pod())
	return func() {
		request := podRequest(pods.Next())
		var facts policies.Facts
		if needs := engine.Needs(&request, policies.PhaseValidate); !needs.Empty() {
			facts = cluster{}.Gather(ctx, needs)
		}
		result := engine.Evaluate(ctx, &request, &facts, time.Now(), policies.PhaseValidate)
		if result.Matched != len(Fifty) || len(result.Findings)+len(result.Faults) > 0 {
			failed.note(fmt.Errorf("got %d policies, %v and %v, want %d and nothing", result.Matched, result.Findings, result.Faults, len(Fifty)))
		}
	}
}

func newReviews(ctx context.Context, lineup *admission.Lineup, failed *failing) func() {
	pods, reviewer := AllDifferentPods(Pod()), admission.NewLineupReviewer(lineup, cluster{}, time.Now)
	return func() {
		verdict := reviewer.Review(ctx, podRequest(pods.Next()))
		if !verdict.Admitted || verdict.Matched != len(Fifty) {
			failed.note(fmt.Errorf("got %d policies, %v and %v, want %d and nothing", verdict.Matched, verdict.Findings, verdict.Faults, len(Fifty)))
		}
	}
}
