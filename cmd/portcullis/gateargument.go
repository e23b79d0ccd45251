package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// imageArgument is what --image names.
type imageArgument struct {
	image  source.Image
	parsed workload.Image
	// layout holds the image, nil for one in a registry.
	layout *registry.Layout
}

const (
	// nextImage is the next step for what names no image.
	nextImage = "name an image by a reference, as ghcr.io/acme/app:1, oci:DIR for an OCI image layout, tar:FILE for an archive of one or of docker save, and REF=oci:DIR to take it by another name"
	// nameOfLayout and containerName are annotations with the name of an image in a layout
	// (image specification, "Pre-Defined Annotation Keys", and that of Docker and containerd).
	nameOfLayout  = "org.opencontainers.image.ref.name"
	containerName = "io.containerd.image.name"
)

// transport is a scheme as other tools write it in front of references: docker://, https://.
var transport = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://`)

// parseImageArgument reads one value of --image and opens the layout that it names.
func parseImageArgument(ctx context.Context, text string) (*imageArgument, error) {
	name, place := "", text
	if before, after, ok := strings.Cut(text, "="); ok {
		name, place = before, after
	}
	kind, path, _ := strings.Cut(place, ":")
	switch {
	case transport.MatchString(place):
		return nil, usagef("reading the image %s: there is no scheme %s here: %s", text, transport.FindString(place), nextImage)
	case kind == "oci" || kind == "tar":
		return openImage(ctx, text, name, kind, path)
	case name != "":
		return nil, usagef("reading the image %s: %q is neither oci:DIR nor tar:FILE: %s", text, place, nextImage)
	}
	parsed, err := workload.ParseImage(text)
	if err != nil {
		return nil, usagef("reading the image: %w; %s", err, nextImage)
	}
	return &imageArgument{image: source.Image{Argument: text, Ref: parsed.Ref}, parsed: parsed}, nil
}

// openImage opens a layout and finds the one image in it that is meant.
func openImage(ctx context.Context, text, name, kind, path string) (*imageArgument, error) {
	path, wanted := splitLayout(path)
	info, err := os.Stat(path)
	switch {
	case path == "":
		return nil, usagef("reading the image %s: it names no path: %s", text, nextImage)
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("reading the image %s: there is no %s: check the path", text, path)
	case err != nil:
		return nil, usagef("reading the image %s: %w: make it readable", text, err)
	case kind == "oci" && !info.IsDir():
		return nil, usagef("reading the image %s: %s is a file: write tar:%s", text, path, path)
	case kind == "tar" && info.IsDir():
		return nil, usagef("reading the image %s: %s is a directory: write oci:%s", text, path, path)
	}
	layout, err := registry.NewLayout(path)
	if fault, ok := errors.AsType[*registry.Error](err); ok && fault.Kind == registry.Malformed {
		return nil, usagef("reading the image %s: %s: %w", text, path, noImage(kind, fault.Err))
	}
	if err != nil {
		return nil, usagef("reading the image %s: %w", text, err)
	}
	argument, err := describeImage(ctx, layout, text, name, path, wanted)
	if err != nil {
		return nil, errors.Join(err, layout.Close())
	}
	return argument, nil
}

// noImage says that what a path names was not written as an image is, and what writes one.
func noImage(kind string, err error) error {
	if kind == "tar" {
		return fmt.Errorf("it is no image archive: %w: write it with docker save, or as an archive of an OCI image layout", err)
	}
	return fmt.Errorf("it is no OCI image layout: %w: write it with docker buildx build --output type=oci,tar=false, or with skopeo copy to an oci: reference", err)
}

// splitLayout cuts the tag or digest off a path: "dist:1", "dist@sha256:…". What is there under
// the whole name is no tag.
func splitLayout(path string) (file, wanted string) {
	if _, err := os.Stat(path); err == nil {
		return path, ""
	}
	if at := strings.LastIndex(path, "@sha256:"); at > 0 {
		return path[:at], path[at+1:]
	}
	if colon := strings.LastIndexByte(path, ':'); colon > strings.LastIndexByte(path, '/') && colon > 0 {
		return path[:colon], path[colon+1:]
	}
	return path, ""
}

// describeImage names the image of a layout: as the user says, else as the layout does, else
// after the file. It is judged by its digest.
func describeImage(ctx context.Context, layout *registry.Layout, text, name, path, wanted string) (*imageArgument, error) {
	var found registry.Manifest
	var err error
	if strings.HasPrefix(wanted, "sha256:") {
		found, err = layout.Manifest(ctx, registry.Repository{}, wanted)
	} else {
		found, err = layout.Resolve(ctx, registry.Repository{}, wanted)
	}
	if err != nil {
		return nil, usagef("reading the image %s: %w", text, err)
	}
	candidates := []string{name}
	if name == "" {
		candidates = append(ownNames(layout, found.Digest), "localhost/"+plainName(path))
	}
	for _, candidate := range candidates {
		parsed, err := workload.ParseImage(candidate)
		if err != nil {
			if name != "" {
				return nil, usagef("reading the image %s: %w; %s", text, err, nextImage)
			}
			continue
		}
		if name != "" && parsed.Digest != "" && parsed.Digest != found.Digest {
			return nil, usagef("reading the image %s: %s is %s: name it without digest, or the right one", text, path, found.Digest)
		}
		return judgedAs(parsed, found.Digest, text, layout)
	}
	return nil, usagef("reading the image %s: it has no name: give it one, as REF=%s", text, text)
}

// judgedAs is an image of a layout under a name, by its digest.
func judgedAs(named workload.Image, digest, text string, layout *registry.Layout) (*imageArgument, error) {
	ref := named.Registry + "/" + named.Repository
	if named.Tag != "" {
		ref += ":" + named.Tag
	}
	parsed, err := workload.ParseImage(ref + "@" + digest)
	if err != nil {
		return nil, usagef("reading the image %s: %w", text, err)
	}
	return &imageArgument{image: source.Image{Argument: text, Ref: parsed.Ref}, parsed: parsed, layout: layout}, nil
}

// ownNames are the whole names that a layout gives an image. A bare tag is none: it would be
// taken for an image of Docker Hub.
func ownNames(layout *registry.Layout, digest string) []string {
	images, err := layout.Images()
	if err != nil {
		return nil
	}
	var names []string
	for _, image := range images {
		for _, key := range []string{containerName, nameOfLayout} {
			if name := image.Annotations[key]; image.Digest == digest && strings.Contains(name, "/") {
				names = append(names, name)
			}
		}
	}
	return names
}

// plainName makes a repository's name of a file's.
func plainName(path string) string {
	absolute, err := filepath.Abs(path)
	if err != nil {
		absolute = path
	}
	base := strings.ToLower(filepath.Base(absolute))
	for _, suffix := range []string{".gz", ".tgz", ".tar"} {
		base = strings.TrimSuffix(base, suffix)
	}
	base = strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(base, "-"), "-")
	if base == "" {
		return "image"
	}
	return base
}
