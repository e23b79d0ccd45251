package evidence

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

// verified is what is remembered of a verification. It is immutable but for what is derived from it.
type verified struct {
	signer.Evidence
	at time.Time // when the registry was asked
	// satisfied says that it meets the requirements of the trust configuration, scanned that there is a scan.
	satisfied, scanned bool

	mu      sync.Mutex
	reports []derived
}

// derived is a scan as a bundle's exemptions and statements kept elsewhere have it.
type derived struct {
	exemptions, image string
	stated            *stated
	report            scanner.Report
}

// stated are the attestations about a digest that are kept elsewhere than in its registry.
type stated struct {
	attestations []signer.Attestation
	scanned      bool
}

// Reports of one digest that are kept: of a bundle and its successor, under two names of the image.
const maxReports = 4

// trustHash is all that a verification depends on beside what is verified.
func (f *Facts) trustHash(trust *signer.Configuration) string {
	return trust.Hash() + " " + f.options.TrustedRoot()
}

// positive and negative are how long answers are used.
func (f *Facts) positive() lifetime {
	return lifetime{age: f.options.Age, refresh: f.options.RefreshAge}
}

func (f *Facts) negative() lifetime {
	return lifetime{age: f.options.NegativeAge, refresh: f.options.NegativeAge, negative: true}
}

// imageEvidence fills in evidence and scan.
func (g *gathering) imageEvidence(ctx context.Context, s subject, shared *manifests, facts *policies.ImageFacts) {
	var group sync.WaitGroup
	var kept *stated
	var keptErr error
	if g.needs.Sections.Scan && g.options.Statements != nil {
		group.Go(func() { kept, keptErr = g.kept(ctx, s) })
	}
	found, err := g.verified(ctx, s, shared, func(v *verified) bool { return v.satisfied })
	group.Wait()
	if err == nil && g.needs.Sections.Scan && !found.scanned && keptErr == nil && !kept.hasScan() && g.options.Now().Sub(found.at) >= g.options.NegativeAge {
		// What was missing may have been attached since.
		found, err = g.verified(ctx, s, shared, func(v *verified) bool { return v.satisfied && v.scanned })
	}
	if err != nil {
		why := g.reason("the signatures and attestations of "+s.image.Ref, s.repository, err)
		facts.Unknown.Evidence, facts.Unknown.Scan = why, why
		return
	}
	facts.Evidence = found.Evidence
	if !g.needs.Sections.Scan {
		return
	}
	if keptErr != nil {
		facts.Unknown.Scan = reason("the scans of "+s.image.Ref+" that are kept in the cluster", "the API server", keptErr)
		return
	}
	facts.Scan = found.report(g.needs, s, kept, g.options.Now())
	g.ask(ctx, s, &facts.Scan)
}

func (s *stated) hasScan() bool { return s != nil && s.scanned }

// verified is what the registry has about the image. complete says whether something is missing that may come.
func (g *gathering) verified(ctx context.Context, s subject, shared *manifests, complete func(*verified) bool) (*verified, error) {
	k := s.key()
	k.trust = g.trustHash(g.needs.Trust)
	of := func(v *verified) lifetime {
		if complete(v) {
			return g.positive()
		}
		return g.negative()
	}
	return known(ctx, g, g.evidence, k, of, func(from reader) fetch[*verified] {
		k := k
		k.scope = from.scope
		return func(ctx context.Context, refresh bool) (answer[*verified], error) {
			return g.verifyAnew(ctx, k, shared.through(from), refresh, complete)
		}
	})
}

// verifyAnew verifies what the registry has now or, after a restart, what it had when it was asked last.
func (g *gathering) verifyAnew(ctx context.Context, k key, from Registry, refresh bool, complete func(*verified) bool) (answer[*verified], error) {
	if !refresh {
		// Only what is positive counts: what was missing then may have come.
		if found, ok := g.verifyKept(ctx, k); ok && complete(found.value) {
			g.options.Metrics.looked(partEvidence, lookDisk)
			return found, nil
		}
	}
	began := g.options.Now()
	recorder := record(from, k.repository, maxTranscript)
	found, err := g.verify(ctx, recorder, k, began)
	if err != nil {
		return answer[*verified]{}, err
	}
	if g.trustHash(g.needs.Trust) != k.trust {
		found.fetched = time.Time{} // the trusted root has changed meanwhile: nobody can say which one it was
		return found, nil
	}
	satisfied := found.value.satisfied
	found.after = func() { g.keep(partEvidence, k, recorder, began, satisfied) }
	return found, nil
}

// verifyKept verifies what is kept on disk.
func (g *gathering) verifyKept(ctx context.Context, k key) (answer[*verified], bool) {
	kept := g.store.get(partEvidence, k)
	if kept == nil {
		return answer[*verified]{}, false
	}
	found, err := g.verify(ctx, play(kept), k, kept.Fetched)
	return found, err == nil
}

