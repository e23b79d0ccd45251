//go:build goexperiment.jsonv2

package trivy

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy-db/pkg/vulnsrc/vulnerability"
	"github.com/aquasecurity/trivy/pkg/scan/langpkg"
	"github.com/aquasecurity/trivy/pkg/types"

	"github.com/portcullis-dev/portcullis/scanner"
)

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// newReport is a report that claims nothing.
func newReport(started time.Time) scanner.Report {
	return scanner.Report{
		State:           scanner.StateError,
		Reasons:         []string{},
		StartedAt:       stamp(started),
		Scanner:         scanner.Tool{Name: "trivy", Version: Version},
		Vulnerabilities: []scanner.Vulnerability{},
		Secrets:         []scanner.Secret{},
	}
}

// fill writes what was found into a report, sorted.
func fill(report *scanner.Report, found finding) {
	report.State, report.Reasons = found.judge()
	os := found.os()
	report.OS = scanner.OS{Family: string(os.Family), Name: os.Name, EndOfLife: os.Eosl}
	report.Packages = found.count()
	for _, result := range found.report.Results {
		for _, v := range result.Vulnerabilities {
			report.Vulnerabilities = append(report.Vulnerabilities, describe(result, v))
		}
		for _, s := range result.Secrets {
			path := absolute(result.Target)
			if result.Target == found.report.ArtifactName {
				path = configuration
			}
			report.Secrets = append(report.Secrets, scanner.Secret{Rule: s.RuleID, Severity: severity(s.Severity), Path: path})
		}
	}
	slices.SortFunc(report.Vulnerabilities, compare)
	// One package may lie in several layers or be told of by two analysers.
	report.Vulnerabilities = slices.CompactFunc(report.Vulnerabilities, func(a, b scanner.Vulnerability) bool { return compare(a, b) == 0 })
	slices.SortFunc(report.Secrets, func(a, b scanner.Secret) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Rule, b.Rule))
	})
	report.Secrets = slices.Compact(report.Secrets)
}

// configuration stands for the path of a secret that lies in no file but in the image's environment, labels or history.
const configuration = "image configuration"

func compare(a, b scanner.Vulnerability) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Class, b.Class))
}

func describe(result types.Result, v types.DetectedVulnerability) scanner.Vulnerability {
	described := scanner.Vulnerability{
		ID:       v.VulnerabilityID,
		Package:  v.PkgName,
		Version:  v.InstalledVersion,
		Fixed:    v.FixedVersion,
		Status:   v.Status.String(),
		Severity: severity(v.Severity),
		Score:    score(v),
		Class:    "os",
		Title:    v.Title,
		Link:     v.PrimaryURL,
	}
	if purl := v.PkgIdentifier.PURL; purl != nil {
		described.PURL = purl.String()
	}
	if result.Class == types.ClassLangPkg {
		described.Class = "language"
		described.Path = v.PkgPath
		// Results of many files are named after the language, those of one after the file.
		if described.Path == "" && result.Target != langpkg.PkgTargets[result.Type] {
			described.Path = result.Target
		}
		described.Path = absolute(described.Path)
	}
	return described
}

// absolute is a path as one sees it in the container.
func absolute(path string) string {
	if path == "" || strings.HasPrefix(path, "/") {
		return path
	}
	return "/" + path
}

// severity is in lower case, and "unknown" for all that is none: Trivy leaves it empty where the database has no
// details of a vulnerability.
func severity(s string) string {
	switch lower := strings.ToLower(s); lower {
	case "critical", "high", "medium", "low":
		return lower
	}
	return "unknown"
}

// score is the CVSS base score in tenths, of the source that gave the severity if it gives one, else of the NVD, else
// the highest. Version 3 is the one that all sources have; versions 4 and 2 stand in.
func score(v types.DetectedVulnerability) int64 {
	for _, source := range []dbtypes.SourceID{v.SeveritySource, vulnerability.NVD} {
		if tenths := tenths(v.CVSS[source]); tenths > 0 {
			return tenths
		}
	}
	var highest int64
	for cvss := range maps.Values(v.CVSS) {
		highest = max(highest, tenths(cvss))
	}
	return highest
}

func tenths(cvss dbtypes.CVSS) int64 {
	for _, s := range []float64{cvss.V3Score, cvss.V40Score, cvss.V2Score} {
		if s > 0 && s <= 10 {
			return int64(math.Round(s * 10))
		}
	}
	return 0
}
