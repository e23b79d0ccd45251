//go:build goexperiment.jsonv2

package trivy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	trivydb "github.com/aquasecurity/trivy-db/pkg/db"
	"go.etcd.io/bbolt"

	"github.com/portcullis-dev/portcullis/scanner"
)

// SelfTest proves that this scanner finds what is there. An error means that its reports must not be believed.
//
// First it makes a database with two advisories, an image with both of the packages, one with newer versions of them
// and one of a distribution that nobody knows. The first has to be flagged with both and with their severities, the
// second with none, and the third must not be complete. Then, unless database is empty, it takes an advisory out of
// that directory's database, makes an image with the package, and demands the same.
func SelfTest(ctx context.Context, database string) error {
	own, err := os.MkdirTemp("", "portcullis-selftest-")
	if err != nil {
		return fmt.Errorf("preparing the self-test: %w", err)
	}
	defer os.RemoveAll(own)
	if err := writeCanary(own); err != nil {
		return fmt.Errorf("preparing the self-test: %w", err)
	}
	if err := testEngine(ctx, own); err != nil {
		return fmt.Errorf("the self-test of the scanner failed, its reports cannot be believed: %w", err)
	}
	if database == "" {
		return nil
	}
	return testDatabase(ctx, database)
}

// canary is a package that an advisory speaks of.
type canary struct {
	bucket   string // in the database
	name     string
	id       string
	bad      string // a version with the vulnerability
	good     string // one without
	severity string
}

// canaries are those of the scanner's own database: one of a distribution, one of a language, with different
// severities, so that neither half of the engine nor the way to a severity can be lost.
var canaries = []canary{
	{bucket: "debian 12", name: "canary", id: "CVE-0000-0001", bad: "1.0-1", good: "1.0-2", severity: "critical"},
	{bucket: "npm::Canary", name: "canary", id: "CVE-0000-0002", bad: "1.0.0", good: "1.0.2", severity: "medium"},
}

func testEngine(ctx context.Context, database string) error {
	distribution, language := canaries[0], canaries[1]
	options := Options{Database: database}
	image := func(id, os, npm string) []file {
		return append(debian(id, "12", distribution.name, os), npmPackage(language.name, npm))
	}
	bad, err := analyseFiles(ctx, options, image("debian", distribution.bad, language.bad))
	if err != nil {
		return err
	}
	if bad.State != scanner.StateComplete {
		return fmt.Errorf("the scan of a known image is %s: %s", bad.State, strings.Join(bad.Reasons, "; "))
	}
	for _, c := range canaries {
		if !slices.ContainsFunc(bad.Vulnerabilities, func(v scanner.Vulnerability) bool { return v.ID == c.id && v.Severity == c.severity }) {
			return fmt.Errorf("%s in %s %s was not found with the severity %s", c.id, c.name, c.bad, c.severity)
		}
	}
	good, err := analyseFiles(ctx, options, image("debian", distribution.good, language.good))
	if err != nil {
		return err
	}
	if good.State != scanner.StateComplete || len(good.Vulnerabilities) > 0 {
		return fmt.Errorf("the scan of an image without vulnerabilities is %s with %d", good.State, len(good.Vulnerabilities))
	}
	unknown, err := analyseFiles(ctx, options, image("unheard-of", distribution.bad, language.good))
	if err != nil {
		return err
	}
	if unknown.State == scanner.StateComplete {
		return errors.New("the scan of a distribution that nobody knows is complete")
	}
	return nil
}

// testDatabase tries an advisory of a database that is to be used.
func testDatabase(ctx context.Context, directory string) error {
	const next = "update the vulnerability database"
	release, err := acquire(ctx)
	if err != nil {
		return err
	}
	d, err := openDatabase(directory)
	var sample canary
	if err == nil {
		sample, err = d.sample()
		d.close()
	}
	release()
	if err != nil {
		return err
	}
	if sample.id == "" {
		return fmt.Errorf("the vulnerability database in %s has no advisory: %s", directory, next)
	}
	if sample.bad == "" {
		return nil // advisories, but none of a kind for which an image is quickly made
	}
	family, version, _ := strings.Cut(sample.bucket, " ")
	files := debian(family, version, sample.name, sample.bad)
	if family == "alpine" {
		files = alpine(version, sample.name, sample.bad)
	}
	report, err := analyseFiles(ctx, Options{Database: directory}, files)
	if err != nil {
		return fmt.Errorf("trying the vulnerability database in %s: %w", directory, err)
	}
	if !slices.ContainsFunc(report.Vulnerabilities, func(v scanner.Vulnerability) bool { return v.ID == sample.id }) {
		return fmt.Errorf("the vulnerability database in %s says that %s is in %s %s of %s, and the scanner does not find it: %s", directory, sample.id, sample.name, sample.bad, sample.bucket, next)
	}
	return nil
}

