package gitsign_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/gitsign"
)

// read is a file of testdata/signed.
func read(name string) []byte {
	content, err := os.ReadFile("testdata/signed/" + name)
	if err != nil {
		panic(err)
	}
	return content
}

// fixture is a commit that needs no program to be made.
func fixture() (*gitsign.Proof, map[string][]byte) {
	return &gitsign.Proof{
		Commit: read("commit"),
		Trees:  map[string][]byte{"5d6ddb3039e31a63dd8e261e074c6334834e7c79": read("tree")},
	}, map[string][]byte{"bundle.yaml": read("bundle.yaml")}
}

func ExampleVerify() {
	proof, files := fixture()
	signers := gitsign.Signers{AllowedSigners: string(read("allowed_signers")), Now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}
	signer, err := gitsign.Verify(proof, files, signers)
	fmt.Println(signer, err)

	files["pods/policy.rego"] = []byte("package pods")
	_, err = gitsign.Verify(proof, files, signers)
	var refused *gitsign.Error
	fmt.Println(errors.As(err, &refused) && refused.Cause == gitsign.Mismatched, err)
	// Output:
	// ada@example.com (SSH key SHA256:afL0hHpPvi5OCO0fFHjIpGDcIE0/Bgi+yeIAAcPdRFM) <nil>
	// true comparing the files with the commit d9af4cf500fb: pods/policy.rego is not in it: fetch it again
}

func TestAProofIsTheSameAfterItWasStored(t *testing.T) {
	proof, files := fixture()
	proof.Tag = read("tag")
	stored, err := json.Marshal(proof)
	if err != nil {
		t.Fatal(err)
	}
	var again gitsign.Proof
	if err := json.Unmarshal(stored, &again); err != nil {
		t.Fatal(err)
	}
	signer, err := gitsign.Verify(&again, files, gitsign.Signers{AllowedSigners: string(read("allowed_signers")), Now: now})
	accepted(t, "ada@example.com", signer, err)
}

func BenchmarkVerify(b *testing.B) {
	proof, files := fixture()
	signers := gitsign.Signers{AllowedSigners: string(read("allowed_signers")), Now: now}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gitsign.Verify(proof, files, signers); err != nil {
			b.Fatal(err)
		}
	}
}
