package database

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"go.etcd.io/bbolt"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// boltFile is a small real database that says its name.
func boltFile(t testing.TB, name string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("name"))
		if err != nil {
			return err
		}
		return bucket.Put([]byte("name"), []byte(name))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func about(updated time.Time) []byte {
	return fmt.Appendf(nil, `{"Version":2,"NextUpdate":%q,"UpdatedAt":%q,"DownloadedAt":"0001-01-01T00:00:00Z"}`, updated.Add(24*time.Hour).Format(time.RFC3339), updated.Format(time.RFC3339Nano))
}

// entry is a member of an archive.
type entry struct {
	header  tar.Header
	content []byte
}

func file(name string, content []byte) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content}
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	writer := tar.NewWriter(zipped)
	for _, e := range entries {
		e.header.Size = int64(len(e.content))
		if err := writer.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(writer.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// good is an artifact's archive.
func good(t testing.TB, name string, updated time.Time) []byte {
	return archive(t, file("trivy.db", boltFile(t, name)), file("metadata.json", about(updated)))
}

// mirror is a registry with databases.
type mirror struct {
	*registrytest.Server
	client   *registry.Client
	location Location
}

func newMirror(t *testing.T) *mirror {
	t.Helper()
	server, err := registrytest.Start(registrytest.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	return &mirror{server, client, Location{Repository: server.Repository("aquasecurity/trivy-db"), Tag: "2"}}
}

// push gives the artifact's digest.
func (m *mirror) push(t *testing.T, k kind, layers ...[]byte) string {
	t.Helper()
	var list []map[string]any
	for _, layer := range layers {
		d, err := m.client.PushBlob(t.Context(), m.location.Repository, layer)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, map[string]any{"mediaType": k.mediaType, "digest": d.Digest, "size": d.Size, "annotations": map[string]string{"org.opencontainers.image.title": "db.tar.gz"}})
	}
	config, err := m.client.PushBlob(t.Context(), m.location.Repository, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaType, "config": map[string]any{"mediaType": "application/vnd.aquasec.trivy.config.v1+json", "digest": config.Digest, "size": config.Size}, "layers": list})
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.client.PushManifest(t.Context(), m.location.Repository, m.location.Tag, mediaType, raw)
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

func (m *mirror) keeper(t *testing.T, change ...func(*Options)) *Keeper {
	t.Helper()
	options := Options{Directory: t.TempDir(), Vulnerabilities: m.location, Source: m.client, Now: func() time.Time { return now }}
	for _, c := range change {
		c(&options)
	}
	k, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// nameOf reads the name in the database that a lease gives.
func nameOf(t *testing.T, l *Lease) string {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(l.Vulnerabilities, "trivy.db"), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name string
	err = db.View(func(tx *bbolt.Tx) error {
		name = string(tx.Bucket([]byte("name")).Get([]byte("name")))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// current acquires and releases.
func current(t *testing.T, k *Keeper) (name, digest string) {
	t.Helper()
	l, err := k.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	return nameOf(t, l), l.Digest
}

func update(t *testing.T, k *Keeper, want bool) {
	t.Helper()
	if changed, err := k.Update(t.Context()); err != nil || changed != want {
		t.Fatalf("updating: changed %t, error %v, want changed %t", changed, err, want)
	}
}

func TestAMirrorIsFollowedAndScansUnderWayKeepTheirVersion(t *testing.T) {
	m := newMirror(t)
	k := m.keeper(t)
	if _, err := k.Acquire(); !errors.Is(err, ErrNone) {
		t.Fatalf("before the first update: got %v, want that there is none", err)
	}
	monday := m.push(t, vulnerabilities, good(t, "monday", now.Add(-48*time.Hour)))
	update(t, k, true)
	if name, digest := current(t, k); name != "monday" || digest != monday {
		t.Fatalf("got %s with digest %s, want monday with that of its manifest, %s", name, digest, monday)
	}
	m.Forget()
	update(t, k, false)
	for _, r := range m.Requests() {
		if strings.Contains(r.Path, "/blobs/") {
			t.Errorf("what is there already was pulled again: %s", r.Path)
		}
	}
	scanning, err := k.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	m.push(t, vulnerabilities, good(t, "tuesday", now.Add(-24*time.Hour)))
	update(t, k, true)
	if name, _ := current(t, k); name != "tuesday" {
		t.Errorf("new scans use %s, want tuesday", name)
	}
	if name := nameOf(t, scanning); name != "monday" {
		t.Errorf("the scan under way has %s now, want monday", name)
	}
	scanning.Release()
	if _, err := os.Stat(scanning.Vulnerabilities); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old version is still there after its last scan: %v", err)
	}
}

func TestTheLastGoodVersionStays(t *testing.T) {
	bolt := boltFile(t, "bad")
	for name, c := range map[string]struct {
		layers [][]byte
		kind   kind
		change func(*Options)
		says   string
	}{
		"where the next one is older":         {layers: [][]byte{good(t, "bad", now.Add(-72*time.Hour))}, says: "before the one in use"},
		"where the next one is of the future": {layers: [][]byte{good(t, "bad", now.Add(2*time.Hour))}, says: "in the future"},
		"where the schema is another":         {layers: [][]byte{archive(t, file("trivy.db", bolt), file("metadata.json", []byte(`{"Version":1,"UpdatedAt":"2026-11-28T00:00:00Z"}`)))}, says: "schema is 1"},
		"where nothing says how old it is":    {layers: [][]byte{archive(t, file("trivy.db", bolt), file("metadata.json", []byte(`{"Version":2}`)))}, says: "does not say when"},
		"where the metadata are no JSON":      {layers: [][]byte{archive(t, file("trivy.db", bolt), file("metadata.json", []byte("x")))}, says: "reading metadata.json"},
		"where the file ends early":           {layers: [][]byte{archive(t, file("trivy.db", bolt[:len(bolt)/2]), file("metadata.json", about(now)))}, says: "damaged"},
		"where the file is none of bbolt":     {layers: [][]byte{archive(t, file("trivy.db", bytes.Repeat([]byte("x"), 1<<16)), file("metadata.json", about(now)))}, says: "damaged"},
		"where there is no database in it":    {layers: [][]byte{archive(t, file("metadata.json", about(now)))}, says: "has no trivy.db"},
		"where a file does not belong":        {layers: [][]byte{archive(t, file("trivy.db", bolt), file("metadata.json", about(now)), file("../../evil", nil))}, says: "evil"},
		"where a file is there twice":         {layers: [][]byte{archive(t, file("trivy.db", bolt), file("trivy.db", bolt), file("metadata.json", about(now)))}, says: "twice"},
		"where the database is a link":        {layers: [][]byte{archive(t, entry{tar.Header{Name: "trivy.db", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, nil}, file("metadata.json", about(now)))}, says: "where only the files"},
		"where it unpacks to too much":        {layers: [][]byte{good(t, "bad", now)}, change: func(o *Options) { o.MaxUnpacked = 1000 }, says: "more than the 1000 bytes"},
		"where it is too large":               {layers: [][]byte{good(t, "bad", now)}, change: func(o *Options) { o.MaxPacked = 10 }, says: "where 10 are allowed"},
		"where it is no gzip":                 {layers: [][]byte{bytes.Repeat([]byte("hello"), 10)}, says: "gzip"},
		"where the artifact has two layers":   {layers: [][]byte{good(t, "bad", now), good(t, "worse", now)}, says: "one layer"},
		"where it is the other database":      {layers: [][]byte{good(t, "bad", now)}, kind: java, says: "no such database"},
		"where nobody trusted has signed it": {layers: [][]byte{good(t, "bad", now)}, says: "verifying the signature",
			change: func(o *Options) {
				o.Verify = func(context.Context, registry.Repository, string) error { return errors.New("no signature") }
			}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirror(t)
			k := m.keeper(t)
			m.push(t, vulnerabilities, good(t, "good", now.Add(-time.Hour)))
			update(t, k, true)
			if c.change != nil {
				c.change(&k.options)
			}
			next := vulnerabilities
			if c.kind.name != "" {
				next = c.kind
			}
			m.push(t, next, c.layers...)
			if changed, err := k.Update(t.Context()); changed || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got changed %t, error %v, want an error with %q", changed, err, c.says)
			}
			if name, _ := current(t, k); name != "good" {
				t.Errorf("scans use %s, want good", name)
			}
			if left, _ := filepath.Glob(filepath.Join(k.Versions(), ".new-*")); len(left) > 0 {
				t.Errorf("it left %q behind", left)
			}
		})
	}
}

func TestFaultsOfTheRegistryChangeNothing(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"other bytes than the manifest names": registrytest.On("/blobs/", registrytest.Flipped()),
		"an answer that ends early":           registrytest.On("/blobs/", registrytest.Truncated()),
		"no such tag":                         registrytest.On("/manifests/", registrytest.Status(404, "")),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirror(t)
			k := m.keeper(t)
			m.push(t, vulnerabilities, good(t, "good", now.Add(-time.Hour)))
			update(t, k, true)
			m.push(t, vulnerabilities, good(t, "better", now))
			m.Inject(fault)
			if changed, err := k.Update(t.Context()); changed || err == nil {
				t.Errorf("got changed %t, error %v, want an error", changed, err)
			}
			if name, _ := current(t, k); name != "good" {
				t.Errorf("scans use %s, want good", name)
			}
		})
	}
}

func TestAPinnedDigestIsUsedHoweverOldAndWhateverTheTagSays(t *testing.T) {
	m := newMirror(t)
	pinned := m.push(t, vulnerabilities, good(t, "pinned", now.Add(-240*time.Hour)))
	m.push(t, vulnerabilities, good(t, "latest", now))
	k := m.keeper(t, func(o *Options) { o.Vulnerabilities.Digest = pinned })
	update(t, k, true)
	if name, digest := current(t, k); name != "pinned" || digest != pinned {
		t.Errorf("got %s with %s, want pinned with %s", name, digest, pinned)
	}
}

func TestAFolderIsCopiedWhenItChanges(t *testing.T) {
	folder := t.TempDir()
	fill := func(name string, updated time.Time) {
		t.Helper()
		err := errors.Join(os.WriteFile(filepath.Join(folder, "trivy.db"), boltFile(t, name), 0o600), os.WriteFile(filepath.Join(folder, "metadata.json"), about(updated), 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	fill("monday", now.Add(-48*time.Hour))
	directory := t.TempDir()
	open := func() *Keeper {
		t.Helper()
		k, err := New(Options{Directory: directory, Vulnerabilities: Location{Folder: folder}, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := open()
	update(t, k, true)
	update(t, k, false)
	scanning, err := k.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer scanning.Release()
	fill("tuesday", now.Add(-24*time.Hour))
	if name := nameOf(t, scanning); name != "monday" {
		t.Errorf("writing into the folder changed a scan under way to %s", name)
	}
	update(t, k, true)
	if name, _ := current(t, k); name != "tuesday" {
		t.Errorf("new scans use %s, want tuesday", name)
	}
	// Another process, or this one after a restart, finds what is there.
	again := open()
	if name, _ := current(t, again); name != "tuesday" {
		t.Errorf("after a restart scans use %s, want tuesday", name)
	}
	update(t, again, false)
	if name := nameOf(t, scanning); name != "monday" {
		t.Errorf("another process changed a scan under way to %s", name)
	}
}

func TestAnotherLocationIsNotMixedUpWithThisOne(t *testing.T) {
	m := newMirror(t)
	m.push(t, vulnerabilities, good(t, "first", now.Add(-time.Hour)))
	directory := t.TempDir()
	k := m.keeper(t, func(o *Options) { o.Directory = directory })
	update(t, k, true)
	other := m.keeper(t, func(o *Options) {
		o.Directory = directory
		o.Vulnerabilities.Repository = m.Repository("acme/trivy-db")
	})
	if _, err := other.Acquire(); !errors.Is(err, ErrNone) {
		t.Errorf("got %v, want that there is none from there", err)
	}
}

func TestTheJavaDatabaseIsKeptBesideTheOther(t *testing.T) {
	folder, javaFolder := t.TempDir(), t.TempDir()
	// A database of SQLite with one page: the header is all that is looked at.
	sqlite := make([]byte, 4096)
	copy(sqlite, "SQLite format 3\x00\x10\x00")
	sqlite[31] = 1
	err := errors.Join(
		os.WriteFile(filepath.Join(folder, "trivy.db"), boltFile(t, "x"), 0o600), os.WriteFile(filepath.Join(folder, "metadata.json"), about(now), 0o600),
		os.WriteFile(filepath.Join(javaFolder, "trivy-java.db"), sqlite, 0o600),
		os.WriteFile(filepath.Join(javaFolder, "metadata.json"), []byte(`{"Version":1,"UpdatedAt":"2026-11-28T00:00:00Z"}`), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(Options{Directory: t.TempDir(), Vulnerabilities: Location{Folder: folder}, Java: Location{Folder: javaFolder}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	update(t, k, true)
	l, err := k.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(l.Java) != "java-db" {
		t.Errorf("the Java database is in %q, want a folder called java-db, as Trivy expects", l.Java)
	}
	l.Release()
	// An update of one must not remove the other, whose name begins alike.
	if err := os.WriteFile(filepath.Join(folder, "metadata.json"), about(now.Add(time.Minute)), 0o600); err != nil {
		t.Fatal(err)
	}
	update(t, k, true)
	if l, err = k.Acquire(); err != nil || l.Java == "" {
		t.Fatalf("after an update: %+v, %v, want a Java database", l, err)
	}
	defer l.Release()
	if _, err := os.Stat(filepath.Join(l.Java, "trivy-java.db")); err != nil {
		t.Error(err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(good(f, "x", now))
	f.Add(archive(f, file("../x", []byte("y"))))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, content []byte) {
		root := t.TempDir()
		folder := filepath.Join(root, "in")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		err := vulnerabilities.unpack(bytes.NewReader(content), folder, 1<<20)
		entries, _ := os.ReadDir(folder)
		for _, e := range entries {
			if e.Name() != "trivy.db" && e.Name() != metadataFile || !e.Type().IsRegular() {
				t.Errorf("it unpacked %s (%s)", e.Name(), e.Type())
			}
		}
		if around, _ := os.ReadDir(root); len(around) != 1 {
			t.Error("it unpacked outside of its folder")
		}
		if err == nil {
			_, _ = vulnerabilities.check(folder, now)
		}
	})
}
