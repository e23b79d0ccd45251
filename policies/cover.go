package policies

import (
	"context"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// OwnModules are the Rego files of the bundle itself, policies and what they share, by file; tests are none of them. The
// caller must not change them.
func (b *Bundle) OwnModules() map[string]*ast.Module { return b.modules(false) }

// IncludedModules are those of the bundle that this one includes.
func (b *Bundle) IncludedModules() map[string]*ast.Module { return b.modules(true) }

func (b *Bundle) modules(included bool) map[string]*ast.Module {
	modules := map[string]*ast.Module{}
	add := func(file string, module *ast.Module) {
		if _, is := b.included[file]; is == included {
			modules[file] = module
		}
	}
	for file, module := range b.libraries {
		add(file, module)
	}
	for _, policy := range b.Policies {
		add(policy.File, policy.module)
	}
	return modules
}

// Cover evaluates the rules of a phase as Evaluate does, one policy at a time, and shows a tracer each step. What
// Evaluate leaves out because it cannot matter, by guards and by what it remembers, is evaluated too. It is for measuring
// which lines samples reach, never for deciding.
func (e *Engine) Cover(ctx context.Context, r *Request, facts *Facts, now time.Time, phase Phase, tracer topdown.QueryTracer) error {
	j := &judgement{engine: e, request: r, facts: facts, now: now.UTC().Truncate(time.Minute), clock: now, phase: phase}
	selected, _ := j.selectInstances()
	for _, i := range selected {
		p, err := e.plan(phase, []*instance{i})
		if err != nil {
			return fmt.Errorf("covering %s: %w", i.Name, err)
		}
		workloads, ok := j.workloads(ctx, p)
		if !ok {
			continue
		}
		for _, w := range orNone(workloads) {
			in, err := j.newInput(p, r, w)
			if err == nil {
				_, err = e.run(ctx, p, in, tracer)
			}
			if err != nil {
				return fmt.Errorf("covering %s: %w", i.Name, err)
			}
		}
	}
	return nil
}
