package signertest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/signer"
)

// Types of in-toto statements, and of the payload that holds one.
const (
	statementType   = "https://in-toto.io/Statement/v1"
	statementTypeV0 = "https://in-toto.io/Statement/v0.1"
	payloadType     = "application/vnd.in-toto+json"
)

type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     any       `json:"predicate,omitempty"`
}

type subject struct {
	Name        string            `json:"name,omitempty"`
	Digest      map[string]string `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Statement is an in-toto statement, version 1, about a digest ("sha256:…"). predicate is
// anything that can be JSON, nil for none.
func Statement(digest, predicateType string, predicate any) ([]byte, error) {
	return encodeStatement(statement{Type: statementType, PredicateType: predicateType, Predicate: predicate}, "", digest, nil)
}

// StatementV0 is an in-toto statement, version 0.1, as "cosign attest" version 2 writes it:
// the subject has the repository as its name.
func StatementV0(repository, digest, predicateType string, predicate any) ([]byte, error) {
	return encodeStatement(statement{Type: statementTypeV0, PredicateType: predicateType, Predicate: predicate}, repository, digest, nil)
}

// SignatureStatement is what cosign version 3 signs when it signs an image: a statement without
// predicate. Annotations are those of the subject.
func SignatureStatement(digest string, annotations map[string]string) ([]byte, error) {
	return encodeStatement(statement{Type: statementType, PredicateType: signer.SignPredicateType}, "", digest, annotations)
}

func encodeStatement(s statement, name, digest string, annotations map[string]string) ([]byte, error) {
	algorithm, value, found := strings.Cut(digest, ":")
	if !found {
		return nil, fmt.Errorf("making a statement: %q is no digest: write sha256:…", digest)
	}
	s.Subject = []subject{{Name: name, Digest: map[string]string{algorithm: value}, Annotations: annotations}}
	encoded, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding a statement: %w", err)
	}
	return encoded, nil
}

// SimpleSigning is what cosign version 2 signs when it signs an image
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md). repository is the image's, without
// tag; annotations are the part that cosign calls optional.
func SimpleSigning(repository, digest string, annotations map[string]string) ([]byte, error) {
	type payload struct {
		Critical struct {
			Identity struct {
				DockerReference string `json:"docker-reference"`
			} `json:"identity"`
			Image struct {
				DockerManifestDigest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
		Optional map[string]string `json:"optional"`
	}
	var p payload
	p.Critical.Identity.DockerReference = repository
	p.Critical.Image.DockerManifestDigest = digest
	p.Critical.Type = "cosign container image signature"
	p.Optional = annotations
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding a payload: %w", err)
	}
	return encoded, nil
}
