package output

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// vexHandler writes a CycloneDX 1.6 document of the vulnerabilities that findings are about,
// to be triaged (VEX): image and packages as components, each vulnerability with what the
// policies make of it. What is no vulnerability has no place in it.
// https://cyclonedx.org/docs/1.6/json/
type vexHandler struct {
	w     io.Writer
	run   gate.Run
	found vulnerabilities
}

type vexDocument struct {
	Schema          string             `json:"$schema"`
	Format          string             `json:"bomFormat"`
	SpecVersion     string             `json:"specVersion"`
	SerialNumber    string             `json:"serialNumber"`
	Version         int                `json:"version"`
	Metadata        vexMetadata        `json:"metadata"`
	Components      []vexComponent     `json:"components"`
	Dependencies    []vexDependency    `json:"dependencies"`
	Vulnerabilities []vexVulnerability `json:"vulnerabilities"`
}

type vexMetadata struct {
	Timestamp  string          `json:"timestamp"`
	Tools      vexTools        `json:"tools"`
	Properties []vexNamedValue `json:"properties"`
}

type vexTools struct {
	Components []vexComponent `json:"components"`
}

type vexComponent struct {
	Type    string    `json:"type"`
	Ref     string    `json:"bom-ref,omitempty"`
	Name    string    `json:"name"`
	Version string    `json:"version,omitempty"`
	PURL    string    `json:"purl,omitempty"`
	Hashes  []vexHash `json:"hashes,omitempty"`
}

type vexHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type vexDependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

type vexVulnerability struct {
	Ref            string          `json:"bom-ref"`
	ID             string          `json:"id"`
	Source         *vexSource      `json:"source,omitempty"`
	Ratings        []vexRating     `json:"ratings"`
	Recommendation string          `json:"recommendation,omitempty"`
	Analysis       vexAnalysis     `json:"analysis"`
	Affects        []vexAffected   `json:"affects"`
	Properties     []vexNamedValue `json:"properties"`
}

type vexSource struct {
	Name string `json:"name"`
	URL  string `json:"url,omitempty"`
}

type vexRating struct {
	Score    *float64 `json:"score,omitempty"`
	Severity string   `json:"severity"`
}

type vexAnalysis struct {
	State    string   `json:"state"`
	Response []string `json:"response,omitempty"`
	Detail   string   `json:"detail"`
}

type vexAffected struct {
	Ref      string       `json:"ref"`
	Versions []vexVersion `json:"versions,omitempty"`
}

type vexVersion struct {
	Version string `json:"version"`
	Status  string `json:"status"`
}

type vexNamedValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (h *vexHandler) Start(run gate.Run) error {
	h.run = run
	return nil
}

func (h *vexHandler) Result(result gate.Result) error {
	for _, finding := range result.Findings {
		h.found.add(finding)
	}
	return nil
}

// Problem says nothing: what could not be read has no vulnerabilities to tell of. The
// verdict in the head says that the document is not all there is.
func (h *vexHandler) Problem(gate.Problem) error { return nil }

func (h *vexHandler) Finish(summary gate.Summary) error {
	document := vexDocument{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: vexMetadata{
			Timestamp: h.run.Started.UTC().Format(time.RFC3339),
			Tools:     vexTools{[]vexComponent{{Type: "application", Name: "portcullis", Version: h.run.Version}}},
			Properties: []vexNamedValue{
				{"portcullis:bundle", Plain(h.run.Bundle)}, {"portcullis:profile", Plain(h.run.Profile)}, {"portcullis:verdict", summary.Exit.String()},
			},
		},
		Components: []vexComponent{}, Dependencies: []vexDependency{}, Vulnerabilities: []vexVulnerability{},
	}
	serial := []string{h.run.Bundle, document.Metadata.Timestamp}
	for n, found := range h.found.list {
		document.add(found)
		described := vexVulnerabilityOf(found, n)
		document.Vulnerabilities = append(document.Vulnerabilities, described)
		serial = append(serial, found.Vulnerability, described.Affects[0].Ref)
	}
	document.SerialNumber = "urn:uuid:" + uuid(serial...)
	return writeJSON(h.w, document)
}

