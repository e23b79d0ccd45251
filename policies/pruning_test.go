package policies_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/sample"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// A policy is given only the fields its rules can read. Here every policy of the library is
// evaluated with those and with the whole input: on its own samples, on those of other policies,
// and on samples that were damaged, which is where a field that is wrongly left out would show.

// pruning is a policy with both kinds of engines.
type pruning struct {
	policy        *policies.Policy
	pruned, whole *policies.Engine
	suite         *sample.Suite
}

// damagedSamples is how many damaged samples of any policy each policy is tried on. PORTCULLIS_SOAK tries more.
func damagedSamples() int {
	if os.Getenv("PORTCULLIS_SOAK") != "" {
		return 400
	}
	return 15
}

func TestWhatAPolicyIsNotGivenMakesNoDifference(t *testing.T) {
	bundle, err := policies.Load(os.DirFS("library"))
	if err != nil {
		t.Fatal(err)
	}
	var all []*pruning
	for _, policy := range bundle.Policies {
		all = append(all, newPruning(t, bundle, policy))
	}
	slices.SortFunc(all, func(a, b *pruning) int {
		if a.policy.ID < b.policy.ID {
			return -1
		}
		return 1
	})
	random := rand.New(rand.NewPCG(2026, 3))
	compared := 0
	for _, p := range all {
		for i := range p.suite.Samples {
			for _, request := range p.suite.Samples[i].Requests() {
				compared += p.compare(t, &p.suite.Samples[i], request)
			}
		}
		for range damagedSamples() {
			from := p
			if random.IntN(2) == 0 {
				from = all[random.IntN(len(all))]
			}
			if len(from.suite.Samples) == 0 {
				t.Fatalf("policy %s has no samples", from.policy.ID)
			}
			s := &from.suite.Samples[random.IntN(len(from.suite.Samples))]
			requests := s.Requests()
			request := requests[random.IntN(len(requests))]
			request.Object, request.OldObject = damage(random, request.Object), damage(random, request.OldObject)
			request.Event = damageEvent(random, request.Event)
			compared += p.compare(t, s, request)
		}
	}
	if compared < 30*len(all) {
		t.Errorf("compared %d results of %d policies, want at least 30 each", compared, len(all))
	}
}

func newPruning(t *testing.T, bundle *policies.Bundle, policy *policies.Policy) *pruning {
	t.Helper()
	p := &pruning{policy: policy}
	var err error
	if p.suite, err = sample.Load(os.DirFS("library"), policy); err != nil {
		t.Fatal(err)
	}
	only, err := p.suite.Only(bundle)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(only)
	if err != nil {
		t.Fatal(err)
	}
	p.pruned, p.whole = engine.NoShortcuts(), engine.WholeInput()
	return p
}

// compare gives how many results it compared.
func (p *pruning) compare(t *testing.T, s *sample.Sample, request policies.Request) int {
	t.Helper()
	phases := []policies.Phase{policies.PhaseMutate, policies.PhaseValidate}
	if request.Event != nil {
		phases = []policies.Phase{policies.PhaseRespond}
	}
	for _, phase := range phases {
		facts := s.Gather(context.Background(), p.pruned.Needs(&request, phase))
		evaluate := func(e *policies.Engine) string {
			raw, err := json.Marshal(e.Evaluate(context.Background(), &request, &facts, sample.Now, phase))
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		}
		if got, want := evaluate(p.pruned), evaluate(p.whole); got != want {
			t.Errorf("%s on %s, %s\nobject %s\nold object %s\ngot\n%s\nwith the whole input\n%s", p.policy.ID, s.File, phase, request.Object, request.OldObject, got, want)
		}
	}
	return len(phases)
}

// damage removes a value somewhere in an object or puts something else in its place.
func damage(random *rand.Rand, raw json.RawMessage) json.RawMessage {
	var object any
	if json.Unmarshal(raw, &object) != nil {
		return raw
	}
	for range 1 + random.IntN(3) {
		object = damageValue(random, object)
	}
	damaged, err := json.Marshal(object)
	if err != nil {
		return raw
	}
	return damaged
}

// damageEvent is damage of the fields of an event.
func damageEvent(random *rand.Rand, e *response.Event) *response.Event {
	if e == nil {
		return nil
	}
	damaged := *e
	raw, err := json.Marshal(e.Fields)
	if err != nil || json.Unmarshal(damage(random, raw), &damaged.Fields) != nil {
		return e
	}
	return &damaged
}

func damageValue(random *rand.Rand, value any) any {
	replacements := []any{nil, "", "text", 0, true, []any{}, map[string]any{}, []any{nil}, map[string]any{"a": nil}}
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 || random.IntN(12) == 0 {
			break
		}
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		key := keys[random.IntN(len(keys))]
		if key == "kind" || key == "apiVersion" {
			return v
		}
		if random.IntN(6) == 0 {
			delete(v, key)
		} else {
			v[key] = damageValue(random, v[key])
		}
		return v
	case []any:
		if len(v) == 0 || random.IntN(12) == 0 {
			break
		}
		at := random.IntN(len(v))
		if random.IntN(6) == 0 {
			return slices.Delete(v, at, at+1)
		}
		v[at] = damageValue(random, v[at])
		return v
	}
	return replacements[random.IntN(len(replacements))]
}
