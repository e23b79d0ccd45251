package evidence

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"golang.org/x/sync/singleflight"
)

// gathering is the work for one request.
type gathering struct {
	*Facts
	needs *policies.ImageNeeds

	// secrets are read when the first image needs them, nil without them.
	secrets func() (registry.Credentials, error)
}

// reader is a registry with the credentials of a scope.
type reader struct {
	Registry
	scope string
}

// subject is an image whose digest is known.
type subject struct {
	image      workload.Image
	repository registry.Repository
	digest     string
	// resolved is the manifest, where its tag was resolved.
	resolved *registry.Manifest
}

func (s subject) key() key { return key{repository: s.repository, subject: s.digest} }

func (s subject) String() string { return s.repository.String() + "@" + s.digest }

// imageGuarded finds out about one image. Whatever goes wrong, the other images do not suffer.
func (g *gathering) imageGuarded(ctx context.Context, image workload.Image) (found policies.ImageFacts) {
	defer func() {
		if value := recover(); value != nil {
			err := &crash{value: value, stack: debug.Stack()}
			g.options.Logger.Error("gathering evidence panicked", "image", image.Ref, "panic", fmt.Sprint(value), "stack", string(err.stack))
			found = policies.ImageFacts{Unknown: g.allUnknown(reason("what there is about "+image.Ref, image.Registry, err))}
		}
	}()
	ctx, span := tracing.Start(ctx, "image evidence")
	defer span.End()
	found = g.image(ctx, image)
	if span.IsRecording() {
		span.SetAttributes(tracing.Text("repository", image.Registry+"/"+image.Repository), tracing.Text("digest", found.Resolved))
		if why := cmp.Or(found.Unknown.Resolved, found.Unknown.Evidence, found.Unknown.Configs, found.Unknown.Scan); why != "" {
			tracing.Fail(span, why)
		}
	}
	return found
}

// image resolves the reference once and asks everything else about that digest.
func (g *gathering) image(ctx context.Context, image workload.Image) policies.ImageFacts {
	sections := g.needs.Sections
	if !sections.Resolved && !sections.Configs && !sections.Evidence && !sections.Scan {
		return policies.ImageFacts{}
	}
	s, err := g.resolve(ctx, image)
	if err != nil {
		return policies.ImageFacts{Unknown: g.allUnknown(g.reason("the digest of "+image.Ref, s.repository, err))}
	}
	facts := policies.ImageFacts{Resolved: s.digest}
	shared := &manifests{digest: s.digest, known: s.resolved}
	var group sync.WaitGroup
	if sections.Configs {
		group.Go(func() {
			defer g.guard(image, &facts.Unknown.Configs)
			facts.Configs, facts.Unknown.Configs = g.imageConfigs(ctx, s, shared)
		})
	}
	if sections.Evidence || sections.Scan {
		func() {
			defer g.guard(image, &facts.Unknown.Evidence, &facts.Unknown.Scan)
			g.imageEvidence(ctx, s, shared, &facts)
		}()
	}
	group.Wait()
	return facts
}

// guard turns a panic into the reason why parts are not known.
func (g *gathering) guard(image workload.Image, unknown ...*string) {
	if value := recover(); value != nil {
		err := &crash{value: value, stack: debug.Stack()}
		g.options.Logger.Error("gathering evidence panicked", "image", image.Ref, "panic", fmt.Sprint(value), "stack", string(err.stack))
		for _, part := range unknown {
			*part = reason("what there is about "+image.Ref, image.Registry, err)
		}
	}
}

// allUnknown gives one reason for every part that takes a digest.
func (g *gathering) allUnknown(why string) policies.ImageUnknown {
	return policies.ImageUnknown{Resolved: why, Configs: why, Evidence: why, Scan: why}
}

// resolve is the digest that the reference names, or what its tag stands for now. Requests that ask at the same moment share
// the answer; it is never remembered.
func (g *gathering) resolve(ctx context.Context, image workload.Image) (subject, error) {
	s := subject{image: image, repository: registry.Repository{Registry: image.Registry, Path: image.Repository}, digest: image.Digest}
	if s.digest != "" {
		return s, nil
	}
	from, err := g.reader(ctx, s.repository)
	if err != nil {
		return s, err
	}
	k := key{repository: s.repository, subject: image.Tag, scope: from.scope}
	manifest, err := g.resolutions.find(ctx, k, never, func(ctx context.Context, _ bool) (answer[registry.Manifest], error) {
		manifest, err := from.Resolve(ctx, s.repository, image.Tag)
		return answer[registry.Manifest]{value: manifest}, err
	})
	if err != nil {
		return s, err
	}
	s.digest, s.resolved = manifest.Digest, &manifest
	return s, nil
}

