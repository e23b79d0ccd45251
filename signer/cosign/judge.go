package cosign

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// judge decides what of the things attached to one digest counts, and by whom it is.
type judge struct {
	target      Target
	hash        []byte
	authorities []*signer.CheckedAuthority
	// material is nil where no trusted root is configured.
	material root.TrustedMaterial
}

func newJudge(target Target, authorities []*signer.CheckedAuthority, material root.TrustedMaterial) (*judge, error) {
	hash, err := target.hash()
	if err != nil {
		return nil, err
	}
	return &judge{target: target, hash: hash, authorities: authorities, material: material}, nil
}

// consider adds one candidate to the evidence: as a signature, as an attestation, or as a
// rejection that says why it is neither. An error means that it could not be decided.
func (j *judge) consider(one candidate, evidence *signer.Evidence) error {
	var (
		c       *claim
		signers []signer.Signer
		reason  string
	)
	err := guarded(func() (err error) {
		if c, err = j.read(one); err == nil {
			signers, reason, err = j.weigh(c)
		}
		return err
	})
	var undecided *UndecidedError
	if errors.As(err, &undecided) {
		return err
	}
	if err != nil {
		reason = abbreviate(err.Error())
	}
	if len(signers) == 0 {
		evidence.Rejected = append(evidence.Rejected, rejection(one, c, reason))
		return nil
	}
	for _, by := range signers {
		if c.signature {
			evidence.Signatures = append(evidence.Signatures, signer.Signature{Signer: by, Annotations: c.annotations})
			continue
		}
		evidence.Attestations = append(evidence.Attestations, signer.Attestation{
			Signer: by, PredicateType: c.statement.predicateType, Predicate: c.statement.predicate, Digest: c.statement.digest,
		})
	}
	return nil
}

// read parses a candidate. The claim may be there beside an error, for what it says of itself.
func (j *judge) read(one candidate) (*claim, error) {
	switch one.kind {
	case kindBundle:
		return readBundle(one.content, j.target, j.hash)
	case kindSignature:
		return readSignature(one, j.target, j.hash)
	case kindEnvelope:
		return readEnvelope(one, j.target, j.hash)
	default:
		return nil, errors.New(one.reason)
	}
}

// weigh finds the authorities that a claim satisfies. Where there is none, reason says why.
func (j *judge) weigh(c *claim) (signers []signer.Signer, reason string, err error) {
	var reasons []string
	for _, way := range []func(*claim) ([]signer.Signer, string, error){j.weighCertificate, j.weighKeys} {
		found, reason, err := way(c)
		if err != nil {
			return nil, "", err
		}
		signers = append(signers, found...)
		if reason != "" {
			reasons = append(reasons, reason)
		}
	}
	if len(signers) == 0 && len(reasons) == 0 {
		reasons = append(reasons, fmt.Sprintf("%s signs in this way", j.nobody()))
	}
	slices.SortStableFunc(signers, func(a, b signer.Signer) int {
		return j.rank(a.Authority) - j.rank(b.Authority)
	})
	return signers, strings.Join(reasons, "; "), nil
}

// rank is an authority's place in the bundle.
func (j *judge) rank(name string) int {
	return slices.IndexFunc(j.authorities, func(a *signer.CheckedAuthority) bool { return a.Name == name })
}

// few keeps a reason readable where there are many authorities.
func few(refusals []string) string {
	const most = 3
	if len(refusals) <= most {
		return strings.Join(refusals, "; ")
	}
	return fmt.Sprintf("%s; and %d more authorities neither", strings.Join(refusals[:most], "; "), len(refusals)-most)
}

// nobody is how refusals begin.
func (j *judge) nobody() string {
	if j.target.Repository == (registry.Repository{}) {
		return "no authority"
	}
	return "no authority for " + j.target.Repository.String()
}

// weighCertificate verifies once against the certificate and asks each authority about it.
func (j *judge) weighCertificate(c *claim) (signers []signer.Signer, reason string, err error) {
	if c.byCertificate == nil {
		return nil, "", nil
	}
	keyless := slices.DeleteFunc(slices.Clone(j.authorities), func(a *signer.CheckedAuthority) bool { return !a.Keyless() })
	if len(keyless) == 0 {
		if c.byKey != nil { // a key may still fit
			return nil, "", nil
		}
		return nil, fmt.Sprintf("signed by certificate, and %s has identities", j.nobody()), nil
	}
	if j.material == nil {
		return nil, "", &UndecidedError{fmt.Sprintf("verifying what certificates have signed of %s: there is no trusted root: configure a trusted_root.json", j.target)}
	}
	found, err := c.byCertificate(j.material)
	if err != nil {
		return nil, abbreviate(err.Error()), nil // a key may still fit
	}
	var refusals []string
	for _, authority := range keyless {
		if accepted, why := authority.Accepts(found.claims); !accepted {
			_, tail, _ := strings.Cut(why, "does not accept: ")
			refusals = append(refusals, fmt.Sprintf("for %s %s", authority.Name, tail))
			continue
		}
		if missing := missingAnnotation(authority, c); missing != "" {
			refusals = append(refusals, fmt.Sprintf("for %s %s", authority.Name, missing))
			continue
		}
		signers = append(signers, found.signer(authority.Name, c.format))
	}
	if len(signers) > 0 {
		return signers, "", nil
	}
	return nil, fmt.Sprintf("signed by %s (issuer %s), which %s accepts: %s",
		abbreviate(found.claims.Subject), abbreviate(found.claims.Issuer), j.nobody(), few(refusals)), nil
}

