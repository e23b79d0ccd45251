package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/child"
	"github.com/portcullis-dev/portcullis/scanner/database"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Predicate types of SBOMs (https://github.com/in-toto/attestation/tree/main/spec/predicates).
const (
	cycloneDXType = "https://cyclonedx.org/bom"
	spdxType      = "https://spdx.dev/Document"
)

// works is the scanner with all its parts.
type works struct {
	flags    *flags
	registry *registry.Client
	keeper   *database.Keeper
	scanner  *child.Scanner
	key      *cosign.Key // nil where nothing is signed
	log      *slog.Logger
}

// open puts the parts together, and fetches the database where there is a newer one.
func (f *flags) open(ctx context.Context, log *slog.Logger) (*works, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	key, err := f.loadKey()
	if err != nil {
		return nil, err
	}
	client, err := f.registries.Client()
	if err != nil {
		return nil, usageError{err}
	}
	directory, err := f.directory()
	if err != nil {
		return nil, err
	}
	w := &works{flags: f, registry: client, key: key, log: log}
	if w.keeper, err = f.openDatabase(directory, client, log); err != nil {
		return nil, err
	}
	if err := w.update(ctx); err != nil {
		return nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to start it as a child: %w", err)
	}
	pool, err := child.NewPool(child.Options{
		Command: []string{executable, "child"}, Directory: directory, Read: []string{w.keeper.Versions()},
		Children: f.children, Memory: f.memory, Timeout: f.timeout, MaxImages: f.images, RequireIsolation: f.requireIsolation, Log: log,
	})
	if err != nil {
		return nil, err
	}
	store, err := child.NewStore(filepath.Join(directory, "layers"), child.Limits{Kept: f.layers})
	if err != nil {
		return nil, err
	}
	w.scanner = &child.Scanner{Pool: pool, Store: store}
	return w, nil
}

// test demands that a known-bad image is flagged with the database at hand. Each scan does, too.
func (w *works) test(ctx context.Context) error {
	lease, err := w.keeper.Acquire()
	if err != nil {
		return err
	}
	defer lease.Release()
	return w.scanner.Test(ctx, databaseOf(lease))
}

func (w *works) close() { w.scanner.Pool.Close() }

func databaseOf(l *database.Lease) child.Database {
	return child.Database{Directory: l.Vulnerabilities, JavaDirectory: l.Java, Digest: l.Digest}
}

func (f *flags) openDatabase(directory string, client *registry.Client, log *slog.Logger) (*database.Keeper, error) {
	vulnerabilities, java, err := f.locations()
	if err != nil {
		return nil, err
	}
	options := database.Options{Directory: filepath.Join(directory, "database"), Vulnerabilities: vulnerabilities, Java: java, Source: client, Log: log}
	if f.databaseKey != "" {
		if options.Verify, err = f.databaseVerifier(client, vulnerabilities, java); err != nil {
			return nil, err
		}
	}
	return database.New(options)
}

// databaseVerifier demands a signature by the key of --database-key.
func (f *flags) databaseVerifier(client *registry.Client, locations ...database.Location) (func(context.Context, registry.Repository, string) error, error) {
	pem, err := os.ReadFile(f.databaseKey)
	if err != nil {
		return nil, usagef("reading the key of the databases: %w: correct --database-key", err)
	}
	publisher := signer.Authority{Name: "publisher", Keys: []signer.Key{{PEM: string(pem)}}}
	for _, location := range locations {
		if location.Folder == "" && !location.IsZero() && !slices.Contains(publisher.Images, location.Repository.String()) {
			publisher.Images = append(publisher.Images, location.Repository.String())
		}
	}
	if len(publisher.Images) == 0 {
		return nil, usagef("--database-key is for databases in a registry, and --database is a folder: leave one out")
	}
	trust, err := signer.Compile(&signer.Trust{
		Authorities:  []signer.Authority{publisher},
		Requirements: []signer.Requirement{{Name: "databases", Images: publisher.Images, AnyOf: []string{publisher.Name}}},
	})
	if err != nil {
		return nil, usagef("reading the key of the databases: %w: correct --database-key", err)
	}
	verifier := cosign.NewVerifier(cosign.Options{})
	return func(ctx context.Context, repository registry.Repository, digest string) error {
		evidence, err := verifier.Verify(ctx, client, cosign.Target{Repository: repository, Digest: digest}, trust)
		if err != nil {
			return err
		}
		if len(evidence.Signatures) == 0 {
			return errors.New("nobody has signed it with the key of --database-key: sign the copy in your mirror")
		}
		return nil
	}, nil
}

// update fetches newer databases. What is there stays usable where that fails.
func (w *works) update(ctx context.Context) error {
	if w.flags.skipUpdate {
		return nil
	}
	_, err := w.keeper.Update(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	lease, none := w.keeper.Acquire()
	if none != nil && w.flags.emptyFolder() {
		return usagef("%w: name a folder with trivy.db and metadata.json with --database", err)
	}
	if none != nil {
		return err
	}
	lease.Release()
	w.log.Warn("the vulnerability database could not be updated: scans use the one of "+lease.UpdatedAt.UTC().Format("2006-01-02 15:04"), "error", err)
	return nil
}

// scanned is a scan with what belongs into its attestation.
type scanned struct {
	child.Scan
	target cosign.Target
	// predicate is that of the vulnerability attestation.
	predicate []byte
}

// scan scans a digest.
func (w *works) scan(ctx context.Context, source child.Source, target cosign.Target) (scanned, error) {
	lease, err := w.keeper.Acquire()
	if err != nil {
		return scanned{}, err
	}
	defer lease.Release()
	found, err := w.scanner.Scan(ctx, child.Job{
		Source: source, Repository: target.Repository, Digest: target.Digest, Database: databaseOf(lease),
		Platforms: w.flags.platforms, Secrets: w.flags.secrets, SBOM: w.flags.sbom,
	})
	if err != nil {
		return scanned{}, err
	}
	invocation := scanner.Invocation{Builder: "portcullis-scanner " + version.String(), DatabaseURI: lease.URI}
	for _, image := range found.Images {
		if image.Platform != "" {
			invocation.Parameters = append(invocation.Parameters, image.Platform+"="+image.Digest)
		}
	}
	predicate, err := scanner.NewPredicate(found.Report, invocation)
	return scanned{Scan: found, target: target, predicate: predicate}, err
}

// attach signs what was found and attaches it to the image, in place of what this key has attached before. A scan that
// failed takes the place of none: it says nothing about the image. One that left platforms out says too little.
func (w *works) attach(ctx context.Context, s scanned) error {
	if len(s.LeftOut) > 0 {
		return fmt.Errorf("attaching the scan of %s: it left out %s, and what is attached counts for all platforms: scan them all", s.target, strings.Join(s.LeftOut, ", "))
	}
	if s.Report.State == scanner.StateError {
		w.log.Warn("the scan failed and was not attached", "image", s.target.String(), "reasons", s.Report.Reasons)
		return nil
	}
	if err := w.attest(ctx, s.target, scanner.PredicateType, s.predicate, true); err != nil {
		return err
	}
	// Of an index there is an SBOM for each platform; the first one takes the place of all of the last scan.
	for _, form := range []struct {
		predicateType string
		of            func(child.Image) []byte
	}{
		{cycloneDXType, func(i child.Image) []byte { return i.CycloneDX }},
		{spdxType, func(i child.Image) []byte { return i.SPDX }},
	} {
		replace := true
		for _, image := range s.Images {
			sbom := form.of(image)
			if sbom == nil {
				continue
			}
			if err := w.attest(ctx, s.target, form.predicateType, sbom, replace); err != nil {
				return err
			}
			replace = false
		}
	}
	return nil
}

func (w *works) attest(ctx context.Context, target cosign.Target, predicateType string, predicate []byte, replace bool) error {
	statement, err := cosign.NewStatement(target, predicateType, predicate)
	if err != nil {
		return err
	}
	attached, err := cosign.Attest(ctx, w.registry, target, w.key, statement, cosign.AttestOptions{Format: w.flags.format, Replace: replace})
	if err != nil {
		return err
	}
	if attached.Leftover != nil {
		w.log.Warn("what was attached before could not be removed", "image", target.String(), "error", attached.Leftover)
	}
	return nil
}
