package images

import (
	"errors"
	"fmt"
	"time"

	trivydb "github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy-db/pkg/types"
	bolt "go.etcd.io/bbolt"
)

// Advisory is what Debian 12 says of one of its packages.
type Advisory struct {
	ID, Package, Title string
	// Severity is critical, high, medium, low or unknown.
	Severity string
	// Fixed is the first version without it, "" where there is none.
	Fixed string
}

// The buckets of advisories, and the data sources behind them. The programs of the images are Go's, and a database
// that knows nothing of Go says nothing about them.
const (
	debian       = "debian 12"
	debianSource = types.SourceID("debian")
	golang       = "go::GitHub Security Advisory Go"
	golangSource = types.SourceID("ghsa")
)

// Database writes a vulnerability database in trivy-db's form, schema 2, into dir: trivy.db and
// metadata.json. It must not be called by two goroutines at once: trivy-db keeps its database in a package.
func Database(dir string, built time.Time, advisories []Advisory) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing a vulnerability database: %w", err)
		}
	}()
	if err := trivydb.Init(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trivydb.Close()) }()
	config := trivydb.Config{}
	err = config.BatchUpdate(func(tx *bolt.Tx) error {
		if err := config.PutDataSource(tx, debian, types.DataSource{ID: debianSource, Name: "Debian Security Tracker", URL: "https://security-tracker.debian.org"}); err != nil {
			return err
		}
		if err := putGo(tx, config); err != nil {
			return err
		}
		for _, a := range advisories {
			if err := put(tx, config, a); err != nil {
				return fmt.Errorf("%s: %w", a.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return metadata.NewClient(dir).Update(metadata.Metadata{
		Version: trivydb.SchemaVersion, UpdatedAt: built, NextUpdate: built.Add(6 * time.Hour), DownloadedAt: built,
	})
}

func put(tx *bolt.Tx, config trivydb.Config, a Advisory) error {
	level, err := severity(a.Severity)
	if err != nil {
		return err
	}
	if err := config.PutAdvisory(tx, []string{debian, a.Package}, a.ID, types.Advisory{FixedVersion: a.Fixed}); err != nil {
		return err
	}
	return config.PutVulnerability(tx, a.ID, types.Vulnerability{
		Title:          a.Title,
		VendorSeverity: types.VendorSeverity{"nvd": types.Severity(level)},
	})
}

// putGo puts one advisory of Go, about a module that the images' programs do not use.
func putGo(tx *bolt.Tx, config trivydb.Config) error {
	if err := config.PutDataSource(tx, golang, types.DataSource{ID: golangSource, Name: "GitHub Security Advisory Go", URL: "https://github.com/advisories"}); err != nil {
		return err
	}
	const id = "CVE-2021-38561"
	if err := config.PutAdvisory(tx, []string{golang, "golang.org/x/text"}, id, types.Advisory{PatchedVersions: []string{"0.3.7"}, VulnerableVersions: []string{"< 0.3.7"}}); err != nil {
		return err
	}
	return config.PutVulnerability(tx, id, types.Vulnerability{
		Title: "Out-of-bounds read in golang.org/x/text/language", VendorSeverity: types.VendorSeverity{"nvd": types.SeverityHigh},
	})
}