// weighKeys tries the keys of all authorities.
func (j *judge) weighKeys(c *claim) (signers []signer.Signer, reason string, err error) {
	if c.byKey == nil {
		return nil, "", nil
	}
	keys, refusals := 0, []string{}
	tried := make(map[string]error) // by fingerprint, so that a key of several authorities is tried once
	proofs := make(map[string]proof)
	for _, authority := range j.authorities {
		if authority.TransparencyLog && len(authority.PublicKeys) > 0 && j.material == nil {
			return nil, "", &UndecidedError{fmt.Sprintf("verifying log entries of %s, which authority %s demands: there is no trusted root: configure a trusted_root.json", j.target, authority.Name)}
		}
		for _, key := range authority.PublicKeys {
			keys++
			attempt := fmt.Sprint(key.Fingerprint, authority.TransparencyLog)
			if _, again := tried[attempt]; !again {
				proofs[attempt], tried[attempt] = c.byKey(j.material, key, authority.TransparencyLog)
			}
			if tried[attempt] != nil {
				if _, err := j.unlogged(c, key, authority); err == nil {
					refusals = append(refusals, fmt.Sprintf("signed by the key of %s, which demands an entry of a transparency log: %s", authority.Name, abbreviate(tried[attempt].Error())))
				}
				continue
			}
			if missing := missingAnnotation(authority, c); missing != "" {
				refusals = append(refusals, fmt.Sprintf("signed by %s, but %s", authority.Name, missing))
				continue
			}
			signers = append(signers, proofs[attempt].signer(authority.Name, c.format))
			break
		}
	}
	switch {
	case len(signers) > 0:
		return signers, "", nil
	case len(refusals) > 0:
		return nil, few(refusals), nil
	case keys == 0 && c.byCertificate != nil:
		return nil, "", nil
	case keys == 0:
		return nil, fmt.Sprintf("signed by a key, and %s has keys", j.nobody()), nil
	case keys == 1:
		return nil, fmt.Sprintf("not signed by the one trusted key: %s has the right one", j.nobody()), nil
	default:
		return nil, fmt.Sprintf("signed by none of the %d trusted keys: %s has the right one", keys, j.nobody()), nil
	}
}

// unlogged says whether a key fits and only the log entry is missing.
func (j *judge) unlogged(c *claim, key signer.PublicKey, authority *signer.CheckedAuthority) (proof, error) {
	if !authority.TransparencyLog {
		return proof{}, errors.New("the key does not fit")
	}
	return c.byKey(j.material, key, false)
}

// missingAnnotation names what an authority wants a signature to cover, "" if all is there.
// Attestations cover no annotations.
func missingAnnotation(authority *signer.CheckedAuthority, c *claim) string {
	if !c.signature {
		return ""
	}
	var missing []string
	for key, value := range authority.Annotations {
		if !slices.Contains(c.annotations, signer.Annotation{Key: key, Value: value}) {
			missing = append(missing, fmt.Sprintf("%s=%s", key, value))
		}
	}
	if len(missing) == 0 {
		return ""
	}
	slices.Sort(missing)
	return fmt.Sprintf("the signature does not cover the annotation %s", strings.Join(missing, " and "))
}

// rejection tells what was found, as far as it could be read.
func rejection(one candidate, c *claim, reason string) signer.Rejection {
	r := signer.Rejection{What: one.what, Reason: reason}
	switch {
	case c != nil && (c.signature || c.statement.predicateType == signer.SignPredicateType):
		r.What = "signature"
	case c != nil && c.statement.predicateType != "":
		r.What, r.PredicateType = "attestation", abbreviate(c.statement.predicateType)
	case one.kind == kindSignature:
		r.What = "signature"
	case one.kind == kindEnvelope, r.What == "":
		r.What = "attestation"
	}
	return r
}

// UndecidedError says that something could not be found out: neither evidence nor the want of it.
type UndecidedError struct{ reason string }

func (e *UndecidedError) Error() string { return e.reason }
