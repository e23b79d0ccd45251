//go:build goexperiment.jsonv2

package trivy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	trivydb "github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy-db/pkg/vulnsrc/bucket"
	javametadata "github.com/aquasecurity/trivy-java-db/pkg/db"
	"github.com/aquasecurity/trivy/pkg/db"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/javadb"
	"go.etcd.io/bbolt"
	_ "modernc.org/sqlite" // the driver of the Java database and of RPM's; Trivy imports it in its main package only

	"github.com/portcullis-dev/portcullis/scanner"
)

// database is the vulnerability database while it is open. There is one in a process, since Trivy has one variable
// for it; whoever opens it holds [process].
type database struct {
	metadata metadata.Metadata
	buckets  map[string]bool
}

// openDatabase opens the database of a directory, if it is whole and of the schema that this Trivy reads.
func openDatabase(directory string) (*database, error) {
	const next = "update the vulnerability database"
	if directory == "" {
		return nil, errors.New("there is no vulnerability database: name its directory")
	}
	about, err := metadata.NewClient(directory).Get()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w: %s", metadata.Path(directory), err, next)
	}
	if about.Version != trivydb.SchemaVersion {
		return nil, fmt.Errorf("the vulnerability database in %s has the schema %d, this scanner reads %d: take one for Trivy %s", directory, about.Version, trivydb.SchemaVersion, Version)
	}
	if about.UpdatedAt.IsZero() {
		return nil, fmt.Errorf("the vulnerability database in %s does not say when it was made: %s", directory, next)
	}
	if err := whole(trivydb.Path(directory)); err != nil {
		return nil, fmt.Errorf("opening the vulnerability database %s: %w: %s", trivydb.Path(directory), err, next)
	}
	if err := db.Init(directory); err != nil {
		return nil, fmt.Errorf("opening the vulnerability database in %s: %w: %s", directory, err, next)
	}
	d := &database{metadata: about, buckets: map[string]bool{}}
	if err := d.list(); err != nil {
		d.close()
		return nil, fmt.Errorf("reading the vulnerability database in %s: %w: %s", directory, err, next)
	}
	return d, nil
}

// whole tells a file that ends early before Trivy opens it. bbolt maps the file; Trivy answers the fault that reading
// behind its end raises by deleting the database.
func whole(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	b, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return err
	}
	defer b.Close()
	return b.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("the file has %d bytes of %d", info.Size(), tx.Size())
		}
		return nil
	})
}

// list reads the names of the sources of advisories.
func (d *database) list() error {
	return trivydb.Config{}.Connection().View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if first, _ := b.Cursor().First(); first != nil {
				d.buckets[string(name)] = true
			}
			return nil
		})
	})
}

func (d *database) close() { _ = db.Close() } // read only: there is nothing to lose

func (d *database) describe(digest string) scanner.Database {
	return scanner.Database{UpdatedAt: stamp(d.metadata.UpdatedAt), Digest: digest, Version: int64(d.metadata.Version)}
}