// sample is an advisory that the scanner can try itself on, or one without a bad version if there are only others.
func (d *database) sample() (canary, error) {
	var any canary
	err := trivydb.Config{}.Connection().View(func(tx *bbolt.Tx) error {
		for _, name := range d.sources() {
			c := firstAdvisory(tx.Bucket([]byte(name)))
			if c.id == "" {
				continue
			}
			c.bucket = name
			if any.id == "" || c.bad != "" {
				any = c
			}
			if any.bad != "" {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return canary{}, fmt.Errorf("reading the vulnerability database: %w", err)
	}
	return any, nil
}

// sources are the names of the sources of advisories, those that an image can be made for first.
func (d *database) sources() []string {
	var easy, others []string
	for name := range d.buckets {
		switch family, version, _ := strings.Cut(name, " "); {
		case name == "vulnerability" || name == "data-source" || strings.HasPrefix(name, "Red Hat CPE"):
		case version != "" && slices.Contains([]string{"debian", "ubuntu", "alpine"}, family):
			easy = append(easy, name)
		default:
			others = append(others, name)
		}
	}
	slices.Sort(easy)
	slices.Reverse(easy) // the newest release first
	slices.Sort(others)
	return append(easy, others...)
}

// firstAdvisory is the first with a fixed version among the first packages of a source, else the first of all.
func firstAdvisory(source *bbolt.Bucket) canary {
	const most = 200
	var first canary
	cursor, seen := source.Cursor(), 0
	for name, _ := cursor.First(); name != nil && seen < most; name, _ = cursor.Next() {
		of := source.Bucket(name)
		if of == nil {
			continue
		}
		seen++
		advisories := of.Cursor()
		for id, value := advisories.First(); id != nil; id, value = advisories.Next() {
			var a struct{ FixedVersion string }
			if value == nil || json.Unmarshal(value, &a) != nil {
				continue
			}
			if first.id == "" {
				first = canary{name: string(name), id: string(id)}
			}
			// "0" says that the package never had it. The version that is taken is lower than any other.
			if a.FixedVersion != "" && !strings.HasPrefix(a.FixedVersion, "0") {
				return canary{name: string(name), id: string(id), bad: "0.0.1-r0"}
			}
		}
	}
	return first
}

func analyseFiles(ctx context.Context, options Options, files []file) (scanner.Report, error) {
	options.NoSecrets, options.NoSBOM = true, true
	made, err := makeImage(files)
	if err != nil {
		return scanner.Report{}, err
	}
	result, err := Analyse(ctx, made, options)
	return result.Report, err
}

// writeCanary writes the database with the advisories of the canaries.
func writeCanary(directory string) error {
	db, err := bbolt.Open(trivydb.Path(directory), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	severities := map[string]int{"medium": 2, "critical": 4} // trivy-db, types.Severity
	err = db.Update(func(tx *bbolt.Tx) error {
		var failed error
		for _, c := range canaries {
			advisory := map[string]any{"FixedVersion": c.good, "VulnerableVersions": []string{"<" + c.good}, "PatchedVersions": []string{c.good}}
			failed = errors.Join(failed,
				put(tx, advisory, c.bucket, c.name, c.id),
				put(tx, map[string]any{"VendorSeverity": map[string]int{"nvd": severities[c.severity]}}, "vulnerability", c.id))
		}
		return failed
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	about, err := json.Marshal(map[string]any{"Version": trivydb.SchemaVersion, "UpdatedAt": time.Unix(0, 0).UTC()})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "metadata.json"), about, 0o600)
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
