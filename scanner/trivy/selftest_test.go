//go:build goexperiment.jsonv2

package trivy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/scanner/trivy"
	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

func TestTheSelfTestTriesTheEngineAndTheDatabase(t *testing.T) {
	alpine := trivytest.Advisory{Source: "alpine 3.18", Package: "zlib", ID: "CVE-2024-0009", Fixed: "1.3-r0", Severity: "LOW"}
	ubuntu := trivytest.Advisory{Source: "ubuntu 22.04", Package: "zlib", ID: "CVE-2024-0009", Fixed: "1.3", Severity: "LOW"}
	for what, advisories := range map[string][]trivytest.Advisory{
		"Debian":           {badAdvisory},
		"Alpine":           {alpine},
		"Ubuntu":           {ubuntu},
		"a language alone": {npmAdvisory},
		"all":              {alpine, npmAdvisory, badAdvisory, ubuntu},
	} {
		t.Run(what, func(t *testing.T) {
			if err := trivy.SelfTest(context.Background(), options(t, advisories...).Database); err != nil {
				t.Errorf("got %v, want no error", err)
			}
		})
	}
	if err := trivy.SelfTest(context.Background(), ""); err != nil {
		t.Errorf("without a database: got %v, want no error", err)
	}
	if err := trivy.SelfTest(context.Background(), shipped(t).Database); err != nil {
		t.Errorf("the fixtures of Trivy: got %v, want no error", err)
	}
}

func TestADatabaseThatCannotBeBelievedIsRefused(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, directory string) {
			if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, c := range map[string]struct {
		damage func(*testing.T, string)
		want   string
	}{
		"no advisories": {func(t *testing.T, d string) {
			if err := trivytest.Database(d); err != nil {
				t.Fatal(err)
			}
		}, "has no advisory"},
		"another schema":  {write("metadata.json", `{"Version":1,"UpdatedAt":"2026-08-01T06:00:00Z"}`), "has the schema 1, this scanner reads 2"},
		"no time":         {write("metadata.json", `{"Version":2}`), "does not say when it was made"},
		"no metadata":     {func(t *testing.T, d string) { remove(t, d, "metadata.json") }, "metadata.json"},
		"no database":     {func(t *testing.T, d string) { remove(t, d, "trivy.db") }, "no such file"},
		"another file":    {write("trivy.db", strings.Repeat("no database", 1000)), "invalid database"},
		"half a database": {halve, "the file has"},
	} {
		t.Run(what, func(t *testing.T) {
			o := options(t, badAdvisory)
			c.damage(t, o.Database)
			err := trivy.SelfTest(context.Background(), o.Database)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "update the vulnerability database") && !strings.Contains(err.Error(), "take one for Trivy") {
				t.Errorf("self-test: got %v, want %q and what to do", err, c.want)
			}
			if what == "no advisories" {
				return
			}
			if _, err := trivy.Analyse(context.Background(), image(t, trivytest.Debian("12.5", badPackage)), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("analysis: got %v, want %q", err, c.want)
			}
			// bbolt's fault makes Trivy delete the file (trivy-db, db.Init).
			if _, err := os.Stat(filepath.Join(o.Database, "trivy.db")); err != nil && what != "no database" {
				t.Errorf("the database was deleted: %v", err)
			}
		})
	}
}

func remove(t *testing.T, directory, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(directory, name)); err != nil {
		t.Fatal(err)
	}
}

func halve(t *testing.T, directory string) {
	t.Helper()
	name := filepath.Join(directory, "trivy.db")
	info, err := os.Stat(name)
	if err == nil {
		err = os.Truncate(name, info.Size()/2/4096*4096)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestASecondAnalysisWaitsAndCanBeGivenUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	cancel()
	if _, err := trivy.Analyse(ctx, image(t, trivytest.Debian("12.5", badPackage)), options(t, badAdvisory)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was given up", err)
	}
}
