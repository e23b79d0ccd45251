package cosign_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
)

func TestFilesAreSignedAndVerified(t *testing.T) {
	key, authority := newKey(t, "release")
	other, _ := newKey(t, "other")
	file := []byte("a file\n")
	sign := func(content []byte, key *cosign.Key) []byte {
		bundle, err := cosign.SignBlob(content, key)
		if err != nil {
			t.Fatal(err)
		}
		return bundle
	}
	target := cosign.Target{Repository: app, Digest: realDigest}
	attested, err := cosign.SignStatement(target, key, statement(t, target, vulnType, "{}"), signer.FormatBundle)
	if err != nil {
		t.Fatal(err)
	}
	authorities := []*signer.CheckedAuthority{compile(t, authority).Authority("release")}
	for name, c := range map[string]struct {
		bundle []byte
		blob   cosign.Blob
		is     error
		want   string // "" where it is signed
	}{
		"signed":                          {sign(file, key), cosign.Blob{Content: file, Signature: true}, nil, ""},
		"a digest that is none":           {sign(file, key), cosign.Blob{Digest: "sha256:12"}, nil, "is no digest: write sha256: or sha512:"},
		"signed by another":               {sign(file, other), cosign.Blob{Content: file, Signature: true}, nil, "not signed by the one trusted key"},
		"a signature of another file":     {sign([]byte("b"), key), cosign.Blob{Content: file, Signature: true}, cosign.ErrOtherFile, "it is about another file, sha256:3e23e816"},
		"an attestation of the digest":    {attested, cosign.Blob{Digest: realDigest, Signature: true}, cosign.ErrNoSignature, "a signature of the file is wanted"},
		"an attestation, which will do":   {attested, cosign.Blob{Digest: realDigest}, nil, ""},
		"no bundle":                       {[]byte("{}"), cosign.Blob{Content: file, Signature: true}, nil, "it is no Sigstore bundle"},
		"another file, which is not said": {sign([]byte("b"), key), cosign.Blob{Content: file}, nil, "verifying the bundle: "},
	} {
		t.Run(name, func(t *testing.T) {
			signers, err := verifier().VerifyBlob(c.bundle, c.blob, authorities)
			if c.want == "" {
				if err != nil || len(signers) != 1 || signers[0].Key != key.Fingerprint() {
					t.Errorf("got %+v, %v, want one signature by the key", signers, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %+v, %v, want an error with %q", signers, err, c.want)
			}
		})
	}
}
