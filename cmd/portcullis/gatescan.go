package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/child"
	"github.com/portcullis-dev/portcullis/scanner/database"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/pflag"
)

// When the gate scans.
const (
	scanMissing = "missing" // where nobody who is trusted has signed a scan
	scanAlways  = "always"
	scanNever   = "never"
)

// Where the databases of Trivy are published.
const (
	publicDatabase     = "ghcr.io/aquasecurity/trivy-db:2"
	publicJavaDatabase = "ghcr.io/aquasecurity/trivy-java-db:1"
	// scannerProgram is the program that has the scanner in it.
	scannerProgram = "portcullis-scanner"
	// scannerCommand is its command that analyses images for a parent.
	scannerCommand = "child"
)

// scanFlags say whether and how the gate scans.
type scanFlags struct {
	when, program, database, javaDatabase string
}

func (f *scanFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.when, "scan", scanMissing, "when to scan images that a policy wants scanned: `missing` (nobody whose scans the bundle trusts has signed one), always, or never")
	flags.Lookup("scan").NoOptDefVal = scanAlways
	f.registerScanner(flags)
}

// registerScanner adds the flags about the scanner itself.
func (f *scanFlags) registerScanner(flags *pflag.FlagSet) {
	flags.StringVar(&f.program, "scanner", "", "`path` of portcullis-scanner (default: beside portcullis, else in PATH)")
	flags.StringVar(&f.database, "scan-database", publicDatabase, "vulnerability database: a `directory` with trivy.db, or a repository with tag or digest")
	flags.StringVar(&f.javaDatabase, "scan-java-database", publicJavaDatabase, "database of Java archives, likewise; empty for none: images with Java are then unscannable")
}

func (f *scanFlags) check() error {
	switch f.when {
	case scanMissing, scanAlways, scanNever:
		return nil
	}
	return usagef("reading --scan %s: use missing, always or never", f.when)
}

// gateScanner scans with one pool of children, which is started when the first image needs it.
// It implements gate.ImageScanner.
type gateScanner struct {
	flags   scanFlags
	sources *imageSources
	offline bool
	cache   string
	log     *slog.Logger

	start   sync.Once
	fault   error
	scanner *child.Scanner
	keeper  *database.Keeper
	reports *scanReports
}

// Scan implements gate.ImageScanner. What was found with the same database and the same program
// a short while ago is not looked for again.
func (s *gateScanner) Scan(ctx context.Context, repository, digest string) (scanner.Report, error) {
	s.start.Do(func() { s.fault = s.open(ctx) })
	if s.fault != nil {
		return scanner.Report{}, s.fault
	}
	parsed, err := workload.ParseImage(repository)
	if err != nil {
		return scanner.Report{}, err
	}
	lease, err := s.keeper.Acquire()
	if err != nil {
		return scanner.Report{}, fmt.Errorf("%w: name one with --scan-database, or scan once with network", err)
	}
	defer lease.Release()
	if known, ok := s.reports.get(digest, lease); ok {
		return known, nil
	}
	scan, err := s.scanner.Scan(ctx, child.Job{
		Source: s.sources, Repository: registry.Repository{Registry: parsed.Registry, Path: parsed.Repository}, Digest: digest,
		Database: child.Database{Directory: lease.Vulnerabilities, JavaDirectory: lease.Java, Digest: lease.Digest}, Secrets: true,
	})
	if err != nil {
		return scanner.Report{}, err
	}
	if err := s.reports.put(digest, lease, scan.Report); err != nil {
		s.log.Warn("the scan could not be kept for later runs", "error", err)
	}
	return scan.Report, nil
}

// open finds the program and the database.
func (s *gateScanner) open(ctx context.Context) error {
	program, err := s.flags.find()
	if err != nil {
		return err
	}
	if s.cache == "" {
		return errors.New("starting the scanner: there is no folder for its database, as $HOME is not set: name one with --cache-dir")
	}
	directory := filepath.Join(s.cache, "scanner")
	if s.reports, err = newScanReports(filepath.Join(directory, "reports"), program); err != nil {
		return err
	}
	if s.keeper, err = s.openDatabase(filepath.Join(directory, "database")); err != nil {
		return err
	}
	if !s.offline || s.local() {
		if err := s.update(ctx); err != nil {
			return err
		}
	}
	pool, err := child.NewPool(child.Options{
		Command: []string{program, scannerCommand}, Directory: directory, Read: []string{s.keeper.Versions()}, Children: max(1, runtime.NumCPU()/2), Log: s.log,
	})
	if err != nil {
		return err
	}
	store, err := child.NewStore(filepath.Join(directory, "layers"), child.Limits{})
	if err != nil {
		return err
	}
	s.scanner = &child.Scanner{Pool: pool, Store: store}
	return nil
}

// update fetches a newer database. An old one is better than none: policies judge its age.
func (s *gateScanner) update(ctx context.Context) error {
	_, err := s.keeper.Update(ctx)
	if err == nil {
		return nil
	}
	lease, none := s.keeper.Acquire()
	if none != nil {
		return fmt.Errorf("%w: name another one with --scan-database", err)
	}
	lease.Release()
	s.log.Warn("the vulnerability database could not be updated: scans use the one of "+lease.UpdatedAt.UTC().Format(time.RFC3339), "error", err)
	return nil
}

// local says that no database has to be fetched.
func (s *gateScanner) local() bool {
	for _, place := range []string{s.flags.database, s.flags.javaDatabase} {
		if place != "" && !isDirectory(place) {
			return false
		}
	}
	return true
}

func (s *gateScanner) openDatabase(directory string) (*database.Keeper, error) {
	vulnerabilities, err := databaseLocation("--scan-database", s.flags.database)
	if err != nil {
		return nil, err
	}
	java, err := databaseLocation("--scan-java-database", s.flags.javaDatabase)
	if err != nil {
		return nil, err
	}
	return database.New(database.Options{Directory: directory, Vulnerabilities: vulnerabilities, Java: java, Source: s.sources.remote})
}

// databaseLocation reads where a database is; "" is nowhere.
func databaseLocation(flag, text string) (database.Location, error) {
	if text == "" {
		return database.Location{}, nil
	}
	if isDirectory(text) {
		absolute, err := filepath.Abs(text)
		return database.Location{Folder: absolute}, err
	}
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
		return database.Location{}, fmt.Errorf("opening the vulnerability database: there is no directory %s: check %s", text, flag)
	}
	parsed, err := workload.ParseImage(text)
	if err != nil {
		return database.Location{}, fmt.Errorf("opening the vulnerability database: %w: check %s", err, flag)
	}
	return database.Location{Repository: registry.Repository{Registry: parsed.Registry, Path: parsed.Repository}, Tag: parsed.Tag, Digest: parsed.Digest}, nil
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// find finds the scanner's program: named, beside this one, or in PATH.
func (f *scanFlags) find() (string, error) {
	const next = "install it beside portcullis, name it with --scanner, or pass --scan=never to judge by signed scans alone"
	if f.program != "" {
		if _, err := os.Stat(f.program); err != nil {
			return "", fmt.Errorf("starting the scanner: %w: check --scanner", err)
		}
		return filepath.Abs(f.program)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), scannerProgram)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	found, err := exec.LookPath(scannerProgram)
	if err != nil {
		return "", errors.New("starting the scanner: there is no " + scannerProgram + ": " + next)
	}
	return filepath.Abs(found)
}

// close ends the children.
func (s *gateScanner) close() {
	if s.scanner != nil {
		s.scanner.Pool.Close()
	}
}
