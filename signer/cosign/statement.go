package cosign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/portcullis-dev/portcullis/signer"
)

// payloadType is the DSSE payload type of in-toto statements
// (https://github.com/in-toto/attestation/blob/main/spec/v1/envelope.md).
const payloadType = "application/vnd.in-toto+json"

// statementTypes are the versions of the in-toto statement that are understood.
var statementTypes = []string{"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"}

// statement is an in-toto statement.
type statement struct {
	subjects      []subject
	predicateType string
	// predicate is raw JSON, "{}" where there is none.
	predicate json.RawMessage
	// raw is all of it.
	raw json.RawMessage
	// digest is that of the whole statement.
	digest string
}

type subject struct {
	Digest      map[string]string `json:"digest"`
	Annotations map[string]any    `json:"annotations"`
}

// parseStatement reads a signed payload. What does not read well does not count
// (CVE-2026-39395); names that are there twice, or in another case, could be read in two ways.
func parseStatement(payload []byte) (statement, error) {
	fields, err := parseObject(payload)
	if err != nil {
		return statement{}, fmt.Errorf("its payload is no in-toto statement: %w", err)
	}
	var version string
	if err := json.Unmarshal(fields["_type"], &version); err != nil || !slices.Contains(statementTypes, version) {
		return statement{}, errors.New("its payload is no in-toto statement: _type must be https://in-toto.io/Statement/v1 or v0.1")
	}
	sum := sha256.Sum256(payload)
	s := statement{predicate: fields["predicate"], raw: payload, digest: "sha256:" + hex.EncodeToString(sum[:])}
	if err := json.Unmarshal(fields["predicateType"], &s.predicateType); err != nil || s.predicateType == "" {
		return statement{}, errors.New("its statement has no predicateType")
	}
	if err := json.Unmarshal(fields["subject"], &s.subjects); err != nil {
		return statement{}, fmt.Errorf("its statement has no list of subjects: %w", err)
	}
	if len(s.predicate) == 0 || string(s.predicate) == "null" {
		s.predicate = json.RawMessage("{}")
	}
	return s, nil
}

// parseObject splits a JSON object. Names must be unique, whatever their case, and nothing may follow: cosign reads
// envelopes with encoding/json, which takes the last of those that differ in case only, and would verify another payload than is read here.
func parseObject(raw []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	fields, names := make(map[string]json.RawMessage), make(map[string]bool)
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		text, ok := name.(string)
		if !ok || names[folded(text)] {
			return nil, fmt.Errorf("it has the name %q twice", abbreviate(text))
		}
		names[folded(text)] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		fields[text] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, errors.New("something follows it")
	}
	return fields, nil
}

// folded writes texts alike that encoding/json takes for one name: "Payload", and "ſignatures" with a long s.
func folded(text string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, text)
}

// about is the subject with the digest, which has the form "sha256:…".
func (s statement) about(digest string) (subject, bool) {
	value := strings.TrimPrefix(digest, "sha256:")
	for _, one := range s.subjects {
		if one.Digest["sha256"] == value {
			return one, true
		}
	}
	return subject{}, false
}

// ErrOtherImage says that a signature or a statement is about another image than the one at hand.
var ErrOtherImage = errors.New("it is about another image")

// whose names what the statement is about: ", sha256:…", with the number of further subjects.
func (s statement) whose() string {
	for i, one := range s.subjects {
		if value := one.Digest["sha256"]; value != "" {
			text := ", " + abbreviate("sha256:"+value)
			if more := len(s.subjects) - 1; i == 0 && more > 0 {
				text += fmt.Sprintf(" and %d more", more)
			}
			return text
		}
	}
	return ": none of its subjects has a sha256"
}

// textAnnotations are those whose values are text, sorted by key.
func textAnnotations(all map[string]any) []signer.Annotation {
	annotations := []signer.Annotation{}
	for key, value := range all {
		if text, ok := value.(string); ok {
			annotations = append(annotations, signer.Annotation{Key: key, Value: text})
		}
	}
	slices.SortFunc(annotations, func(a, b signer.Annotation) int { return strings.Compare(a.Key, b.Key) })
	return annotations
}

// simpleSigning is the payload of a legacy signature
// (https://github.com/containers/image/blob/main/docs/containers-signature.5.md).
type simpleSigning struct {
	Critical struct {
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}
