package trivytest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Entry is one entry of a layer.
type Entry struct {
	Path    string
	Content []byte
	Mode    int64 // zero for 0644
	// Symlink or Hardlink make it a link to that path, Directory a directory.
	Symlink, Hardlink string
	Directory         bool
}

// Text is a file.
func Text(path, content string) Entry { return Entry{Path: path, Content: []byte(content)} }

// Program is a file that can be executed.
func Program(path string, content []byte) Entry {
	return Entry{Path: path, Content: content, Mode: 0o755}
}

// Whiteout hides a file of a lower layer (OCI image specification, "Whiteouts").
func Whiteout(name string) Entry {
	directory, base := path.Split(name)
	return Entry{Path: directory + ".wh." + base}
}

// Opaque hides all that lower layers have in a directory.
func Opaque(directory string) Entry { return Entry{Path: path.Join(directory, ".wh..wh..opq")} }

// Package is an entry of a distribution's package database.
type Package struct {
	Name, Version string
	// Source is the package it was built from, with its version in parentheses where that is another; "" for the
	// same.
	Source string
	// Maintainer is who packed it, "" for the distribution.
	Maintainer string
}

// Debian are the files from which one recognises Debian in a version ("12.5") and its packages.
func Debian(version string, packages ...Package) []Entry {
	major, _, _ := strings.Cut(version, ".")
	return []Entry{
		Text("etc/debian_version", version+"\n"),
		Text("etc/os-release", fmt.Sprintf("PRETTY_NAME=\"Debian GNU/Linux %s\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"%s\"\nID=debian\n", major, major)),
		Text("var/lib/dpkg/status", DpkgStatus(packages...)),
	}
}

// DpkgStatus is the content of dpkg's database (dpkg(1), "FILES").
func DpkgStatus(packages ...Package) string {
	var b strings.Builder
	for _, p := range packages {
		maintainer := p.Maintainer
		if maintainer == "" {
			maintainer = "Debian Test Maintainers <test@lists.debian.org>"
		}
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nPriority: optional\nSection: libs\nMaintainer: %s\nArchitecture: amd64\n", p.Name, maintainer)
		if p.Source != "" {
			fmt.Fprintf(&b, "Source: %s\n", p.Source)
		}
		fmt.Fprintf(&b, "Version: %s\nDescription: a package\n\n", p.Version)
	}
	return b.String()
}

// Alpine are the files from which one recognises Alpine in a version ("3.18.4") and its packages.
func Alpine(version string, packages ...Package) []Entry {
	var b strings.Builder
	for _, p := range packages {
		origin := p.Source
		if origin == "" {
			origin = p.Name
		}
		fmt.Fprintf(&b, "P:%s\nV:%s\nA:x86_64\nL:MIT\no:%s\n\n", p.Name, p.Version, origin)
	}
	return []Entry{
		Text("etc/alpine-release", version+"\n"),
		Text("etc/os-release", fmt.Sprintf("NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=%s\n", version)),
		Text("lib/apk/db/installed", b.String()),
	}
}

// NPM is a package of Node.js where npm installs it.
func NPM(name, version string) Entry {
	return Text("app/node_modules/"+name+"/package.json", fmt.Sprintf("{\"name\": %q, \"version\": %q, \"license\": \"MIT\"}\n", name, version))
}

// Layer is a layer with these entries, packed with gzip.
func Layer(entries ...Entry) (v1.Layer, error) {
	archive, err := Archive(entries...)
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil })
}

// Archive is a tar archive with these entries.
func Archive(entries ...Entry) ([]byte, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, e := range entries {
		if err := w.WriteHeader(e.header()); err != nil {
			return nil, fmt.Errorf("writing %s: %w", e.Path, err)
		}
		if _, err := w.Write(e.Content); err != nil {
			return nil, fmt.Errorf("writing %s: %w", e.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("ending the archive: %w", err)
	}
	return buffer.Bytes(), nil
}

func (e Entry) header() *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.Path, Size: int64(len(e.Content)), Mode: 0o644}
	if e.Mode != 0 {
		h.Mode = e.Mode
	}
	switch {
	case e.Directory:
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
	case e.Symlink != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Symlink
	case e.Hardlink != "":
		h.Typeflag, h.Linkname = tar.TypeLink, e.Hardlink
	}
	return h
}

// Image is an image for linux/amd64 with a layer for each list of entries, lowest first. The same entries make the
// same digest.
func Image(layers ...[]Entry) (v1.Image, error) {
	var packed []v1.Layer
	for _, entries := range layers {
		l, err := Layer(entries...)
		if err != nil {
			return nil, err
		}
		packed = append(packed, l)
	}
	return ImageOf(packed...)
}

// ImageOf is an image for linux/amd64 of layers.
func ImageOf(layers ...v1.Layer) (v1.Image, error) {
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{Architecture: "amd64", OS: "linux", RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	if image, err = mutate.AppendLayers(image, layers...); err != nil {
		return nil, fmt.Errorf("adding layers: %w", err)
	}
	return image, nil
}
