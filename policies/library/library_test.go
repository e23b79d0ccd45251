package library_test

import (
	"context"
	"os"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/sample"
)

func load(t testing.TB) *policies.Bundle {
	t.Helper()
	bundle, err := policies.Load(library.FS())
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
			only, err := bundle.Only(id, suite.Parameters)
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
