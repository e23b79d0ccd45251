package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/gitsign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Cause is why a revision is not trusted.
type Cause string

// The causes.
const (
	// Unsigned: nobody has signed it, or not in a way that counts.
	Unsigned Cause = "not signed"
	// Untrusted: whoever has signed it is not trusted for it.
	Untrusted Cause = "signed by nobody who is trusted"
	// Mismatched: what is signed is something else than the files at hand.
	Mismatched Cause = "something else is signed"
	// Misconfigured: the verification could accept nobody's signature of this source.
	Misconfigured Cause = "the verification does not fit"
	// Undecided: it could not be found out, as without a trusted root.
	Undecided Cause = "not found out"
)

// VerificationError says why a revision is not trusted, and what to do about it.
type VerificationError struct {
	Cause Cause
	// Origin is that of the revision.
	Origin string
	Err    error
}

// Error implements error.
func (e *VerificationError) Error() string { return fmt.Sprintf("verifying %s: %v", e.Origin, e.Err) }

// Unwrap is the reason.
func (e *VerificationError) Unwrap() error { return e.Err }

// refuse makes a [VerificationError] that has yet to learn the origin.
func refuse(cause Cause, format string, arguments ...any) error {
	return &VerificationError{Cause: cause, Err: fmt.Errorf(format, arguments...)}
}

// VerifierOptions are those of a [Verifier].
type VerifierOptions struct {
	// Roots are what keyless signatures and entries of transparency logs are verified against; nil for none.
	Roots *cosign.Roots
	// Now is the clock by which keys have expired; time.Now where nil.
	Now func() time.Time
}

// Verifier verifies revisions. It may be used concurrently. The zero value has no trusted root.
type Verifier struct {
	roots *cosign.Roots
	now   func() time.Time
}

// NewVerifier makes a verifier.
func NewVerifier(o VerifierOptions) *Verifier {
	return &Verifier{roots: o.Roots, now: o.Now}
}

// At is a verifier by whose clock it is another time: for a revision that was stored then, by somebody who had verified it.
// A key that has expired since vouched for it all the same, and whoever uses an expired key now cannot store anything in
// the past. Keys that were revoked or are not named any more do not count at any time.
func (v *Verifier) At(t time.Time) *Verifier {
	return &Verifier{roots: v.roots, now: func() time.Time { return t }}
}

func (v *Verifier) clock() time.Time {
	if v.now == nil {
		return time.Now()
	}
	return v.now()
}

// Verify says who has signed a revision, of those who may. It looks at nothing but the revision. Signers are for people,
// and none where verification asks for no signature and there is none. Every other revision that is not signed
// is an error, a [*VerificationError] with the cause and what to do.
//
// InsecureUnsigned accepts what nobody trusted has signed, but never files that are not those of their own proof.
func (v *Verifier) Verify(ctx context.Context, r *Revision, by v1alpha1.Verification) (signers []string, err error) {
	signers, err = v.verify(ctx, r, by)
	var refused *VerificationError
	if !errors.As(err, &refused) {
		return signers, err
	}
	if by.InsecureUnsigned && refused.Cause != Mismatched {
		return nil, nil
	}
	refused.Origin = r.Origin
	return nil, refused
}

func (v *Verifier) verify(ctx context.Context, r *Revision, by v1alpha1.Verification) ([]string, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("verifying %s: %w", r.Origin, err)
	}
	if r.Tree == nil {
		return nil, refuse(Mismatched, "it has no files: fetch it again")
	}
	proofs := 0
	var signers []string
	var err error
	if r.Proof.Git != nil {
		proofs++
		signers, err = v.verifyGit(r, by)
	}
	if r.Proof.OCI != nil {
		proofs++
		signers, err = v.verifyOCI(ctx, r, by)
	}
	if r.Proof.Blob != nil {
		proofs++
		signers, err = v.verifyBlob(r, by)
	}
	switch {
	case proofs > 1:
		return nil, refuse(Mismatched, "it has %d proofs of different kinds, of which one can be about its files: fetch it again", proofs)
	case proofs == 0:
		return nil, refuse(Unsigned, "nothing in it can be signed: keep it in Git, in a registry or as a signed tarball, or set insecureUnsigned if whoever can write there may decide what is admitted")
	}
	return signers, err
}

