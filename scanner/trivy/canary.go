//go:build goexperiment.jsonv2

package trivy

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// file is a file of an image that the self-test makes.
type file struct{ path, content string }

// debian are the files of a distribution with dpkg: "debian" or "ubuntu".
func debian(id, version, name, packageVersion string) []file {
	files := []file{
		{"etc/os-release", fmt.Sprintf("ID=%s\nVERSION_ID=%q\n", id, version)},
		{"var/lib/dpkg/status", fmt.Sprintf("Package: %s\nStatus: install ok installed\nMaintainer: %[1]s <test@lists.debian.org>\nArchitecture: amd64\nVersion: %[2]s\n\n", name, packageVersion)},
	}
	// Trivy reads the versions of these two elsewhere.
	switch id {
	case "debian":
		files = append(files, file{"etc/debian_version", version + "\n"})
	case "ubuntu":
		files = append(files, file{"etc/lsb-release", fmt.Sprintf("DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=%s\n", version)})
	}
	return files
}

func alpine(version, name, packageVersion string) []file {
	return []file{
		{"etc/alpine-release", version + ".0\n"},
		{"etc/os-release", fmt.Sprintf("ID=alpine\nVERSION_ID=%s.0\n", version)},
		{"lib/apk/db/installed", fmt.Sprintf("P:%s\nV:%s\nA:x86_64\no:%[1]s\n\n", name, packageVersion)},
	}
}

func npmPackage(name, version string) file {
	return file{"node_modules/" + name + "/package.json", fmt.Sprintf(`{"name": %q, "version": %q}`, name, version)}
}

// makeImage is an image with one layer of these files.
func makeImage(files []file) (v1.Image, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range files {
		err := w.WriteHeader(&tar.Header{Name: f.path, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write([]byte(f.content))
		}
		if err != nil {
			return nil, fmt.Errorf("making an image: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	made, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	return made, nil
}
