package gate

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
)

type factsFunc func(policies.Needs) policies.Facts

func (f factsFunc) Gather(_ context.Context, needs policies.Needs) policies.Facts { return f(needs) }

type scannerFunc func(digest string) (scanner.Report, error)

func (f scannerFunc) Scan(_ context.Context, _, digest string) (scanner.Report, error) {
	return f(digest)
}

func TestScans(t *testing.T) {
	missing := policies.ImageFacts{Resolved: imageDigest, Scan: scanner.Report{State: scanner.StateMissing}}
	signed := policies.ImageFacts{Resolved: imageDigest, Scan: scanner.Report{State: scanner.StateComplete, Authority: "scanner"}}
	unscanned := policies.ImageFacts{Resolved: imageDigest, Unknown: policies.ImageUnknown{Scan: "the registry is down"}}
	unresolved := policies.ImageFacts{Unknown: policies.ImageUnknown{Resolved: "there is no such image", Scan: "there is no such image"}}
	for name, test := range map[string]struct {
		known     policies.ImageFacts
		always    bool
		sections  policies.ImageSections
		fail      error
		authority string // of the scan that counts
		unknown   string
		scans     int32
	}{
		"no scan is read": {known: missing},
		"there is none":   {known: missing, sections: policies.ImageSections{Scan: true}, authority: OwnScan, scans: 1},
		"a scanner that is believed has signed one": {known: signed, sections: policies.ImageSections{Scan: true}, authority: "scanner"},
		"one is signed, and the gate is to scan":    {known: signed, always: true, sections: policies.ImageSections{Scan: true}, authority: OwnScan, scans: 1},
		"it could not be fetched":                   {known: unscanned, sections: policies.ImageSections{Scan: true}, authority: OwnScan, scans: 1},
		"the image is not there":                    {known: unresolved, sections: policies.ImageSections{Scan: true}, unknown: "there is no such image"},
		"scanning fails":                            {known: missing, sections: policies.ImageSections{Scan: true}, fail: errors.New("no database: pass --database"), unknown: "no database: pass --database", scans: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var scans atomic.Int32
			s := &Scans{
				Always: test.always,
				Around: factsFunc(func(policies.Needs) policies.Facts {
					return policies.Facts{Images: map[string]policies.ImageFacts{"a": test.known, "b": test.known}}
				}),
				Scanner: scannerFunc(func(digest string) (scanner.Report, error) {
					if digest != imageDigest {
						t.Errorf("got %s scanned, want %s", digest, imageDigest)
					}
					scans.Add(1)
					return scanner.Report{State: scanner.StateComplete, Authority: "whoever"}, test.fail
				}),
			}
			needs := policies.Needs{Images: policies.ImageNeeds{Sections: test.sections, Images: []workload.Image{{Ref: "a"}, {Ref: "b"}}}}
			for _, ref := range []string{"a", "b"} {
				got := s.Gather(context.Background(), needs).Images[ref]
				if got.Scan.Authority != test.authority || !strings.Contains(got.Unknown.Scan, test.unknown) || (test.unknown == "") != (got.Unknown.Scan == "") {
					t.Errorf("got a scan by %q, unknown for %q, want one by %q, unknown for %q", got.Scan.Authority, got.Unknown.Scan, test.authority, test.unknown)
				}
			}
			if got := scans.Load(); got != test.scans {
				t.Errorf("got %d scans of one digest, want %d", got, test.scans)
			}
		})
	}
}
