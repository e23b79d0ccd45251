package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// judging finds out once by what is judged: compiling a bundle takes a second.
type judging struct {
	mu    sync.Mutex
	done  bool
	found *judges
	err   error
}

// judges are the bundles that judge.
type judges struct {
	// from says where they are: "the built-in library".
	from      string
	revisions []*revision.Revision
	interests []policies.Interest
}

// judges finds out by what the webhooks judge. Signatures are not verified: the webhooks do that, and say so.
func (p *patient) judges(ctx context.Context) (*judges, error) {
	p.judging.mu.Lock()
	defer p.judging.mu.Unlock()
	if !p.judging.done {
		p.judging.found, p.judging.err = p.findJudges(ctx)
		p.judging.done = ctx.Err() == nil
	}
	return p.judging.found, p.judging.err
}

func (p *patient) findJudges(ctx context.Context) (*judges, error) {
	deployment, err := p.Deployment(ctx, installation.Webhook)
	if err != nil {
		return nil, fmt.Errorf("reading the Deployment of portcullis-webhook: %w", err)
	}
	if deployment == nil {
		return nil, errors.New("there is no Deployment of portcullis-webhook whose --bundle would say so")
	}
	bundle, _ := installation.Flag(installation.Webhook, &deployment.Spec.Template.Spec, "bundle")
	profile, _ := installation.Flag(installation.Webhook, &deployment.Spec.Template.Spec, "profile")
	found := &judges{from: "the built-in library"}
	var lineup *admission.Lineup
	switch bundle {
	case "":
		lineup, err = found.builtIn(profile)
	case "cluster":
		found.from = "the PolicyBundles"
		lineup, err = found.ofCluster(ctx, p, profile)
	default:
		return nil, fmt.Errorf("the webhook judges by --bundle=%s, which is not in the cluster", bundle)
	}
	if err != nil {
		return nil, err
	}
	reviewer := admission.NewLineupReviewer(lineup, nil, p.Now)
	reviewer.Pin(profile)
	found.interests = reviewer.Interests()
	return found, nil
}

func (j *judges) builtIn(profile string) (*admission.Lineup, error) {
	read, err := revision.Read(library.FS(), revision.Options{Profile: profile})
	if err != nil {
		return nil, err
	}
	j.revisions = append(j.revisions, read)
	return &admission.Lineup{Members: []admission.Member{{Active: read.Ready}}}, nil
}

// ofCluster loads what the statuses of the PolicyBundles name: active and on trial.
func (j *judges) ofCluster(ctx context.Context, p *patient, profile string) (*admission.Lineup, error) {
	bundles, err := p.bundles(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the PolicyBundles: %w", err)
	}
	lineup := &admission.Lineup{}
	for n := range bundles {
		b := &bundles[n]
		if b.Status.Active == nil {
			continue
		}
		active, err := p.revision(ctx, b, b.Status.Active.Digest, profile)
		if err != nil {
			return nil, err
		}
		j.revisions = append(j.revisions, active)
		member := admission.Member{Active: active.Ready}
		if b.Status.Candidate != nil {
			candidate, err := p.revision(ctx, b, b.Status.Candidate.Digest, profile)
			if err != nil {
				return nil, err
			}
			member.Candidate = &candidate.Ready
		}
		lineup.Members = append(lineup.Members, member)
	}
	if len(lineup.Members) == 0 {
		return nil, errors.New("no PolicyBundle has an active revision")
	}
	return lineup, nil
}

// bundles are the PolicyBundles, by name.
func (p *patient) bundles(ctx context.Context) ([]v1alpha1.PolicyBundle, error) {
	list, err := p.List(ctx, v1alpha1.Bundles)
	if err != nil {
		return nil, err
	}
	bundles := make([]v1alpha1.PolicyBundle, len(list.Items))
	for n := range list.Items {
		if err := decode(&list.Items[n], &bundles[n]); err != nil {
			return nil, fmt.Errorf("reading the PolicyBundle %s: %w", list.Items[n].GetName(), err)
		}
	}
	slices.SortFunc(bundles, func(a, b v1alpha1.PolicyBundle) int { return strings.Compare(a.Name, b.Name) })
	return bundles, nil
}

// revision reads, checks and compiles a stored revision.
func (p *patient) revision(ctx context.Context, b *v1alpha1.PolicyBundle, digest, profile string) (*revision.Revision, error) {
	content, err := p.stored(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("reading the revision %.19s of the PolicyBundle %s: %w", digest, b.Name, err)
	}
	read, err := source.Decode(content)
	if err != nil {
		return nil, fmt.Errorf("reading the revision %.19s of the PolicyBundle %s: %w", digest, b.Name, err)
	}
	if read.Tree.Digest() != digest {
		return nil, fmt.Errorf("the revision %.19s of the PolicyBundle %s holds other files than its name says", digest, b.Name)
	}
	loaded, err := revision.Load(read.Tree, revision.Options{
		Name: b.WantedName(), Namespaces: b.Spec.Namespaces, Profile: profile,
		Included: []policies.Included{{Name: "library", Files: library.FS()}},
	})
	if err != nil {
		return nil, fmt.Errorf("compiling the revision %.19s of the PolicyBundle %s: %w", digest, b.Name, err)
	}
	return loaded, nil
}

// stored are the bytes of a revision, from all its parts.
func (p *patient) stored(ctx context.Context, digest string) ([]byte, error) {
	var whole bytes.Buffer
	for part, parts := int32(0), int32(1); part < parts; part++ {
		name, err := v1alpha1.RevisionName(digest, part)
		if err != nil {
			return nil, err
		}
		object, err := p.Dynamic.Resource(v1alpha1.Revisions).Get(ctx, name, getOptions)
		if err != nil {
			return nil, err
		}
		var stored v1alpha1.PolicyRevision
		if err := decode(object, &stored); err != nil {
			return nil, err
		}
		if parts = stored.Spec.Parts; parts < 1 || parts > v1alpha1.MaxParts {
			return nil, fmt.Errorf("the PolicyRevision %s is one of %d parts, and the limit is %d", name, parts, v1alpha1.MaxParts)
		}
		whole.Write(stored.Spec.Data)
	}
	return whole.Bytes(), nil
}
