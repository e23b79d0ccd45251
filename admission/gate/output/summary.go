package output

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

const (
	// SummaryPredicateType is that of SLSA verification summaries.
	// https://slsa.dev/spec/v1.1/verification_summary
	SummaryPredicateType = "https://slsa.dev/verification_summary/v1"
	// SummaryVerifier identifies the gate in them.
	SummaryVerifier = "https://portcullis.dev/gate"
	// slsaVersion is that of the specification the summaries follow.
	slsaVersion = "1.1"
)

// SignSummary signs a verification summary. repository and digest are its subject, statement
// the in-toto statement; what it returns is written as it is, on one line.
type SignSummary func(repository, digest string, statement []byte) ([]byte, error)

// NewSummaries returns a handler that writes a verification summary for each image that was
// judged without manifest, as JSON lines: in-toto statements, or what sign makes of them.
//
// PASSED says that nothing denied and everything was known. A baseline excuses nothing here:
// who reads the summary does not know the baseline. An image whose digest is not known has no
// summary, since there is nothing that it could be about.
func NewSummaries(w io.Writer, sign SignSummary) gate.Handler {
	return &summaryHandler{w: w, sign: sign}
}

type summaryHandler struct {
	w    io.Writer
	sign SignSummary
	run  gate.Run
}

type summaryStatement struct {
	Type          string           `json:"_type"`
	Subject       []summarySubject `json:"subject"`
	PredicateType string           `json:"predicateType"`
	Predicate     summaryPredicate `json:"predicate"`
}

type summarySubject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type summaryPredicate struct {
	Verifier           summaryVerifier `json:"verifier"`
	TimeVerified       string          `json:"timeVerified"`
	ResourceURI        string          `json:"resourceUri"`
	Policy             summaryPolicy   `json:"policy"`
	VerificationResult string          `json:"verificationResult"` // PASSED, FAILED
	VerifiedLevels     []string        `json:"verifiedLevels"`
	SLSAVersion        string          `json:"slsaVersion"`
}

type summaryVerifier struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

type summaryPolicy struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest,omitempty"`
}

func (h *summaryHandler) Start(run gate.Run) error {
	h.run = run
	return nil
}

func (h *summaryHandler) Result(result gate.Result) error {
	if result.Image == nil || result.Image.Digest == "" {
		return nil
	}
	algorithm, hash, ok := strings.Cut(result.Image.Digest, ":")
	if !ok {
		return fmt.Errorf("summing up %s: %q is no digest", result.Image.Ref, result.Image.Digest)
	}
	repository := gate.ImageDetails{Image: result.Image.Ref}.Repository()
	statement, err := json.Marshal(summaryStatement{
		Type: "https://in-toto.io/Statement/v1", PredicateType: SummaryPredicateType,
		Subject:   []summarySubject{{repository, map[string]string{algorithm: hash}}},
		Predicate: h.predicate(result, repository),
	})
	if err != nil {
		return err
	}
	if h.sign != nil {
		if statement, err = h.sign(repository, result.Image.Digest, statement); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(h.w, "%s\n", statement)
	return err
}

func (h *summaryHandler) predicate(result gate.Result, repository string) summaryPredicate {
	verdict, levels := "FAILED", []string{"FAILED"}
	if passed(result) {
		verdict, levels = "PASSED", []string{level(result.Profile)}
	}
	predicate := summaryPredicate{
		Verifier:           summaryVerifier{ID: SummaryVerifier},
		TimeVerified:       h.run.Started.UTC().Format(time.RFC3339),
		ResourceURI:        repository + "@" + result.Image.Digest,
		Policy:             summaryPolicy{URI: "https://portcullis.dev/bundle/" + h.run.BundleName, Digest: map[string]string{}},
		VerificationResult: verdict, VerifiedLevels: levels, SLSAVersion: slsaVersion,
	}
	if h.run.Version != "" {
		predicate.Verifier.Version = map[string]string{"portcullis": h.run.Version}
	}
	if algorithm, hash, ok := strings.Cut(h.run.BundleDigest, ":"); ok {
		predicate.Policy.Digest[algorithm] = hash
	}
	return predicate
}

// passed says that nothing denies, whatever a baseline knows, and that nothing is open.
func passed(result gate.Result) bool {
	for _, finding := range result.Findings {
		if finding.WouldBe() == gate.Denies {
			return false
		}
	}
	return result.Outcome == gate.Admitted || result.Outcome == gate.Warned
}

// level names what an image has that passed: a profile of the bundle. It says nothing of
// SLSA's own levels, whose names are reserved.
func level(profile string) string {
	name := regexp.MustCompile(`[^A-Z0-9]+`).ReplaceAllString(strings.ToUpper(profile), "_")
	return "PORTCULLIS_" + name
}

// Problem says nothing: what could not be read is no image with a digest.
func (h *summaryHandler) Problem(gate.Problem) error { return nil }

func (h *summaryHandler) Finish(gate.Summary) error { return nil }
