package gate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	// ReportSchema names the JSON Schema of the json format, docs/gate-report.schema.json.
	// The number changes only with an incompatible change; new fields may come without.
	ReportSchema = "https://portcullis.dev/schemas/gate-report-v1.json"
	// BaselineSchema names the JSON Schema of baselines, docs/gate-baseline.schema.json.
	BaselineSchema = "https://portcullis.dev/schemas/gate-baseline-v1.json"
	// maxBaseline bounds what is read of a baseline: a report of 100,000 findings has 60 MB.
	maxBaseline = 256 << 20
)

// BaselineFinding is one finding that is known.
type BaselineFinding struct {
	// Fingerprint is that of the finding, Count how often it occurred.
	Fingerprint string `json:"fingerprint"`
	Count       int    `json:"count"`
	// Effect is deny or warn: who knows a warning does not know the denial.
	Effect Effect `json:"effect"`
	// Policy, Subject (object or image) and Message are for those who read the file.
	Policy  string `json:"policy"`
	Subject string `json:"subject"`
	Message string `json:"message"`
}

// BaselineFile is a baseline as it is written: the smallest file that says what is known,
// in an order that makes for small differences.
type BaselineFile struct {
	Schema   string            `json:"$schema"`
	Tool     string            `json:"tool"`
	Bundle   string            `json:"bundle"`
	Findings []BaselineFinding `json:"findings"`
}

// Baseline has the findings of an earlier run. What it has is known and fails no run;
// what occurs more often than it has it, or denies where it only warned, is new. It says
// nothing of faults and undecided policies: these it cannot waive. It serves one run.
type Baseline struct {
	name string
	left map[allowance]int
}

// allowance is what may occur again.
type allowance struct {
	fingerprint string
	effect      Effect
}

// ReadBaseline reads a baseline, or a report of the json format; name is for messages. A
// file that is neither, or that lacks fingerprints, is refused: taking it for empty would
// be strict, taking it for complete would not, and the user means one of the two.
func ReadBaseline(name string, r io.Reader) (*Baseline, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxBaseline+1))
	if err != nil {
		return nil, fmt.Errorf("reading the baseline %s: %w: make it readable", name, err)
	}
	if len(raw) > maxBaseline {
		return nil, fmt.Errorf("reading the baseline %s: it is larger than %d MB: write a smaller one with --write-baseline", name, maxBaseline>>20)
	}
	findings, err := parseBaseline(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the baseline %s: %w: write it anew with --write-baseline, or name a report of --format json", name, err)
	}
	b := &Baseline{name: name, left: map[allowance]int{}}
	for _, finding := range findings {
		b.left[allowance{finding.Fingerprint, finding.Effect}] += finding.Count
	}
	return b, nil
}

// parseBaseline tells the two kinds of file apart by the schema they name.
func parseBaseline(raw []byte) ([]BaselineFinding, error) {
	var head struct {
		Schema string `json:"$schema"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, err
	}
	switch head.Schema {
	case BaselineSchema:
		return parseOwn(raw)
	case ReportSchema:
		return parseReport(raw)
	}
	return nil, fmt.Errorf("its $schema is %q, neither %s nor %s", head.Schema, BaselineSchema, ReportSchema)
}

func parseOwn(raw []byte) ([]BaselineFinding, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var file BaselineFile
	if err := decoder.Decode(&file); err != nil {
		return nil, err
	}
	for n, finding := range file.Findings {
		if finding.Fingerprint == "" || finding.Count < 1 || finding.Effect != Denies && finding.Effect != Warns {
			return nil, fmt.Errorf("finding %d needs a fingerprint, a count of 1 or more, and the effect deny or warn", n+1)
		}
	}
	return file.Findings, nil
}

func parseReport(raw []byte) ([]BaselineFinding, error) {
	var report struct {
		Results []struct {
			Findings []struct {
				Fingerprint string `json:"fingerprint"`
				Effect      Effect `json:"effect"`
				// WouldBe is what a finding that was known would have meant.
				WouldBe Effect `json:"wouldBe"`
			} `json:"findings"`
		} `json:"results"`
		Verdict string `json:"verdict"`
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		return nil, err
	}
	if report.Verdict == "" {
		return nil, errors.New("the report has no end")
	}
	var known []BaselineFinding
	for _, result := range report.Results {
		for _, finding := range result.Findings {
			effect := finding.Effect
			if effect == Known {
				effect = finding.WouldBe
			}
			if effect != Denies && effect != Warns {
				continue // waived or only recorded: an exception that expires must be noticed
			}
			if finding.Fingerprint == "" {
				return nil, errors.New("it has findings without fingerprint, as versions before baselines wrote them")
			}
			known = append(known, BaselineFinding{Fingerprint: finding.Fingerprint, Effect: effect, Count: 1})
		}
	}
	return known, nil
}

// String names the baseline, "" for none.
func (b *Baseline) String() string {
	if b == nil {
		return ""
	}
	return b.name
}

// mark marks what is known among an object's findings, and settles its outcome anew.
func (b *Baseline) mark(result *Result) {
	if b == nil {
		return
	}
	for i := range result.Findings {
		finding := &result.Findings[i]
		if finding.ExceptedBy == "" {
			finding.Known = b.take(finding.Fingerprint, finding.unwaived())
		}
	}
	result.Outcome = outcome(*result)
}

// take uses one occurrence up. A known denial covers a warning too, for policies that were
// relaxed in between.
func (b *Baseline) take(fingerprint string, effect Effect) bool {
	var by []Effect
	switch effect {
	case Denies:
		by = []Effect{Denies}
	case Warns:
		by = []Effect{Warns, Denies}
	}
	for _, known := range by {
		key := allowance{fingerprint, known}
		if b.left[key] > 0 {
			b.left[key]--
			return true
		}
	}
	return false
}

// gone counts what did not occur again.
func (b *Baseline) gone() int {
	if b == nil {
		return 0
	}
	n := 0
	for _, left := range b.left {
		n += left
	}
	return n
}

// WouldBe is what a known finding means in a run without baseline, "" for other findings.
func (f Finding) WouldBe() Effect {
	if f.Weight() != Known {
		return ""
	}
	return f.unwaived()
}

// BaselineOf collects what a run found into a baseline: what denies or warns, known or new.
func BaselineOf(results []Result) []BaselineFinding {
	places := map[allowance]int{}
	known := []BaselineFinding{}
	for _, result := range results {
		for _, finding := range result.Findings {
			effect := finding.unwaived()
			if finding.ExceptedBy != "" || effect == Records {
				continue
			}
			key := allowance{finding.Fingerprint, effect}
			if at, ok := places[key]; ok {
				known[at].Count++
				continue
			}
			places[key] = len(known)
			known = append(known, BaselineFinding{
				Fingerprint: finding.Fingerprint, Count: 1, Effect: effect, Policy: finding.Policy,
				Subject: subjectOf(finding, result.Object), Message: finding.Message,
			})
		}
	}
	slices.SortFunc(known, compareKnown)
	return known
}

// subjectOf is what a finding is about: the image's repository or the object.
func subjectOf(finding Finding, object Object) string {
	if details, ok := finding.Image(); ok {
		return details.Repository()
	}
	return object.String()
}

func compareKnown(a, b BaselineFinding) int {
	return cmp.Or(
		cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Subject, b.Subject),
		cmp.Compare(a.Message, b.Message), cmp.Compare(a.Fingerprint, b.Fingerprint), cmp.Compare(a.Effect, b.Effect),
	)
}
