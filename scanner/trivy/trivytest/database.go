package trivytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// Sources of advisories for languages, as Trivy's database names them.
const (
	NPMSource   = "npm::GitHub Security Advisory Npm"
	GoSource    = "go::GitHub Security Advisory Go"
	MavenSource = "maven::GitHub Security Advisory Maven"
)

// SchemaVersion is that of the databases that are written.
const SchemaVersion = 2

// Advisory says that a package has a vulnerability.
type Advisory struct {
	// Source is the distribution ("debian 12", "alpine 3.18") or one of the sources for languages.
	Source string
	// Package is, for a distribution, the source package.
	Package string
	ID      string
	// Fixed is the first version without it, "" for none. Vulnerable are ranges for languages ("<4.17.21"); with
	// Fixed and without Vulnerable all earlier versions are meant.
	Fixed      string
	Vulnerable []string
	// Status is a number of Trivy's: 2 affected, 3 fixed, 5 will not fix; zero leaves it open.
	Status int
	// Severity is LOW, MEDIUM, HIGH or CRITICAL, "" for none; Score is a CVSS base score, zero for none.
	Severity string
	Score    float64
	Title    string
	// NoDetails leaves out everything but the advisory.
	NoDetails bool
}

// DefaultUpdated is when databases without a time of their own were made.
var DefaultUpdated = time.Date(2026, 8, 1, 6, 0, 0, 0, time.UTC)

// Database writes a vulnerability database with these advisories: trivy.db and metadata.json. An existing one is
// replaced.
func Database(directory string, advisories ...Advisory) error {
	return DatabaseAt(directory, DefaultUpdated, advisories...)
}

// DatabaseAt writes one that was made at a time.
func DatabaseAt(directory string, updated time.Time, advisories ...Advisory) error {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return fmt.Errorf("making the directory of the database: %w", err)
	}
	file := filepath.Join(directory, "trivy.db")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the old database: %w", err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, a := range advisories {
			if err := a.write(tx); err != nil {
				return fmt.Errorf("writing %s: %w", a.ID, err)
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return Metadata(directory, updated)
}

// Metadata writes the file that says when a database was made.
func Metadata(directory string, updated time.Time) error {
	content, err := json.Marshal(map[string]any{
		"Version": SchemaVersion, "UpdatedAt": updated, "NextUpdate": updated.Add(6 * time.Hour), "DownloadedAt": updated.Add(time.Hour),
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "metadata.json"), content, 0o600)
}

var severities = map[string]int{"": 0, "LOW": 1, "MEDIUM": 2, "HIGH": 3, "CRITICAL": 4}

func (a Advisory) write(tx *bbolt.Tx) error {
	severity, ok := severities[a.Severity]
	if !ok {
		return fmt.Errorf("the severity %q is none", a.Severity)
	}
	advisory := map[string]any{}
	_, isLanguage := a.ecosystem()
	switch {
	case isLanguage && len(a.Vulnerable) == 0 && a.Fixed != "":
		advisory["VulnerableVersions"], advisory["PatchedVersions"] = []string{"<" + a.Fixed}, []string{a.Fixed}
	case isLanguage:
		advisory["VulnerableVersions"] = a.Vulnerable
		if a.Fixed != "" {
			advisory["PatchedVersions"] = []string{a.Fixed}
		}
	default:
		advisory["FixedVersion"] = a.Fixed
		if a.Status != 0 {
			advisory["Status"] = a.Status
		}
	}
	if err := put(tx, advisory, a.Source, a.Package, a.ID); err != nil {
		return err
	}
	sourceID, name := a.dataSource()
	if err := put(tx, map[string]any{"ID": sourceID, "Name": name, "URL": "https://advisories.example/"}, "data-source", a.Source); err != nil {
		return err
	}
	if a.NoDetails {
		return nil
	}
	details := map[string]any{"Title": a.Title, "VendorSeverity": map[string]int{}}
	if severity > 0 {
		details["VendorSeverity"] = map[string]int{"nvd": severity}
	}
	if a.Score > 0 {
		details["CVSS"] = map[string]any{"nvd": map[string]any{"V3Score": a.Score}}
	}
	return put(tx, details, "vulnerability", a.ID)
}

func (a Advisory) ecosystem() (string, bool) {
	name, _, found := strings.Cut(a.Source, "::")
	return name, found
}

func (a Advisory) dataSource() (id, name string) {
	if _, isLanguage := a.ecosystem(); isLanguage {
		return "ghsa", a.Source
	}
	id, _, _ = strings.Cut(a.Source, " ")
	return id, a.Source
}

// put writes a value under nested buckets; the last name is the key.
func put(tx *bbolt.Tx, value any, names ...string) error {
	content, err := json.Marshal(value)
	if err != nil {
		return err
	}
	bucket, err := tx.CreateBucketIfNotExists([]byte(names[0]))
	for _, name := range names[1 : len(names)-1] {
		if err != nil {
			return err
		}
		bucket, err = bucket.CreateBucketIfNotExists([]byte(name))
	}
	if err != nil {
		return err
	}
	return bucket.Put([]byte(names[len(names)-1]), content)
}