func (g *gathering) verify(ctx context.Context, from Registry, k key, at time.Time) (answer[*verified], error) {
	trust := g.needs.Trust
	evidence, err := g.options.Verifier.Verify(ctx, from, k.repository, k.subject, trust)
	if err != nil {
		return answer[*verified]{}, err
	}
	if evidence.Digest != k.subject {
		return answer[*verified]{}, fmt.Errorf("the evidence is about %q", evidence.Digest)
	}
	found := &verified{
		Evidence: evidence, at: at,
		satisfied: meets(&evidence, trust.Required(k.repository.Registry, k.repository.Path)),
		scanned:   isScan(scanner.Latest(evidence.Attestations, trust, g.options.Now())),
	}
	return answer[*verified]{value: found, fetched: at, size: sizeOf(&evidence)}, nil
}

// keep writes down what a verification rests on, and forgets what was there before when it is no longer positive: a signature
// that was taken away must not come back with a restart.
func (g *gathering) keep(p part, k key, from *recorder, began time.Time, positive bool) {
	if g.store == nil {
		return
	}
	var kept *transcript
	if positive {
		kept = from.transcript(p, k, began)
	}
	if kept == nil {
		g.store.remove(p, k)
		return
	}
	if err := g.store.put(p, k, kept); err != nil {
		g.options.Logger.Warn("keeping evidence on disk failed; it will have to be fetched again after a restart", "error", err)
	}
}

// kept are the attestations that are kept in the cluster.
func (g *gathering) kept(ctx context.Context, s subject) (*stated, error) {
	k := s.key()
	k.trust = g.trustHash(g.needs.Trust)
	of := func(s *stated) lifetime {
		if s.scanned {
			return g.positive()
		}
		return g.negative()
	}
	return g.statements.find(ctx, k, of, func(ctx context.Context, _ bool) (answer[*stated], error) {
		began := g.options.Now()
		attestations, err := g.options.Statements.Statements(ctx, s.repository, s.digest, g.needs.Trust)
		if err != nil {
			return answer[*stated]{}, err
		}
		found := &stated{attestations: attestations, scanned: isScan(scanner.Latest(attestations, g.needs.Trust, began))}
		return answer[*stated]{value: found, fetched: began, size: sizeOfAttestations(attestations)}, nil
	})
}

// isScan says whether a report is knowledge, if only that nothing can be known. An error may be mended at any moment.
func isScan(r scanner.Report) bool {
	return r.State == scanner.StateComplete || r.State == scanner.StateUnscannable
}

// report is the newest scan with what the bundle and VEX attestations say of its findings. It is parsed once.
func (v *verified) report(needs *policies.ImageNeeds, s subject, kept *stated, now time.Time) scanner.Report {
	exemptions := needs.Exemptions.Hash()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, known := range v.reports {
		if known.exemptions == exemptions && known.image == s.image.Ref && known.stated == kept {
			return known.report
		}
	}
	attestations := v.Attestations
	if kept != nil {
		attestations = slices.Concat(attestations, kept.attestations)
	}
	report := scanner.Latest(attestations, needs.Trust, now)
	report = needs.Exemptions.Apply(report, s.image.Ref, s.digest, attestations, needs.Trust)
	// Both belong to who asks, and never to what was signed.
	report.Queued, report.RetryAfter = false, 0
	if isScan(report) { // an error may be one of the clock
		if len(v.reports) == maxReports {
			v.reports = v.reports[1:]
		}
		v.reports = append(v.reports, derived{exemptions: exemptions, image: s.image.Ref, stated: kept, report: report})
	}
	return report
}

// meets says whether evidence meets all requirements, their ages aside. Without requirements anything that is signed will do:
// there is no telling what a policy wants.
func meets(evidence *signer.Evidence, required []signer.Required) bool {
	if len(required) == 0 {
		return len(evidence.Signatures)+len(evidence.Attestations) > 0
	}
	for _, requirement := range required {
		met := int64(0)
		for _, authority := range requirement.Authorities {
			if hasSigned(evidence, &authority) {
				met++
			}
		}
		if met < requirement.Count {
			return false
		}
	}
	return true
}

func hasSigned(evidence *signer.Evidence, authority *signer.RequiredAuthority) bool {
	if !slices.ContainsFunc(evidence.Signatures, func(s signer.Signature) bool { return s.Authority == authority.Name }) {
		return false
	}
	for _, wanted := range authority.Attestations {
		if !slices.ContainsFunc(evidence.Attestations, func(a signer.Attestation) bool {
			return a.Authority == authority.Name && a.PredicateType == wanted.PredicateType
		}) {
			return false
		}
	}
	return true
}

// sizeOf estimates memory in bytes.
func sizeOf(evidence *signer.Evidence) int {
	size := sizeOfAttestations(evidence.Attestations)
	for _, s := range evidence.Signatures {
		size += 512
		for _, a := range s.Annotations {
			size += len(a.Key) + len(a.Value) + 32
		}
	}
	for _, r := range evidence.Rejected {
		size += len(r.Reason) + len(r.PredicateType) + 64
	}
	return size
}

func sizeOfAttestations(attestations []signer.Attestation) int {
	size := 0
	for _, a := range attestations {
		size += 512 + len(a.Predicate)
		if a.PredicateType == scanner.PredicateType {
			size += len(a.Predicate) // the reports that are parsed from it
		}
	}
	return size
}
