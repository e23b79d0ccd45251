package scanner

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// readForeign reads what other programs write into the predicate: `trivy image --format cosign-vuln`, and the JSON of
// Grype. Vulnerabilities are all taken over, so that policies can deny for them; the state is never complete.
func readForeign(p *predicate) (Report, error) {
	var probe struct {
		SchemaVersion int64 `json:"SchemaVersion"`
		Descriptor    struct {
			Name string `json:"name"`
		} `json:"descriptor"`
	}
	if err := json.Unmarshal(p.Scanner.Result, &probe); err != nil {
		return Report{}, fmt.Errorf("its result is of no known form: %w", err)
	}
	var report Report
	var err error
	switch {
	case probe.SchemaVersion == 2:
		report, err = readTrivy(p)
	case probe.Descriptor.Name == "grype":
		report, err = readGrype(p)
	default:
		return Report{}, errors.New("its result is of no known form: sign the scans of portcullis-scanner")
	}
	if err != nil {
		return Report{}, err
	}
	report.State = StateUnscannable
	report.Reasons = append(report.Reasons, report.Scanner.Name+"'s own form does not say whether all of the image could be read: scan with portcullis-scanner")
	if report.Database.UpdatedAt == "" {
		report.Reasons = append(report.Reasons, "the scan does not say how old its vulnerability database was")
	}
	report.Reasons = sortedReasons(report.Reasons)
	if report.StartedAt, err = utc(p.Metadata.Started); err != nil {
		return Report{}, fmt.Errorf("metadata.scanStartedOn: %w", err)
	}
	if report.FinishedAt, err = utc(p.Metadata.Finished); err != nil {
		return Report{}, fmt.Errorf("metadata.scanFinishedOn: %w", err)
	}
	report = scanned(report)
	return report, report.check()
}

// utc writes a time as reports do.
func utc(text string) (string, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "", fmt.Errorf("%q is no time: RFC 3339 is expected", abbreviate(text))
	}
	return t.UTC().Format(time.RFC3339), nil
}

// optionalUTC is "" for what is no time.
func optionalUTC(text string) string {
	t, err := utc(text)
	if err != nil || strings.HasPrefix(t, "0001-") {
		return ""
	}
	return t
}

// trivyReport is the part of Trivy's report (pkg/types/report.go, schema version 2) that is read.
type trivyReport struct {
	Metadata struct {
		OS *struct {
			Family string `json:"Family"`
			Name   string `json:"Name"`
			EOSL   bool   `json:"EOSL"`
		} `json:"OS"`
	} `json:"Metadata"`
	Results []struct {
		Target   string     `json:"Target"`
		Class    string     `json:"Class"`
		Packages []struct{} `json:"Packages"`

		Vulnerabilities []struct {
			VulnerabilityID string `json:"VulnerabilityID"`
			PkgName         string `json:"PkgName"`
			PkgPath         string `json:"PkgPath"`
			PkgIdentifier   struct {
				PURL string `json:"PURL"`
			} `json:"PkgIdentifier"`
			InstalledVersion string `json:"InstalledVersion"`
			FixedVersion     string `json:"FixedVersion"`
			Status           string `json:"Status"`
			Severity         string `json:"Severity"`
			Title            string `json:"Title"`
			PrimaryURL       string `json:"PrimaryURL"`
			CVSS             map[string]struct {
				V3Score float64 `json:"V3Score"`
			} `json:"CVSS"`
		} `json:"Vulnerabilities"`
		Secrets []struct {
			RuleID   string `json:"RuleID"`
			Severity string `json:"Severity"`
		} `json:"Secrets"`
	} `json:"Results"`
}

