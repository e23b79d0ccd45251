package library_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/sample"
)

// embedded is the library, loaded once: nobody changes it.
var embedded = sync.OnceValues(func() (*policies.Bundle, error) { return policies.Load(library.FS()) })

func load(t testing.TB) *policies.Bundle {
	t.Helper()
	bundle, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func TestEverySampleOfEveryPolicyIsJudgedAsItsFolderSays(t *testing.T) {
	bundle := load(t)
	for id, policy := range bundle.Policies {
		t.Run(id, func(t *testing.T) {
			suite, err := sample.Load(os.DirFS("."), policy)
			if err != nil {
				t.Fatal(err)
			}
			only, err := suite.Only(bundle)
			if err != nil {
				t.Fatal(err)
			}
			engine, err := policies.NewEngine(only)
			if err != nil {
				t.Fatal(err)
			}
			for i := range suite.Samples {
				s := &suite.Samples[i]
				if err := s.Run(context.Background(), engine); err != nil {
					t.Error(err)
				}
				if s.Kind == sample.Deny && policy.Fix == "" {
					if err := s.RunFixed(context.Background(), engine); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}

func TestInvertingAnyConditionOfAPolicyTurnsASampleRed(t *testing.T) {
	bundle := load(t)
	for id, policy := range bundle.Policies {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			suite, err := sample.Load(os.DirFS("."), policy)
			if err != nil {
				t.Fatal(err)
			}
			mutants, err := suite.Mutants(bundle)
			if err != nil {
				t.Fatal(err)
			}
			if len(mutants) == 0 {
				t.Error("the policy has no condition to invert")
			}
			for _, mutant := range mutants {
				if survives(suite, mutant) {
					t.Errorf("%s is noticed by no sample: add one that needs the condition, or leave the condition out", mutant)
				}
			}
		})
	}
}

// survives says whether all samples still pass, and their fixes still help. A mutant
// that does not compile does not survive.
func survives(suite *sample.Suite, mutant policies.Mutant) bool {
	engine, err := policies.NewEngine(mutant.Bundle)
	if err != nil {
		return false
	}
	for i := range suite.Samples {
		s := &suite.Samples[i]
		if s.Run(context.Background(), engine) != nil {
			return false
		}
		if s.Kind == sample.Deny && suite.Policy.Fix == "" && s.RunFixed(context.Background(), engine) != nil {
			return false
		}
	}
	return true
}
