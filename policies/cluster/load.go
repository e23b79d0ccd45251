package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// loader makes revisions that are stored in the cluster ready to judge.
type loader struct {
	objects  *objects
	cache    *cache
	verifier *source.Verifier
	options  *Options
}

// reference is a revision as a PolicyBundle refers to it.
type reference struct {
	bundle *v1alpha1.PolicyBundle
	digest string
}

// key tells compiled revisions apart: by all that compiling depends on.
func (r reference) key() string {
	return strings.Join([]string{r.bundle.Name, r.digest, r.bundle.WantedName(), strings.Join(r.bundle.Spec.Namespaces, ",")}, "\x00")
}

// trust is what the signature of the revision depends on.
func (r reference) trust() string {
	text, err := json.Marshal(r.bundle.Spec.Verification)
	if err != nil { // it was read as JSON
		panic(err)
	}
	return string(text)
}

// load reads, verifies and compiles a revision.
func (l *loader) load(ctx context.Context, r reference) (*revision.Revision, error) {
	fetched, err := l.verified(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("loading revision %s: %w", short(r.digest), err)
	}
	loaded, err := l.options.Compiled.of(r.key(), func() (*revision.Revision, error) {
		made, err := revision.Load(fetched.Tree, revision.Options{Name: r.bundle.WantedName(), Namespaces: r.bundle.Spec.Namespaces, Included: l.options.Included})
		if err == nil {
			// Two objects may hold bundles that call themselves the same; the object's name is unique.
			made.Ready.Bundle = r.bundle.Name
		}
		return made, err
	})
	if err != nil {
		return nil, fmt.Errorf("loading revision %s: %w", short(r.digest), err)
	}
	if l.options.Accepts != nil {
		if err := l.options.Accepts(loaded.Bundle); err != nil {
			return nil, fmt.Errorf("loading revision %s: %w", short(r.digest), err)
		}
	}
	return loaded, nil
}

// ready is load with what a member of a lineup needs.
func (l *loader) ready(ctx context.Context, r reference) (*revision.Revision, *loaded, error) {
	var namespaces func(string) bool
	if patterns := r.bundle.Spec.Namespaces; len(patterns) > 0 {
		var err error
		if namespaces, err = policies.NamespaceGlobs(patterns); err != nil {
			return nil, nil, err
		}
	}
	made, err := l.load(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	var shared *revision.Revision
	if l.options.Compiled != nil {
		shared = made
	}
	return made, &loaded{key: r.key(), trust: r.trust(), shared: shared, ready: made.Ready, serial: made.Bundle.Manifest.Serial, reads: ReadsOf(made), namespaces: namespaces}, nil
}

// verified reads a revision and verifies that it is the one that is meant, signed by whom the PolicyBundle trusts. What is
// kept in a folder may have rotted there, or may have been stored again with a proof since: then the cluster is asked.
func (l *loader) verified(ctx context.Context, r reference) (*source.Revision, error) {
	if content, at := l.cache.get(r.digest); content != nil {
		if kept, err := l.verify(ctx, r, content, at); err == nil {
			return kept, nil
		}
	}
	content, at, err := l.objects.stored(ctx, r.digest)
	if err != nil {
		return nil, err
	}
	fetched, err := l.verify(ctx, r, content, at)
	if err != nil {
		return nil, err
	}
	l.cache.put(r.digest, content, at)
	return fetched, nil
}

// verify verifies by the time at which the revision was stored: a webhook that starts the day after a key has expired must
// judge by what the others judge by.
func (l *loader) verify(ctx context.Context, r reference, content []byte, at time.Time) (*source.Revision, error) {
	read, err := source.Decode(content)
	if err != nil {
		return nil, err
	}
	if read.Tree.Digest() != r.digest {
		return nil, fmt.Errorf("its files have the digest %s: it was tampered with, or stored wrongly: have the controller store the revision again", read.Tree.Digest())
	}
	_, err = l.verifier.At(at).Verify(ctx, read, r.bundle.Spec.Verification)
	return read, err
}

// short is a digest for people.
func short(digest string) string {
	const length = len("sha256:") + 12
	return digest[:min(len(digest), length)]
}

// Reads are the kinds that the policies of a bundle declare for the admission door, whether or not a profile that has them
// is assigned.
func Reads(bundle *policies.Bundle) []policies.Read {
	var reads []policies.Read
	add := func(instances []policies.Instance) {
		for _, instance := range instances {
			policy := bundle.Policies[instance.Policy]
			if policy == nil || instance.Enforcement == policies.EnforceOff {
				continue
			}
			if len(policy.Doors) > 0 && !slices.Contains(policy.Doors, policies.DoorAdmission) {
				continue
			}
			for _, declared := range policy.Reads {
				reads = addRead(reads, policies.Read{Group: declared.Group, Resource: declared.Resource})
			}
		}
	}
	add(bundle.Manifest.Policies)
	for _, profile := range bundle.Manifest.Profiles {
		add(profile.Policies)
	}
	return reads
}

// reader is a judge that says which kinds it may read. Judges of policies for other tools are.
type reader interface{ Reads() []policies.Read }

// ReadsOf are the kinds that all judges of a revision may read.
func ReadsOf(r *revision.Revision) []policies.Read {
	reads := Reads(r.Bundle)
	for _, judge := range r.Judges {
		if other, ok := judge.(reader); ok {
			for _, read := range other.Reads() {
				reads = addRead(reads, policies.Read{Group: read.Group, Resource: read.Resource})
			}
		}
	}
	return reads
}

func addRead(reads []policies.Read, read policies.Read) []policies.Read {
	if slices.Contains(reads, read) {
		return reads
	}
	return append(reads, read)
}

var errNoBundles = errors.New("the cluster has no PolicyBundle with an active revision: create one, and see kubectl get policybundles for what keeps it from being activated")