func readTrivy(p *predicate) (Report, error) {
	var t trivyReport
	if err := json.Unmarshal(p.Scanner.Result, &t); err != nil {
		return Report{}, err
	}
	r := Report{Scanner: Tool{Name: "trivy", Version: p.Scanner.Version}}
	r.Database = Database{UpdatedAt: optionalUTC(p.Scanner.DB.Version)}
	if t.Metadata.OS != nil && t.Metadata.OS.Family != "none" {
		r.OS = OS{Family: t.Metadata.OS.Family, Name: t.Metadata.OS.Name, EndOfLife: t.Metadata.OS.EOSL}
	}
	for _, target := range t.Results {
		class, path := "language", target.Target
		if target.Class == "os-pkgs" {
			class, path = "os", ""
			r.Packages.OS += int64(len(target.Packages))
		} else {
			r.Packages.Language += int64(len(target.Packages))
		}
		for _, v := range target.Vulnerabilities {
			found := Vulnerability{
				ID: v.VulnerabilityID, Package: v.PkgName, PURL: v.PkgIdentifier.PURL, Version: v.InstalledVersion, Fixed: v.FixedVersion,
				Status: oneOf(statuses, v.Status), Severity: oneOf(severities, v.Severity), Class: class, Path: cmp.Or(v.PkgPath, path), Title: v.Title, Link: v.PrimaryURL,
			}
			for _, score := range v.CVSS {
				found.Score = max(found.Score, tenths(score.V3Score))
			}
			r.Vulnerabilities = append(r.Vulnerabilities, found)
		}
		for _, s := range target.Secrets {
			r.Secrets = append(r.Secrets, Secret{Rule: s.RuleID, Severity: oneOf(severities, s.Severity), Path: target.Target})
		}
	}
	return r, nil
}

// grypeReport is the part of Grype's JSON (grype/presenter/models) that is read.
type grypeReport struct {
	Matches []struct {
		Vulnerability struct {
			ID          string `json:"id"`
			DataSource  string `json:"dataSource"`
			Severity    string `json:"severity"`
			Description string `json:"description"`
			CVSS        []struct {
				Metrics struct {
					BaseScore float64 `json:"baseScore"`
				} `json:"metrics"`
			} `json:"cvss"`
			Fix struct {
				Versions []string `json:"versions"`
				State    string   `json:"state"`
			} `json:"fix"`
		} `json:"vulnerability"`
		Artifact struct {
			Name      string `json:"name"`
			Version   string `json:"version"`
			Type      string `json:"type"`
			PURL      string `json:"purl"`
			Locations []struct {
				Path string `json:"path"`
			} `json:"locations"`
		} `json:"artifact"`
	} `json:"matches"`
	Distro struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"distro"`
	Descriptor struct {
		Version string `json:"version"`
	} `json:"descriptor"`
}

// grypeStatuses are Grype's states of a fix (grype/vulnerability/fix.go).
var grypeStatuses = map[string]string{"fixed": "fixed", "not-fixed": "affected", "wont-fix": "will_not_fix"}

func readGrype(p *predicate) (Report, error) {
	var g grypeReport
	if err := json.Unmarshal(p.Scanner.Result, &g); err != nil {
		return Report{}, err
	}
	r := Report{Scanner: Tool{Name: "grype", Version: cmp.Or(p.Scanner.Version, g.Descriptor.Version)}}
	r.Database = Database{UpdatedAt: optionalUTC(p.Scanner.DB.Version)}
	r.OS = OS{Family: g.Distro.Name, Name: g.Distro.Version}
	for _, match := range g.Matches {
		v, a := match.Vulnerability, match.Artifact
		found := Vulnerability{
			ID: v.ID, Package: a.Name, PURL: a.PURL, Version: a.Version, Status: cmp.Or(grypeStatuses[v.Fix.State], "unknown"),
			Severity: oneOf(severities, v.Severity), Class: "language", Title: v.Description, Link: v.DataSource,
		}
		if len(v.Fix.Versions) > 0 {
			found.Fixed = v.Fix.Versions[0]
		}
		for _, score := range v.CVSS {
			found.Score = max(found.Score, tenths(score.Metrics.BaseScore))
		}
		switch a.Type {
		case "deb", "apk", "rpm", "alpm", "portage":
			found.Class = "os"
		default:
			if len(a.Locations) > 0 {
				found.Path = a.Locations[0].Path
			}
		}
		r.Vulnerabilities = append(r.Vulnerabilities, found)
	}
	return r, nil
}

// oneOf is the lower-case text if reports may hold it, else "unknown".
func oneOf(allowed []string, text string) string {
	text = strings.ToLower(text)
	for _, one := range allowed {
		if one == text {
			return one
		}
	}
	return "unknown"
}

// tenths is a CVSS score as reports hold it; 0 for what is no score.
func tenths(score float64) int64 {
	if !(score >= 0 && score <= 10) {
		return 0
	}
	return int64(math.Round(score * 10))
}