// verifyGit follows signature, commit, trees and files. That the files are those of the commit is looked for first.
func (v *Verifier) verifyGit(r *Revision, by v1alpha1.Verification) ([]string, error) {
	signers := gitsign.Signers{AllowedSigners: by.AllowedSigners, PGPKeys: by.PGPKeys, Now: v.clock()}
	who, err := gitsign.Verify(r.Proof.Git, maps.Collect(r.Tree.All()), signers)
	var refused *gitsign.Error
	if errors.As(err, &refused) {
		if by.AllowedSigners == "" && by.PGPKeys == "" && refused.Cause != gitsign.Mismatched {
			return nil, refuse(Misconfigured, "the verification names nobody who signs commits: give allowedSigners or pgpKeys, or set insecureUnsigned if whoever can write there may decide what is admitted")
		}
		return nil, &VerificationError{Cause: causeOf(refused.Cause), Err: err}
	}
	if err != nil {
		return nil, undecided(err)
	}
	return []string{who}, nil
}

// causeOf is the cause that package gitsign gives, as ours. One that is not known is the worst.
func causeOf(cause gitsign.Cause) Cause {
	switch cause {
	case gitsign.Unsigned:
		return Unsigned
	case gitsign.Untrusted:
		return Untrusted
	case gitsign.Misconfigured:
		return Misconfigured
	}
	return Mismatched
}

// verifyOCI follows signature, manifest, layer and files.
func (v *Verifier) verifyOCI(ctx context.Context, r *Revision, by v1alpha1.Verification) ([]string, error) {
	proof := r.Proof.OCI
	if err := proof.bind(r.Tree); err != nil {
		return nil, err
	}
	trust, err := compile(by)
	if err != nil {
		return nil, err
	}
	target := proof.target()
	if len(trust.For(proof.Registry, proof.Repository)) == 0 {
		return nil, refuse(Misconfigured, "no authority may sign in %s: add the repository to the images of the one that signs it", target.Repository)
	}
	evidence, err := cosign.NewVerifier(cosign.Options{Roots: v.roots, Limits: limits()}).Verify(ctx, proof.player(), target, trust)
	if err != nil {
		return nil, undecided(err)
	}
	if len(evidence.Signatures) == 0 {
		return nil, unsignedArtifact(target, evidence)
	}
	var signers []string
	for _, signature := range evidence.Signatures {
		signers = append(signers, describe(signature.Signer))
	}
	return slices.Compact(signers), nil
}

// undecided keeps apart what could not be found out.
func undecided(err error) error {
	return &VerificationError{Cause: Undecided, Err: err}
}

// unsignedArtifact says why nothing of what is attached counts.
func unsignedArtifact(target cosign.Target, evidence signer.Evidence) error {
	if len(evidence.Rejected) == 0 && len(evidence.Attestations) > 0 {
		return refuse(Unsigned, "it has attestations and no signature: sign it with portcullis image sign %s", target)
	}
	if len(evidence.Rejected) == 0 {
		return refuse(Unsigned, "nobody has signed it: sign it with portcullis image sign %s", target)
	}
	cause, reasons := Mismatched, []string{}
	for _, rejected := range evidence.Rejected {
		if !isAboutAnother(rejected.Reason) {
			cause = Untrusted
		}
		if !slices.Contains(reasons, rejected.Reason) {
			reasons = append(reasons, rejected.Reason)
		}
	}
	return refuse(cause, "none of what is attached is a signature that counts: %s: have it signed by an authority, or add who has signed it", few(reasons))
}

// target is what signatures are about.
func (p *OCIProof) target() cosign.Target {
	repository := registry.Repository{Registry: p.Registry, Path: p.Repository}
	return cosign.Target{Repository: repository, Digest: registry.DigestOf(p.Manifest)}
}

// bind says whether the files are those of the artifact.
func (p *OCIProof) bind(tree *archive.Tree) error {
	contents, err := ReadManifest(p.Manifest)
	if err != nil {
		return refuse(Mismatched, "%w", err)
	}
	return contents.has(tree, p.Layer)
}

