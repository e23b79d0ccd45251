package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// userID is whom the programs run as: the number that distroless images call nonroot. Pod Security "restricted" wants any but 0.
const userID = "65532"

// rootsFile is where Go looks for certificate authorities first (crypto/x509, root_linux.go). Mount another file over it to
// trust others.
const rootsFile = "etc/ssl/certs/ca-certificates.crt"

// titles say what each program is, for the annotation org.opencontainers.image.title.
var titles = map[string]string{
	"portcullis":            "The command line of Portcullis: gate, audit, replay, doctor",
	"portcullis-console":    "A web page about what Portcullis decided",
	"portcullis-controller": "Fetches, verifies and rolls out bundles of policies; audits what runs",
	"portcullis-responder":  "Answers events at run time with quarantines",
	"portcullis-scanner":    "Scans images and signs what it finds",
	"portcullis-secrets":    "Syncs secrets of Vault under policy",
	"portcullis-webhook":    "Judges what is admitted to a cluster",
}

// multi is the image of one program for several platforms.
type multi struct {
	program, version string
	from             checkout
	images           []mutate.IndexAddendum
	platforms        map[string]string
	programs         []programFile
}

// programFile is one program as it was built.
type programFile struct {
	platform v1.Platform
	digest   string
}

// add puts the program of one platform into an image, and writes its SBOM into the folder.
func (m *multi) add(platform v1.Platform, file, folder string) error {
	program, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the program: %w", err)
	}
	base, err := m.layer(baseFiles())
	if err != nil {
		return fmt.Errorf("making the layer below %s: %w", m.program, err)
	}
	own, err := m.layer([]entry{{path: m.program, content: program, mode: 0o755}})
	if err != nil {
		return fmt.Errorf("making the layer of %s: %w", m.program, err)
	}
	image, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		mutate.Addendum{Layer: base, History: v1.History{Created: v1.Time{Time: m.from.time}, CreatedBy: "certificate authorities, accounts, folder for temporary files"}},
		mutate.Addendum{Layer: own, History: v1.History{Created: v1.Time{Time: m.from.time}, CreatedBy: m.program}})
	if err != nil {
		return fmt.Errorf("making the image of %s: %w", m.program, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("making the image of %s: %w", m.program, err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = platform.OS, platform.Architecture, v1.Time{Time: m.from.time}
	config.Config = v1.Config{
		User: userID + ":" + userID, Entrypoint: []string{"/" + m.program}, WorkingDir: "/",
		Env: []string{"SSL_CERT_FILE=/" + rootsFile}, Labels: m.annotations(),
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return fmt.Errorf("making the image of %s: %w", m.program, err)
	}
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("making the image of %s: %w", m.program, err)
	}
	bom, err := newBOM(m.program, m.version, file, program, m.from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, bomName(platform.OS+"/"+platform.Architecture)), bom, 0o644); err != nil {
		return fmt.Errorf("writing the SBOM of %s: %w", m.program, err)
	}
	m.images = append(m.images, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	if m.platforms == nil {
		m.platforms = map[string]string{}
	}
	m.platforms[platform.OS+"/"+platform.Architecture] = digest.String()
	m.programs = append(m.programs, programFile{platform, sha256Of(program)})
	return nil
}

// annotations are those of the OCI image specification that say where an image comes from.
func (m *multi) annotations() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       m.program,
		"org.opencontainers.image.description": titles[m.program],
		"org.opencontainers.image.version":     m.version,
		"org.opencontainers.image.revision":    m.from.commit,
		"org.opencontainers.image.source":      "https://github.com/portcullis-dev/portcullis",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
}

// write makes the index, an image layout of it in the folder, and the provenance beside it.
func (m *multi) write(folder string) (v1.ImageIndex, built, error) {
	result := built{Program: m.program, Platforms: m.platforms}
	annotated, ok := mutate.Annotations(mutate.IndexMediaType(mutate.AppendManifests(empty.Index, m.images...), types.OCIImageIndex), m.annotations()).(v1.ImageIndex)
	if !ok {
		return nil, result, fmt.Errorf("making the index of %s: annotations made no index of it", m.program)
	}
	digest, err := annotated.Digest()
	if err != nil {
		return nil, result, fmt.Errorf("making the index of %s: %w", m.program, err)
	}
	result.Digest = digest.String()
	written, err := layout.Write(filepath.Join(folder, "layout"), empty.Index)
	if err != nil {
		return nil, result, fmt.Errorf("writing the layout of %s: %w", m.program, err)
	}
	if err := written.AppendIndex(annotated, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": m.version})); err != nil {
		return nil, result, fmt.Errorf("writing the layout of %s: %w", m.program, err)
	}
	provenance, err := newProvenance(m)
	if err != nil {
		return nil, result, err
	}
	if err := os.WriteFile(filepath.Join(folder, provenanceName), provenance, 0o644); err != nil {
		return nil, result, fmt.Errorf("writing the provenance of %s: %w", m.program, err)
	}
	return annotated, result, nil
}

// entry is a file or folder of a layer.
type entry struct {
	path    string
	content []byte
	mode    int64
	folder  bool
}

// baseFiles are what a static program wants of a file system.
func baseFiles() []entry {
	return []entry{
		{path: "etc/", mode: 0o755, folder: true},
		{path: "etc/group", content: []byte("nonroot:x:" + userID + ":\n"), mode: 0o644},
		{path: "etc/passwd", content: []byte("nonroot:x:" + userID + ":" + userID + ":nonroot:/home/nonroot:/sbin/nologin\n"), mode: 0o644},
		{path: "etc/ssl/", mode: 0o755, folder: true},
		{path: "etc/ssl/certs/", mode: 0o755, folder: true},
		{path: rootsFile, content: certificateAuthorities(), mode: 0o644},
		{path: "home/", mode: 0o755, folder: true},
		{path: "home/nonroot/", mode: 0o755, folder: true},
		{path: "tmp/", mode: 0o1777, folder: true},
	}
}

// certificateAuthorities are those of Mozilla, as golang.org/x/crypto/x509roots keeps them. Those that are trusted for some
// certificates only are left out: a file cannot say so.
func certificateAuthorities() []byte {
	var blocks []string
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			blocks = append(blocks, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})))
		}
	}
	slices.Sort(blocks)
	return []byte(strings.Join(blocks, ""))
}

// layer is a compressed layer with these entries, all of root and of the commit's time.
func (m *multi) layer(entries []entry) (v1.Layer, error) {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	for _, e := range entries {
		header := &tar.Header{Name: e.path, Mode: e.mode, Size: int64(len(e.content)), ModTime: m.from.time, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if e.folder {
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
