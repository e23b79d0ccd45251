package signertest_test

import (
	"fmt"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/signertest"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// A good signature, and one whose log entry is another's.
func ExamplePKI_SignStatement() {
	if err := signAndForge(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// signed by jane@acme.com: https://sigstore.dev/cosign/sign/v1
	// refused: failed to verify log inclusion: transparency log signature does not match
}

func signAndForge() error {
	pki, err := signertest.New()
	if err != nil {
		return err
	}
	material, err := pki.TrustedMaterial()
	if err != nil {
		return err
	}
	statement, err := signertest.SignatureStatement(digest, nil)
	if err != nil {
		return err
	}
	jane := signertest.Identity{Issuer: "https://accounts.google.com", Subject: "jane@acme.com"}
	identity, err := verify.NewShortCertificateIdentity(jane.Issuer, "", jane.Subject, "")
	if err != nil {
		return err
	}
	for _, options := range [][]signertest.Option{nil, {signertest.OtherLogEntry}} {
		bundle, err := pki.SignStatement(jane, statement, options...)
		if err != nil {
			return err
		}
		result, err := verifyBundle(material, bundle, verify.WithCertificateIdentity(identity), strict()...)
		if err != nil {
			return fmt.Errorf("refused: %w", err)
		}
		fmt.Printf("signed by %s: %s\n", result.Signature.Certificate.SubjectAlternativeName, result.Statement.GetPredicateType())
	}
	return nil
}

// What cosign version 2 signs.
func ExampleSimpleSigning() {
	payload, err := signertest.SimpleSigning("ghcr.io/acme/app", "sha256:ab", map[string]string{"build": "17"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(payload))
	statement, err := signertest.Statement("sha256:ab", signer.SignPredicateType, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(statement))
	// Output:
	// {"critical":{"identity":{"docker-reference":"ghcr.io/acme/app"},"image":{"docker-manifest-digest":"sha256:ab"},"type":"cosign container image signature"},"optional":{"build":"17"}}
	// {"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"ab"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1"}
}