// knows says whether there are advisories for a distribution in this version. Without any, nothing would be found,
// and nothing would say so. Trivy's drivers (pkg/detector/ospkg) cut versions in the same way.
func (d *database) knows(os ftypes.OS) bool {
	major, _, _ := strings.Cut(os.Name, ".")
	minor := os.Name
	if parts := strings.SplitN(os.Name, ".", 3); len(parts) == 3 {
		minor = parts[0] + "." + parts[1]
	}
	var source bucket.Bucket
	switch os.Family {
	case ftypes.Alma:
		source = bucket.NewAlma(major)
	case ftypes.Alpine:
		source = bucket.NewAlpine(minor)
	case ftypes.Amazon:
		first, _, _ := strings.Cut(major, " ") // "2 (Karoo)"
		if first != "2" && first != "2022" && first != "2023" {
			first = "1" // whose versions are years and months: "2018.03"
		}
		source = bucket.NewAmazon(first)
	case ftypes.Azure:
		source = bucket.NewAzureLinux(minor)
	case ftypes.CBLMariner:
		source = bucket.NewMariner(minor)
	case ftypes.CentOS, ftypes.RedHat, ftypes.CoreOS:
		source = bucket.NewRedHat("")
	case ftypes.Chainguard:
		source = bucket.NewChainguard("")
	case ftypes.Debian:
		source = bucket.NewDebian(major)
	case ftypes.Echo:
		source = bucket.NewEcho("")
	case ftypes.MinimOS:
		source = bucket.NewMinimOS("")
	case ftypes.OpenSUSETumbleweed:
		source = bucket.NewOpenSUSETumbleweed()
	case ftypes.OpenSUSELeap:
		source = bucket.NewOpenSUSE(os.Name)
	case ftypes.Oracle:
		source = bucket.NewOracle(major)
	case ftypes.Photon:
		source = bucket.NewPhoton(os.Name)
	case ftypes.Rocky:
		source = bucket.NewRocky(major)
	case ftypes.SLES:
		source = bucket.NewSUSELinuxEnterprise(os.Name)
	case ftypes.SLEMicro:
		source = bucket.NewSUSELinuxEnterpriseMicro(os.Name)
	case ftypes.Ubuntu:
		source = bucket.NewUbuntu(strings.TrimSuffix(os.Name, "-ESM"))
	case ftypes.Wolfi:
		source = bucket.NewWolfi("")
	default:
		return d.any(string(os.Family))
	}
	return d.buckets[source.Name()]
}

func (d *database) any(prefix string) bool {
	for name := range d.buckets {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// knowsEcosystem says whether there are advisories for packages of a language's repository: "npm", "go".
func (d *database) knowsEcosystem(name string) bool { return d.any(name + "::") }

// openJava makes a Java database the one that Trivy asks. It returns what tells it from others, and what to call in
// the end.
func openJava(directory string) (identity string, done func(), err error) {
	if directory == "" {
		return "", func() {}, nil
	}
	const next = "update the Java database, or scan without one"
	client := javametadata.NewMetadata(directory)
	about, err := client.Get()
	if err != nil {
		return "", nil, fmt.Errorf("reading the Java database in %s: %w: %s", directory, err, next)
	}
	if about.Version != javametadata.SchemaVersion {
		return "", nil, fmt.Errorf("the Java database in %s has the schema %d, this scanner reads %d: %s", directory, about.Version, javametadata.SchemaVersion, next)
	}
	// SQLite makes an empty database of a file that is not there.
	if info, err := os.Stat(filepath.Join(directory, "trivy-java.db")); err != nil || info.Size() == 0 {
		return "", nil, fmt.Errorf("opening the Java database in %s: %w: %s", directory, errors.Join(err, fs.ErrNotExist), next)
	}
	parent, done, err := javaParent(directory)
	if err != nil {
		return "", nil, err
	}
	// Anew for each image: the client remembers that it failed, but not why.
	javadb.Init(parent, nil, true, true, ftypes.RegistryOptions{})
	return stamp(about.UpdatedAt), done, nil
}

// javaParent is a directory with the Java database under the one name that Trivy allows.
func javaParent(directory string) (parent string, done func(), err error) {
	absolute, err := filepath.Abs(directory)
	if err != nil {
		return "", nil, fmt.Errorf("finding the Java database: %w", err)
	}
	if filepath.Base(absolute) == "java-db" {
		return filepath.Dir(absolute), func() {}, nil
	}
	parent, err = os.MkdirTemp("", "portcullis-java-")
	if err == nil {
		err = os.Symlink(absolute, filepath.Join(parent, "java-db"))
	}
	if err != nil {
		return "", nil, fmt.Errorf("preparing the Java database: %w", err)
	}
	return parent, func() { os.RemoveAll(parent) }, nil
}
