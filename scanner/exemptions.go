package scanner

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/signer"
)

// VEXPredicateType is that of attested OpenVEX documents
// (https://github.com/openvex/spec/blob/main/ATTESTING.md); a version may follow it: "/v0.2.0".
const VEXPredicateType = "https://openvex.dev/ns"

// maxDocument bounds one VEX document or file of ignores. The VEX documents of whole distributions are below it.
const maxDocument = 16 << 20

// Exemptions are what a bundle says of single vulnerabilities: VEX documents and ignores. It is immutable.
type Exemptions struct {
	hash string
	// statements and ignores are by vulnerability, as [key] writes it.
	statements map[string][]*claim
	ignores    map[string][]*ignore
}

// NewExemptions reads a bundle's VEX documents, OpenVEX 0.2 or CSAF 2.0 in JSON, and its ignores in YAML, by file
// name. All mistakes are reported together.
func NewExemptions(vex, ignores map[string][]byte) (*Exemptions, error) {
	e := &Exemptions{hash: hashFiles(vex, ignores), statements: map[string][]*claim{}, ignores: map[string][]*ignore{}}
	var mistakes []error
	for _, name := range slices.Sorted(maps.Keys(vex)) {
		claims, err := readVEX(name, vex[name])
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", name, err))
		}
		index(e.statements, claims)
	}
	for _, name := range slices.Sorted(maps.Keys(ignores)) {
		list, err := readIgnores(ignores[name])
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", name, err))
		}
		for _, one := range list {
			e.ignores[key(one.ID)] = append(e.ignores[key(one.ID)], one)
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return e, nil
}

// hashFiles is over names and contents, each preceded by its length.
func hashFiles(folders ...map[string][]byte) string {
	h := sha256.New()
	for _, files := range folders {
		fmt.Fprintf(h, "%d files\n", len(files))
		for _, name := range slices.Sorted(maps.Keys(files)) {
			fmt.Fprintf(h, "%d %s %d\n", len(name), name, len(files[name]))
			h.Write(files[name])
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Hash is "sha256:" and the hash of all of it.
func (e *Exemptions) Hash() string { return e.hash }

// Apply notes in a report which vulnerabilities VEX statements and ignores speak about: those of the
// bundle, and those attested by authorities that trust believes in this. The image is a canonical reference, the
// digest that of the image it stands for. The report is not modified.
//
// Of several statements about one vulnerability the newest is noted, whoever made it. What a status
// or an ignore amounts to, and whether an ignore has expired, is for policies to say.
// Attested documents that cannot be read change nothing.
func (e *Exemptions) Apply(report Report, image string, digest string, attestations []signer.Attestation, trust *signer.Configuration) Report {
	parsed, err := workload.ParseImage(image)
	if err != nil || len(report.Vulnerabilities) == 0 {
		return report
	}
	subject := &subject{image: parsed, digest: digest}
	attested := attestedClaims(attestations, trust)
	report.Vulnerabilities = slices.Clone(report.Vulnerabilities)
	for i := range report.Vulnerabilities {
		v := &report.Vulnerabilities[i]
		id := key(v.ID)
		v.VEX = newest(v, subject, e.statements[id], attested[id])
		v.Ignore = lastingIgnore(v, subject, e.ignores[id])
	}
	return report
}

// attestedClaims are the statements of the believed VEX attestations, by vulnerability.
func attestedClaims(attestations []signer.Attestation, trust *signer.Configuration) map[string][]*claim {
	if trust == nil {
		return nil
	}
	all := map[string][]*claim{}
	for i := range attestations {
		a := &attestations[i]
		if !isVEXPredicate(a.PredicateType) || !trust.VEX(a.Authority) {
			continue
		}
		if claims, err := readAttestedVEX(a); err == nil {
			index(all, claims)
		}
	}
	return all
}

func isVEXPredicate(predicateType string) bool {
	rest, ok := strings.CutPrefix(predicateType, VEXPredicateType)
	return ok && (rest == "" || rest[0] == '/')
}

// index files claims under each name of their vulnerability.
func index(statements map[string][]*claim, claims []*claim) {
	for _, c := range claims {
		for _, id := range c.vulnerabilities {
			statements[id] = append(statements[id], c)
		}
	}
}

// key writes an identifier of a vulnerability for comparison. CVE and GHSA identifiers are compared without regard to
// case, as databases differ in it.
func key(id string) string { return strings.ToUpper(id) }

// newest is the statement that counts for a vulnerability, nil for none.
func newest(v *Vulnerability, s *subject, lists ...[]*claim) *Statement {
	var best *claim
	for _, list := range lists {
		for _, c := range list {
			if c.about(v, s) && (best == nil || c.supersedes(best)) {
				best = c
			}
		}
	}
	if best == nil {
		return nil
	}
	statement := best.Statement
	return &statement
}