// never is the lifetime of what is not remembered.
func never[V any](V) lifetime { return lifetime{} }

// known finds something out about a digest: what is remembered of it as seen with the operator's credentials, then with
// those of the namespace, and else anew. Reading pull secrets comes last, since it asks the API server.
func known[V any](ctx context.Context, g *gathering, m *memory[V], k key, of func(V) lifetime, anew func(reader) fetch[V]) (V, error) {
	operator := reader{Registry: g.options.Registry}
	if g.options.PullSecrets == nil {
		return m.find(ctx, k, of, anew(operator))
	}
	if value, ok := m.recall(k, onlyPositive(of), anew(operator)); ok {
		return value, nil
	}
	k.scope = g.scope()
	if value, ok := m.recall(k, of, later(g, k.repository, anew)); ok {
		return value, nil
	}
	from, err := g.reader(ctx, k.repository)
	if err != nil {
		var nothing V
		return nothing, err
	}
	k.scope = from.scope
	return m.find(ctx, k, of, anew(from))
}

// onlyPositive does not take the operator's word for what is missing: it may be private to the namespace.
func onlyPositive[V any](of func(V) lifetime) func(V) lifetime {
	return func(value V) lifetime {
		life := of(value)
		if life.negative {
			return lifetime{}
		}
		return life
	}
}

// later is anew with the pull secrets of the moment at which it runs.
func later[V any](g *gathering, repository registry.Repository, anew func(reader) fetch[V]) fetch[V] {
	return func(ctx context.Context, refresh bool) (answer[V], error) {
		renewed := *g
		renewed.secrets = func() (registry.Credentials, error) { return g.readSecrets(ctx) }
		from, err := renewed.reader(ctx, repository)
		if err != nil {
			return answer[V]{}, err
		}
		return anew(from)(ctx, refresh)
	}
}

// scope names whose pull secrets are used. What is in them does not matter: another password reads the same content.
func (g *gathering) scope() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		g.needs.Namespace, strings.Join(g.needs.ServiceAccounts, ","), strings.Join(g.needs.PullSecrets, ","),
	}, "\n")))
	return hex.EncodeToString(sum[:16])
}

// reader is the registry as the workloads of the request may read it.
func (g *gathering) reader(ctx context.Context, repository registry.Repository) (reader, error) {
	operator := reader{Registry: g.options.Registry}
	if g.secrets == nil {
		return operator, nil
	}
	secrets, err := g.secrets()
	if err != nil {
		return reader{}, err
	}
	// Only credentials for this very host count, and only then is the registry read as the namespace may.
	found, err := secrets.Credentials(ctx, repository)
	if err != nil {
		return reader{}, fmt.Errorf("reading the pull secrets of namespace %s: %w", g.needs.Namespace, err)
	}
	if len(found) == 0 {
		return operator, nil
	}
	return reader{Registry: g.options.WithCredentials(secrets), scope: g.scope()}, nil
}

// readSecrets reads the pull secrets of the request's workloads.
func (g *gathering) readSecrets(ctx context.Context) (registry.Credentials, error) {
	secrets, err := g.options.PullSecrets.PullSecrets(ctx, g.needs.Namespace, g.needs.ServiceAccounts, g.needs.PullSecrets)
	if err != nil {
		return nil, fmt.Errorf("reading the pull secrets of namespace %s: %w", g.needs.Namespace, err)
	}
	return secrets, nil
}

// manifests spares the second request for an image's own manifest: resolving its tag brought it, or whoever of those that work
// on the image comes first.
type manifests struct {
	digest string
	group  singleflight.Group

	mu    sync.Mutex
	known *registry.Manifest
}

// through is a registry that shares the manifest.
func (m *manifests) through(from Registry) Registry { return &sharing{from, m} }

type sharing struct {
	Registry
	shared *manifests
}

func (s *sharing) Manifest(ctx context.Context, repository registry.Repository, digest string) (registry.Manifest, error) {
	if digest != s.shared.digest {
		return s.Registry.Manifest(ctx, repository, digest)
	}
	if known := s.shared.get(); known != nil {
		return *known, nil
	}
	value, err, _ := s.shared.group.Do(digest, func() (any, error) {
		if known := s.shared.get(); known != nil {
			return *known, nil
		}
		manifest, err := s.Registry.Manifest(ctx, repository, digest)
		if err == nil {
			s.shared.set(&manifest)
		}
		return manifest, err
	})
	if err != nil {
		return registry.Manifest{}, err
	}
	return value.(registry.Manifest), nil //nolint:forcetypeassert // returned above
}

func (m *manifests) get() *registry.Manifest {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known
}

func (m *manifests) set(manifest *registry.Manifest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = manifest
}
