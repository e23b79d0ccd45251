package gate

import (
	"context"
	"sync"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

// OwnScan is the authority of scans that the gate made itself. No signature stands behind
// it: who runs the gate believes its scanner as much as its verdict.
const OwnScan = "gate"

// ImageScanner scans an image. What keeps it from knowing is a state of the report; an error
// is for people and ends with the next step.
type ImageScanner interface {
	Scan(ctx context.Context, repository, digest string) (scanner.Report, error)
}

// Scans adds scans to what is known of images: where no believed scan is, or always. Each
// digest is scanned once in a run. It implements [admission.Facts].
type Scans struct {
	// Around gathers the rest.
	Around  admission.Facts
	Scanner ImageScanner
	// Always scans even where there is a signed scan.
	Always bool

	mu    sync.Mutex
	scans map[string]*ownScan
}

// ownScan is a scan that is done once.
type ownScan struct {
	once   sync.Once
	report scanner.Report
	err    error
}

// Gather implements admission.Facts.
func (s *Scans) Gather(ctx context.Context, needs policies.Needs) policies.Facts {
	gathered := s.Around.Gather(ctx, needs)
	if !needs.Images.Sections.Scan {
		return gathered
	}
	for _, image := range needs.Images.Images {
		known, ok := gathered.Images[image.Ref]
		if !ok || !s.wanted(known) {
			continue
		}
		s.complete(ctx, &known, image.Ref, image.Registry+"/"+image.Repository, needs.Images)
		gathered.Images[image.Ref] = known
	}
	return gathered
}

// wanted says whether the gate has to scan an image: its digest is known, and nobody who is
// believed has scanned it.
func (s *Scans) wanted(known policies.ImageFacts) bool {
	if known.Unknown.Resolved != "" || known.Resolved == "" {
		return false
	}
	return s.Always || known.Unknown.Scan != "" || known.Scan.State == scanner.StateMissing
}

// complete puts a scan in place of the one that is missing.
func (s *Scans) complete(ctx context.Context, known *policies.ImageFacts, ref, repository string, needs policies.ImageNeeds) {
	report, err := s.scan(ctx, repository, known.Resolved)
	if err != nil {
		known.Unknown.Scan = "what is in image " + ref + ": " + err.Error()
		return
	}
	known.Unknown.Scan = ""
	report.Authority = OwnScan
	var attestations []signer.Attestation
	if known.Unknown.Evidence == "" {
		attestations = known.Evidence.Attestations
	}
	known.Scan = report
	if needs.Exemptions != nil {
		known.Scan = needs.Exemptions.Apply(report, ref, known.Resolved, attestations, needs.Trust)
	}
}

func (s *Scans) scan(ctx context.Context, repository, digest string) (scanner.Report, error) {
	s.mu.Lock()
	if s.scans == nil {
		s.scans = map[string]*ownScan{}
	}
	found, ok := s.scans[digest]
	if !ok {
		found = &ownScan{}
		s.scans[digest] = found
	}
	s.mu.Unlock()
	// The deadline is not that of whoever came first: others wait for the same scan.
	found.once.Do(func() { found.report, found.err = s.Scanner.Scan(context.WithoutCancel(ctx), repository, digest) })
	return found.report, found.err
}
