package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"k8s.io/client-go/rest"
)

// Bundle is one bundle as [Load] has found it.
type Bundle struct {
	// Object is the PolicyBundle.
	Object v1alpha1.PolicyBundle
	// Active judges. Candidate is on trial, nil for none.
	Active, Candidate *revision.Revision

	member *member
}

// Load reads the bundles of a cluster once, as somebody who wants to know how it would judge: those of a PolicyBundle with an
// active revision, sorted by name, and the lineup of all of them with the cluster's exceptions. Everything is verified
// as the webhook does. One bundle that cannot be loaded is an error: the others alone would judge otherwise.
func Load(ctx context.Context, config *rest.Config, options Options) (*admission.Lineup, []Bundle, error) {
	options.setDefaults()
	objects, err := newObjects(config)
	if err != nil {
		return nil, nil, err
	}
	kept, err := openCache(options.Directory, options.Logger)
	if err != nil {
		return nil, nil, err
	}
	l := &loader{objects: objects, cache: kept, verifier: options.Verifier, options: &options}
	listed, err := objects.bundles(ctx)
	if err != nil {
		return nil, nil, err
	}
	granted, err := objects.exceptions(ctx)
	if err != nil {
		return nil, nil, err
	}
	bundles, err := l.all(ctx, listed)
	if err != nil {
		return nil, nil, err
	}
	exceptions, err := exceptionsOf(granted)
	if err != nil {
		options.Logger.Warn("an exception of the cluster waives nothing", "error", err)
	}
	lineup := &admission.Lineup{Exceptions: exceptions}
	for n := range bundles {
		lineup.Members = append(lineup.Members, bundles[n].member.admission())
	}
	return lineup, bundles, nil
}

// all loads every bundle that has an active revision.
func (l *loader) all(ctx context.Context, listed []v1alpha1.PolicyBundle) ([]Bundle, error) {
	slices.SortFunc(listed, func(a, b v1alpha1.PolicyBundle) int { return strings.Compare(a.Name, b.Name) })
	var bundles []Bundle
	var problems []error
	for n := range listed {
		if listed[n].Status.Active == nil {
			continue
		}
		bundle, err := l.one(ctx, &listed[n])
		if err != nil {
			problems = append(problems, fmt.Errorf("bundle %s: %w", listed[n].Name, err))
			continue
		}
		bundles = append(bundles, *bundle)
	}
	if len(bundles) == 0 && len(problems) == 0 {
		return nil, errNoBundles
	}
	return bundles, errors.Join(problems...)
}

func (l *loader) one(ctx context.Context, b *v1alpha1.PolicyBundle) (*Bundle, error) {
	bundle := &Bundle{Object: *b, member: &member{bundle: b}}
	var err error
	if bundle.Active, bundle.member.active, err = l.ready(ctx, reference{b, b.Status.Active.Digest}); err != nil {
		return nil, err
	}
	if b.Status.Candidate != nil {
		if bundle.Candidate, bundle.member.candidate, err = l.ready(ctx, reference{b, b.Status.Candidate.Digest}); err != nil {
			return nil, err
		}
	}
	return bundle, nil
}
