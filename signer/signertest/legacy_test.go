package signertest_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/signertest"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/sigstore/pkg/signature"
)

// pushedImage is go-containerregistry's empty image in a registry of its own.
func pushedImage(t testing.TB, referrers bool) name.Digest {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	repository, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/acme/app")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(repository.Tag("v1"), empty.Image); err != nil {
		t.Fatal(err)
	}
	image := repository.Digest(digest)
	if _, err := remote.Head(image); err != nil {
		t.Fatal(err)
	}
	return image
}

// layers are the signatures or attestations of an image as cosign reads them.
func layers(t testing.TB, tag func(name.Reference, ...ociremote.Option) (name.Tag, error), image name.Digest) []oci.Signature {
	t.Helper()
	where, err := tag(image)
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := ociremote.Signatures(where)
	if err != nil {
		t.Fatal(err)
	}
	all, err := signatures.Get()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func hash(t testing.TB) v1.Hash {
	t.Helper()
	h, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// keyless are the options of a keyless verification without network, made anew for each
// call since cosign changes them.
func keyless(t testing.TB, pki *signertest.PKI, claims func(oci.Signature, v1.Hash, map[string]any) error, stamps bool) *cosign.CheckOpts {
	t.Helper()
	return &cosign.CheckOpts{
		TrustedMaterial: trusted(t, pki), Offline: true, ClaimVerifier: claims, UseSignedTimestamps: stamps,
		Identities: []cosign.Identity{{Issuer: releaseIdentity().Issuer, Subject: releaseIdentity().Subject}},
	}
}

func payload(t testing.TB, digest string, annotations map[string]string) []byte {
	t.Helper()
	content, err := signertest.SimpleSigning("registry.example.com/acme/app", digest, annotations)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestALegacyKeylessSignatureVerifiesWithCosign(t *testing.T) {
	pki, image := newPKI(t), pushedImage(t, false)
	signed, err := pki.SignPayload(releaseIdentity(), payload(t, digest, map[string]string{"build": "17"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := signertest.AttachLegacy(t.Context(), image, signed); err != nil {
		t.Fatal(err)
	}
	found := layers(t, ociremote.SignatureTag, image)
	if len(found) != 1 {
		t.Fatalf("got %d signatures, want 1", len(found))
	}
	for _, stamps := range []bool{false, true} {
		options := keyless(t, pki, cosign.SimpleClaimVerifier, stamps)
		options.Annotations = map[string]any{"build": "17"}
		if logged, err := cosign.VerifyImageSignature(t.Context(), found[0], hash(t), options); err != nil || !logged {
			t.Errorf("with timestamps %v: got logged %v and the error %v, want a verified signature in the log", stamps, logged, err)
		}
		options = keyless(t, pki, cosign.SimpleClaimVerifier, stamps)
		options.Annotations = map[string]any{"build": "18"}
		if _, err := cosign.VerifyImageSignature(t.Context(), found[0], hash(t), options); err == nil {
			t.Errorf("with timestamps %v: a signature without the annotation verifies", stamps)
		}
	}
}

func TestALegacyKeylessAttestationVerifiesWithCosign(t *testing.T) {
	pki, image := newPKI(t), pushedImage(t, false)
	statement, err := signertest.StatementV0("registry.example.com/acme/app", digest, "https://slsa.dev/provenance/v0.2", map[string]any{"builder": map[string]any{"id": "https://example.com/builder"}})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := pki.SignLegacyStatement(releaseIdentity(), statement)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := signertest.AttachLegacy(t.Context(), image, signed); err != nil {
			t.Fatal(err)
		}
	}
	found := layers(t, ociremote.AttestationTag, image)
	if len(found) != 2 {
		t.Fatalf("got %d attestations, want both that were attached", len(found))
	}
	for _, one := range found {
		if logged, err := cosign.VerifyBlobAttestation(t.Context(), one, hash(t), keyless(t, pki, cosign.IntotoSubjectClaimVerifier, true)); err != nil || !logged {
			t.Errorf("got logged %v and the error %v, want a verified attestation in the log", logged, err)
		}
		annotations, err := one.Annotations()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := annotations["predicateType"], "https://slsa.dev/provenance/v0.2"; got != want {
			t.Errorf("got the annotation %q, want %q", got, want)
		}
	}
}

// recovered makes an error of a panic: cosign 2.6.5 reads the first of the verified timestamps of a
// signature where there is none (verify.go, VerifyRFC3161Timestamp).
func recovered(do func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panicked: %v", cause)
		}
	}()
	return do()
}

func TestABrokenLegacySignatureFails(t *testing.T) {
	pki := newPKI(t)
	for name, test := range map[string]struct {
		fault signertest.Fault
		want  string
	}{
		"a certificate without SCT":                    {signertest.NoSCT, "SCT"},
		"an SCT of an unknown log":                     {signertest.ForeignSCT, "SCT"},
		"an SCT of another time":                       {signertest.WrongSCT, "SCT"},
		"a certificate that ended before signing":      {signertest.ExpiredCertificate, "expiry"},
		"CVE-2026-24122: an expired intermediate":      {signertest.ExpiredIntermediate, "certificate"},
		"an unknown certificate authority":             {signertest.ForeignAuthority, "certificate"},
		"GHSA-fx35-mq7g-6g98: a key for a certificate": {signertest.KeyForCertificate, ""},
		"no log entry":                                 {signertest.NoLogEntry, "offline verification failed"},
		"CVE-2026-22703: the log entry of another":     {signertest.OtherLogEntry, "signature in bundle does not match"},
		"a log entry of an unknown log":                {signertest.ForeignLogEntry, "log"},
		"a promise of another time":                    {signertest.WrongPromise, "verify"},
		"no promise":                                   {signertest.NoPromise, ""},
		"the timestamp of another signature":           {signertest.OtherTimestamp, "panicked"},
		"a timestamp of an unknown authority":          {signertest.ForeignTimestamp, "panicked"},
		"a byte of the payload changed":                {signertest.TamperedPayload, ""},
		"a byte of the signature changed":              {signertest.TamperedSignature, ""},
		"no signature":                                 {signertest.NoSignature, ""},
	} {
		t.Run(name, func(t *testing.T) {
			image := pushedImage(t, false)
			signed, err := pki.SignPayload(releaseIdentity(), payload(t, digest, nil), test.fault)
			if err != nil {
				t.Fatal(err)
			}
			if err := signertest.AttachLegacy(t.Context(), image, signed); err != nil {
				t.Fatal(err)
			}
			err = recovered(func() error {
				_, err := cosign.VerifyImageSignature(t.Context(), layers(t, ociremote.SignatureTag, image)[0], hash(t), keyless(t, pki, cosign.SimpleClaimVerifier, true))
				return err
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got the error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestALegacySignatureIsOfOneDigest(t *testing.T) {
	pki, image := newPKI(t), pushedImage(t, false)
	signed, err := pki.SignPayload(releaseIdentity(), payload(t, "sha256:"+strings.Repeat("ab", 32), nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := signertest.AttachLegacy(t.Context(), image, signed); err != nil {
		t.Fatal(err)
	}
	if _, err := cosign.VerifyImageSignature(t.Context(), layers(t, ociremote.SignatureTag, image)[0], hash(t), keyless(t, pki, cosign.SimpleClaimVerifier, false)); err == nil {
		t.Error("the signature of another digest verifies")
	}
}

func TestALegacySignatureByKeyVerifiesWithCosign(t *testing.T) {
	pki := newPKI(t)
	key, err := signertest.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := signature.LoadVerifier(key.Public(), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options []signertest.Option
		check   cosign.CheckOpts
		good    bool
	}{
		"without log":                          {nil, cosign.CheckOpts{IgnoreTlog: true}, true},
		"with log":                             {[]signertest.Option{signertest.Logged()}, cosign.CheckOpts{}, true},
		"without log, where it is demanded":    {nil, cosign.CheckOpts{}, false},
		"with the log entry of another":        {[]signertest.Option{signertest.Logged(), signertest.OtherLogEntry}, cosign.CheckOpts{}, false},
		"with a byte of the payload changed":   {[]signertest.Option{signertest.TamperedPayload}, cosign.CheckOpts{IgnoreTlog: true}, false},
		"with a byte of the signature changed": {[]signertest.Option{signertest.TamperedSignature}, cosign.CheckOpts{IgnoreTlog: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			image := pushedImage(t, false)
			signed, err := pki.SignPayloadWithKey(key, payload(t, digest, nil), test.options...)
			if err != nil {
				t.Fatal(err)
			}
			if err := signertest.AttachLegacy(t.Context(), image, signed); err != nil {
				t.Fatal(err)
			}
			check := test.check
			check.SigVerifier, check.Offline, check.TrustedMaterial, check.ClaimVerifier = verifier, true, trusted(t, pki), cosign.SimpleClaimVerifier
			_, err = cosign.VerifyImageSignature(context.Background(), layers(t, ociremote.SignatureTag, image)[0], hash(t), &check)
			if (err == nil) != test.good {
				t.Errorf("got the error %v, want it to be good: %v", err, test.good)
			}
		})
	}
}

func TestABundleIsAttachedAsCosignDoes(t *testing.T) {
	pki := newPKI(t)
	content, err := pki.SignStatement(releaseIdentity(), signatureStatement(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, referrers := range map[string]bool{"a registry with referrers": true, "a registry with a fallback tag": false} {
		t.Run(name, func(t *testing.T) {
			image := pushedImage(t, referrers)
			attached, err := signertest.AttachBundle(t.Context(), image, content, signer.SignPredicateType)
			if err != nil {
				t.Fatal(err)
			}
			list, err := remote.Referrers(image)
			if err != nil {
				t.Fatal(err)
			}
			index, err := list.IndexManifest()
			if err != nil {
				t.Fatal(err)
			}
			// go-containerregistry's registry lists the type of the config, too.
			if want := "application/vnd.oci.empty.v1+json"; len(index.Manifests) != 1 || index.Manifests[0].Digest.String() != attached || index.Manifests[0].ArtifactType != want {
				t.Errorf("got the referrers %+v, want %s with the artifact type %s", index.Manifests, attached, want)
			}
			if bundles, _, err := cosign.GetBundles(t.Context(), image, &cosign.CheckOpts{}); err != nil || len(bundles) != 1 {
				t.Errorf("cosign found %d bundles, error %v, want one", len(bundles), err)
			}
			checkManifest(t, image, attached)
		})
	}
}

// checkManifest compares the manifest with one that cosign's own writer pushes.
func checkManifest(t *testing.T, image name.Digest, attached string) {
	t.Helper()
	got := manifestOf(t, image.Digest(attached))
	if err := ociremote.WriteAttestationNewBundleFormat(image, blobOf(t, image, got), signer.SignPredicateType); err != nil {
		t.Fatal(err)
	}
	list, err := remote.Referrers(image)
	if err != nil {
		t.Fatal(err)
	}
	index, err := list.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 2 {
		t.Fatalf("got %d referrers, want ours and cosign's", len(index.Manifests))
	}
	for _, one := range index.Manifests {
		if one.Digest.String() == attached {
			continue
		}
		want := manifestOf(t, image.Digest(one.Digest.String()))
		for _, side := range []map[string]any{got, want} {
			delete(side["annotations"].(map[string]any), "org.opencontainers.image.created")
		}
		a, b := encode(t, got), encode(t, want)
		if !bytes.Equal(a, b) {
			t.Errorf("got the manifest\n%s\nwant, as cosign writes it,\n%s", a, b)
		}
	}
}

func manifestOf(t *testing.T, reference name.Digest) map[string]any {
	t.Helper()
	found, err := remote.Get(reference)
	if err != nil {
		t.Fatal(err)
	}
	var manifest map[string]any
	if err := json.Unmarshal(found.Manifest, &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest
}

func blobOf(t *testing.T, image name.Digest, manifest map[string]any) []byte {
	t.Helper()
	layer, err := remote.Layer(image.Digest(manifest["layers"].([]any)[0].(map[string]any)["digest"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var content bytes.Buffer
	if _, err := content.ReadFrom(reader); err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

func encode(t *testing.T, value any) []byte {
	t.Helper()
	encoded, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestAttachingToAnImageThatIsNotThereFails(t *testing.T) {
	image := pushedImage(t, true).Repository.Digest("sha256:" + strings.Repeat("00", 32))
	if _, err := signertest.AttachBundle(t.Context(), image, []byte("{}"), signer.SignPredicateType); err == nil || !strings.Contains(err.Error(), http.StatusText(http.StatusNotFound)) {
		t.Errorf("got the error %v, want that there is no such image", err)
	}
}
