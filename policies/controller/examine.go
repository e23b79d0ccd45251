package controller

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/conftest"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// testTimeout is how long a bundle's own tests may take.
const testTimeout = 5 * time.Minute

// Reasons of the condition Accepted.
const (
	reasonAccepted     = "Accepted"
	reasonUnverified   = "VerificationFailed"
	reasonNotLoaded    = "LoadFailed"
	reasonTestsFailed  = "TestsFailed"
	reasonSerial       = "SerialRefused"
	reasonDropped      = "RolledBack"
	reasonPin          = "PinFailed"
	reasonNotYetLooked = "NotLookedYet"
)

// refusal is why a revision is not activated. It lies in the revision: looking again at the same one changes nothing.
type refusal struct {
	reason string // one of the constants
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// examiner finds out whether a revision may be activated.
type examiner struct {
	verifier *source.Verifier
	included []policies.Included
	reader   conftest.Reader
}

// examined is a revision that may be activated, as far as it can be told without what is active.
type examined struct {
	status v1alpha1.RevisionStatus
	bundle *policies.Bundle
}

// examine verifies, loads and tests a revision. An error is a [*refusal], or that the context has ended.
func (e *examiner) examine(ctx context.Context, r *source.Revision, object *v1alpha1.PolicyBundle) (*examined, error) {
	loaded, err := e.load(ctx, r, object)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, testTimeout, fmt.Errorf("its own tests did not end in %s: make them faster", testTimeout))
	defer cancel()
	if err := e.test(ctx, r, object); err != nil {
		return nil, err
	}
	return loaded, nil
}

// load verifies a revision against what is said of the bundle now, and loads it.
func (e *examiner) load(ctx context.Context, r *source.Revision, object *v1alpha1.PolicyBundle) (made *examined, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			made, err = nil, &refusal{reasonNotLoaded, fmt.Errorf("loading the bundle made the program fail: %v: report this", fault)}
		}
	}()
	signers, err := e.verifier.Verify(ctx, r, object.Spec.Verification)
	if err != nil {
		return nil, refused(ctx, reasonUnverified, err)
	}
	loaded, err := revision.Load(r.Tree, e.options(object))
	if err != nil {
		return nil, &refusal{reasonNotLoaded, err}
	}
	return &examined{
		status: v1alpha1.RevisionStatus{
			Digest: loaded.Digest, Name: loaded.Bundle.Manifest.Name, Serial: loaded.Bundle.Manifest.Serial,
			Origin: r.Origin, Signers: signers, Policies: int32(min(loaded.Policies, math.MaxInt32)), //nolint:gosec // bounded
		},
		bundle: loaded.Bundle,
	}, nil
}

func (e *examiner) options(object *v1alpha1.PolicyBundle) revision.Options {
	return revision.Options{Name: object.WantedName(), Namespaces: object.Spec.Namespaces, Included: e.included, Reader: e.reader}
}

// test runs the bundle's own tests, and holds it to the coverage that is asked for.
func (e *examiner) test(ctx context.Context, r *source.Revision, object *v1alpha1.PolicyBundle) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = &refusal{reasonTestsFailed, fmt.Errorf("testing the bundle made the program fail: %v: report this", fault)}
		}
	}()
	report, err := revision.Test(ctx, r.Tree, e.options(object))
	if err != nil {
		return refused(ctx, reasonTestsFailed, err)
	}
	if err := report.Err(); err != nil {
		return &refusal{reasonTestsFailed, err}
	}
	if wanted, got := float64(object.Spec.MinCoverage), report.Percent(); got < wanted {
		return &refusal{reasonTestsFailed, fmt.Errorf("testing the bundle: its tests reach %.1f %% of the lines of its policies, and %.0f %% are asked for: add tests, or lower minCoverage", got, wanted)}
	}
	return nil
}

// refused is a refusal, unless it is the program that ends.
func refused(ctx context.Context, reason string, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return err
	}
	return &refusal{reason, err}
}

// stored examines a revision that is stored, as who loads it would.
func (e *examiner) stored(ctx context.Context, encoded []byte, object *v1alpha1.PolicyBundle) (*examined, error) {
	r, err := source.Decode(encoded)
	if err != nil {
		return nil, &refusal{reasonNotLoaded, err}
	}
	return e.load(ctx, r, object)
}