// packageRef names a package of an image within the document. One package may be in
// several images, which are patched one by one.
func packageRef(found *vulnerability) string {
	return Plain(found.reference() + "#" + cmp.Or(found.PURL, found.Package+"@"+found.Version))
}

// add lists image and package once, the image as depending on the package.
func (d *vexDocument) add(found *vulnerability) {
	image, contained := Plain(found.reference()), packageRef(found)
	at := -1
	for i := range d.Dependencies {
		if d.Dependencies[i].Ref == image {
			at = i
		}
	}
	if at < 0 {
		at = len(d.Dependencies)
		component := vexComponent{Type: "container", Ref: image, Name: Plain(found.Repository()), Version: Plain(cmp.Or(found.Digest, found.Image))}
		if hash, ok := strings.CutPrefix(found.Digest, "sha256:"); ok && isHash(hash) {
			component.Hashes = []vexHash{{"SHA-256", hash}}
		}
		d.Components = append(d.Components, component)
		d.Dependencies = append(d.Dependencies, vexDependency{Ref: image})
	}
	for _, known := range d.Dependencies[at].DependsOn {
		if known == contained {
			return
		}
	}
	d.Dependencies[at].DependsOn = append(d.Dependencies[at].DependsOn, contained)
	d.Components = append(d.Components, vexComponent{
		Type: "library", Ref: contained, Name: Plain(cmp.Or(found.Package, found.PURL, "unknown")), Version: Plain(found.Version), PURL: Plain(found.PURL),
	})
}

// isHash says that text is the hexadecimal form of a SHA-256 hash.
func isHash(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

func vexVulnerabilityOf(found *vulnerability, n int) vexVulnerability {
	worst := found.worst()
	out := vexVulnerability{
		Ref: fmt.Sprintf("vulnerability-%d", n+1), ID: Plain(found.Vulnerability), Ratings: []vexRating{vexRatingOf(found, worst)},
		Analysis: vexAnalysisOf(found, worst), Affects: []vexAffected{{Ref: packageRef(found)}},
	}
	if source := vulnerabilitySource(found.Vulnerability); source != "" {
		out.Source = &vexSource{Plain(source), vulnerabilityLink(found.Vulnerability)}
	}
	if found.Version != "" {
		out.Affects[0].Versions = []vexVersion{{cut(Plain(found.Version), vexVersionLength), "affected"}}
	}
	if found.Fixed != "" {
		out.Recommendation = fmt.Sprintf("Upgrade %s to %s.", Plain(found.Package), Plain(found.Fixed))
	}
	for _, finding := range found.findings {
		out.Properties = append(out.Properties, vexNamedValue{"portcullis:" + string(finding.Weight()), Plain(instance(finding.Policy, finding.Instance))})
	}
	return out
}

// vexVersionLength is the most that the format takes for a version.
const vexVersionLength = 1024

func vexRatingOf(found *vulnerability, worst gate.Finding) vexRating {
	rating := vexRating{Severity: cmp.Or(found.Severity, worst.Severity)}
	switch rating.Severity {
	case "critical", "high", "medium", "low":
	default:
		rating.Severity = "unknown"
	}
	if found.Score > 0 {
		score := float64(found.Score) / 10
		rating.Score = &score
	}
	return rating
}

// vexAnalysisOf says how far the vulnerability is dealt with. A policy cannot tell whether it
// is exploitable: that is what the document asks its reader.
func vexAnalysisOf(found *vulnerability, worst gate.Finding) vexAnalysis {
	analysis := vexAnalysis{State: "in_triage", Detail: Plain(worst.Message)}
	if waived := waiver(worst); waived != "" {
		analysis.Detail += " (" + Plain(waived) + ")"
		analysis.Response = []string{"will_not_fix"}
	}
	if waiver(worst) == "" && found.Fixed != "" {
		analysis.Response = []string{"update"}
	}
	return analysis
}