// player answers from what was attached. The artifact itself is asked for by authorities that want all platforms signed.
func (p *OCIProof) player() *player {
	attached := p.Attached
	attached.Contents = append(slices.Clone(attached.Contents), p.Manifest)
	return newPlayer(attached)
}

// unpacksTo says whether an archive has these files.
func unpacksTo(packed []byte, tree *archive.Tree) error {
	unpacked, err := archive.Unpack(bytes.NewReader(packed))
	if err != nil {
		return refuse(Mismatched, "%w", err)
	}
	if unpacked.Digest() != tree.Digest() {
		return refuse(Mismatched, "its files have the digest %s, and those of what is signed have %s: fetch it again", tree.Digest(), unpacked.Digest())
	}
	return nil
}

// verifyBlob follows signature, tarball and files. The authorities are those given for this bundle, whatever the
// images are that they may sign: a tarball is in no repository.
func (v *Verifier) verifyBlob(r *Revision, by v1alpha1.Verification) ([]string, error) {
	proof := r.Proof.Blob
	if err := unpacksTo(proof.Tarball, r.Tree); err != nil {
		return nil, err
	}
	trust, err := compile(by)
	if err != nil {
		return nil, err
	}
	var authorities []*signer.CheckedAuthority
	for _, authority := range by.Authorities {
		if len(authority.Annotations) == 0 {
			authorities = append(authorities, trust.Authority(authority.Name))
		}
	}
	if len(authorities) == 0 {
		return nil, refuse(Misconfigured, "every authority demands annotations, which the signature of a tarball has none of: remove them from one")
	}
	if len(bytes.TrimSpace(proof.Bundle)) == 0 {
		return nil, refuse(Unsigned, "nobody has signed it: sign the tarball with cosign sign-blob --bundle, and serve the bundle at its signatureURL")
	}
	found, err := cosign.NewVerifier(cosign.Options{Roots: v.roots}).VerifyBlob(proof.Bundle, cosign.Blob{Content: proof.Tarball, Signature: true}, authorities)
	if err != nil {
		return nil, refuseBlob(err)
	}
	var signers []string
	for _, one := range found {
		signers = append(signers, describe(one))
	}
	return slices.Compact(signers), nil
}

// refuseBlob says why the signature of a tarball does not count.
func refuseBlob(err error) error {
	var open *cosign.UndecidedError
	switch {
	case errors.As(err, &open):
		return undecided(err)
	case errors.Is(err, cosign.ErrNoSignature):
		return refuse(Unsigned, "%w: sign the tarball with cosign sign-blob --bundle", err)
	case errors.Is(err, cosign.ErrOtherFile):
		return refuse(Mismatched, "%w: sign the tarball that is served", err)
	}
	return refuse(Untrusted, "%w: have it signed by an authority, or add who has signed it", err)
}

// compile reads the authorities.
func compile(by v1alpha1.Verification) (*signer.Configuration, error) {
	if len(by.Authorities) == 0 {
		return nil, refuse(Misconfigured, "the verification names no authorities, and none else sign artifacts and tarballs: add one, or set insecureUnsigned if whoever can write there may decide what is admitted")
	}
	trust, err := signer.Compile(&signer.Trust{Authorities: by.Authorities})
	if err != nil {
		return nil, refuse(Misconfigured, "reading the verification: %w", err)
	}
	return trust, nil
}

// describe names a signer for people.
func describe(s signer.Signer) string {
	switch {
	case s.Key != "":
		return fmt.Sprintf("%s (key %s)", s.Authority, s.Key)
	case s.Subject != "":
		return fmt.Sprintf("%s (%s, issuer %s)", s.Authority, s.Subject, s.Issuer)
	}
	return s.Authority
}

// isAboutAnother reads a rejection's reason.
func isAboutAnother(reason string) bool {
	return strings.HasPrefix(reason, cosign.ErrOtherImage.Error())
}

// few keeps a message readable.
func few(reasons []string) string {
	const most = 3
	text := ""
	for i, reason := range reasons[:min(len(reasons), most)] {
		if i > 0 {
			text += "; "
		}
		text += reason
	}
	if len(reasons) > most {
		text += fmt.Sprintf("; and %d more", len(reasons)-most)
	}
	return text
}
