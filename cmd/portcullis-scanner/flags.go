package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/scanner/child"
	"github.com/portcullis-dev/portcullis/scanner/database"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/pflag"
)

// Where Trivy's databases are published.
const (
	publicDatabase     = "ghcr.io/aquasecurity/trivy-db:2"
	publicJavaDatabase = "ghcr.io/aquasecurity/trivy-java-db:1"
)

// passwordVariable holds the password of the private key; cosign's name for it works, too.
const (
	passwordVariable       = "PORTCULLIS_KEY_PASSWORD"
	cosignPasswordVariable = "COSIGN_PASSWORD"
)

// flags is what scan and serve have in common.
type flags struct {
	registries registryflags.Flags

	workDir                string
	database, javaDatabase string
	databaseKey            string
	skipUpdate             bool

	platforms        []string
	secrets, sbom    bool
	children, images int
	memory, layers   int64
	timeout          time.Duration
	requireIsolation bool

	key, passwordFile, format string
}

func (f *flags) register(set *pflag.FlagSet, imagesPerChild int) {
	set.SortFlags = false
	set.StringVar(&f.workDir, "work-dir", "", "`folder` for databases, layers and analyses, which may become large; by default one in the user's cache folder")
	set.StringVar(&f.database, "database", publicDatabase, "vulnerability database: a `folder` with trivy.db and metadata.json, or a repository with tag or digest")
	set.StringVar(&f.javaDatabase, "java-database", publicJavaDatabase, "database of Java archives, likewise; empty for none: images with Java archives are then unscannable")
	set.StringVar(&f.databaseKey, "database-key", "", "PEM `file` with the public key that must have signed the databases (cosign), where they come from a registry")
	set.BoolVar(&f.skipUpdate, "skip-database-update", false, "use the database that is in --work-dir as it is")

	set.BoolVar(&f.secrets, "secrets", true, "look for credentials in files")
	set.BoolVar(&f.sbom, "sbom", false, "make SBOMs (CycloneDX and SPDX), and attach them where scans are attached")
	set.IntVar(&f.children, "children", max(1, runtime.NumCPU()/2), "`number` of images that are analysed at once")
	set.IntVar(&f.images, "images-per-child", imagesPerChild, "`number` of images after which a child is replaced; with 1 no image can influence the scan of another")
	set.Int64Var(&f.memory, "memory", child.DefaultMemory, "memory in `bytes` that a child may use")
	set.Int64Var(&f.layers, "keep-layers", child.DefaultKept, "`bytes` of pulled layers to keep in --work-dir for other images")
	set.DurationVar(&f.timeout, "timeout", child.DefaultTimeout, "longest `time` for the analysis of one image")
	set.BoolVar(&f.requireIsolation, "require-isolation", false, "do not scan where the system cannot keep children from the network and from files")

	set.StringVar(&f.key, "key", "", "private key `file` (cosign's, or PKCS #8) to sign scans with; its password is in $"+passwordVariable+" or $"+cosignPasswordVariable)
	set.StringVar(&f.passwordFile, "key-password-file", "", "`file` with that password")
	set.StringVar(&f.format, "format", signer.FormatBundle, "`form` of attestations: bundle (Sigstore bundle as referrer) or legacy (cosign's .att tag)")
	f.registries.Register(set)
}

func (f *flags) check() error {
	switch {
	case f.format != signer.FormatBundle && f.format != signer.FormatLegacy:
		return usagef("--format is %q: use bundle or legacy", f.format)
	case f.children < 1 || f.images < 1 || f.memory < 64<<20 || f.layers < 1 || f.timeout <= 0:
		return usagef("--children and --images-per-child are at least 1, --memory at least 67108864, --keep-layers and --timeout above 0")
	case f.passwordFile != "" && f.key == "":
		return usagef("--key-password-file is for --key: give both or neither")
	}
	for _, platform := range f.platforms {
		if os, rest, ok := strings.Cut(platform, "/"); !ok || os == "" || rest == "" {
			return usagef("--platform is %q: write it as linux/amd64", platform)
		}
	}
	return nil
}

// directory is the work folder.
func (f *flags) directory() (string, error) {
	if f.workDir != "" {
		return filepath.Abs(f.workDir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for databases and layers: %w: give --work-dir", err)
	}
	return filepath.Join(cache, "portcullis", "scanner"), nil
}

// locations are where the databases come from.
func (f *flags) locations() (vulnerabilities, java database.Location, err error) {
	if f.database == "" {
		return vulnerabilities, java, usagef("--database is empty: name a folder or a repository")
	}
	if vulnerabilities, err = location("--database", f.database); err == nil && f.javaDatabase != "" {
		java, err = location("--java-database", f.javaDatabase)
	}
	return vulnerabilities, java, err
}

// emptyFolder says that --database is a folder without the database.
func (f *flags) emptyFolder() bool {
	at, err := location("--database", f.database)
	if err != nil || at.Folder == "" {
		return false
	}
	for _, name := range []string{"trivy.db", "metadata.json"} {
		if _, err := os.Stat(filepath.Join(at.Folder, name)); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// location reads a folder or a repository.
func location(flag, text string) (database.Location, error) {
	if info, err := os.Stat(text); err == nil && info.IsDir() {
		absolute, err := filepath.Abs(text)
		return database.Location{Folder: absolute}, err
	}
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
		return database.Location{}, usagef("%s is %q: there is no such folder", flag, text)
	}
	parsed, err := workload.ParseImage(text)
	if err != nil {
		return database.Location{}, usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	return database.Location{Repository: registry.Repository{Registry: parsed.Registry, Path: parsed.Repository}, Tag: parsed.Tag, Digest: parsed.Digest}, nil
}

// loadKey reads the private key, nil for none.
func (f *flags) loadKey() (*cosign.Key, error) {
	if f.key == "" {
		return nil, nil
	}
	content, err := os.ReadFile(f.key)
	if err != nil {
		return nil, usagef("reading the private key: %w: correct --key", err)
	}
	password, err := f.password()
	if err != nil {
		return nil, err
	}
	key, err := cosign.LoadPrivateKey(content, password)
	if err != nil {
		return nil, usagef("%w: correct --key", err)
	}
	return key, nil
}

func (f *flags) password() ([]byte, error) {
	if f.passwordFile != "" {
		content, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return nil, usagef("reading the password of the private key: %w: correct --key-password-file", err)
		}
		return []byte(strings.TrimRight(string(content), "\r\n")), nil
	}
	for _, variable := range []string{passwordVariable, cosignPasswordVariable} {
		if password, ok := os.LookupEnv(variable); ok {
			return []byte(password), nil
		}
	}
	return nil, nil
}
