//go:build goexperiment.jsonv2

package trivy

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// seen is what lies in a layer that Trivy does not tell of: the files from which one can see that it has missed
// something.
type seen struct {
	// Files are the files that matter, by path without a leading slash.
	Files map[string]kind `json:"files,omitempty"`
	// Releases are the distributions that os-release files name, by path.
	Releases map[string]release `json:"releases,omitempty"`
	// Outside are names that lead out of the image's root. Container runtimes bend them back into it, Trivy does not.
	Outside []string `json:"outside,omitempty"`
	// Removed and Emptied are the paths and directories of lower layers that this layer hides (OCI image
	// specification, "Whiteouts").
	Removed []string `json:"removed,omitempty"`
	Emptied []string `json:"emptied,omitempty"`
	// Full says that there were more files than are kept.
	Full bool `json:"full,omitempty"`
}

// kind says why a file matters.
type kind string

const (
	program  kind = "program"  // ELF: a program or a shared library
	archive  kind = "archive"  // of Java classes
	packages kind = "packages" // the database of a package manager
	link     kind = "link"     // in the place of such a database or archive, which Trivy does not follow
	trace    kind = "trace"    // of a package manager
)

// release is what an os-release file says (os-release(5)).
type release struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

// maxSeen is how many files are kept of a layer. Images without a distribution, where every program counts, have few.
const maxSeen = 20_000

// maxRelease is how much of an os-release file is read.
const maxRelease = 64 << 10

var elf = []byte("\x7fELF")

// releaseFiles are where os-release(5) says.
var releaseFiles = []string{"etc/os-release", "usr/lib/os-release"}

// databaseFiles are where package managers keep what is installed, as far as Trivy reads them.
var databaseFiles = []string{
	"var/lib/dpkg/status",
	"lib/apk/db/installed", "usr/lib/apk/db/installed",
	"usr/lib/sysimage/rpm/Packages", "var/lib/rpm/Packages",
	"usr/lib/sysimage/rpm/Packages.db", "var/lib/rpm/Packages.db",
	"usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite", "usr/share/rpm/rpmdb.sqlite",
	"var/lib/rpmmanifest/container-manifest-2",
}

// traces are directories and files that a package manager leaves even where somebody deleted its database.
var traces = []string{
	"var/lib/dpkg", "etc/dpkg", "usr/bin/dpkg", "etc/apt", "etc/debian_version",
	"lib/apk", "usr/lib/apk", "etc/apk", "sbin/apk", "etc/alpine-release",
	"var/lib/rpm", "usr/lib/sysimage/rpm", "etc/yum.repos.d", "etc/redhat-release", "usr/bin/rpm",
}

// javaSuffixes are what Trivy takes for Java archives.
var javaSuffixes = []string{".jar", ".war", ".ear", ".par"}

// observer looks at a layer while somebody else reads it.
type observer struct {
	pipe   *io.PipeWriter
	done   chan struct{}
	budget *budget
	seen   seen
	err    error
}

func observe(budget *budget) *observer {
	reader, writer := io.Pipe()
	o := &observer{pipe: writer, done: make(chan struct{}), budget: budget, seen: seen{Files: map[string]kind{}, Releases: map[string]release{}}}
	go func() {
		defer close(o.done)
		o.err = o.look(reader)
		if o.err != nil {
			reader.CloseWithError(o.err)
			return
		}
		_, o.err = io.Copy(io.Discard, reader) // what follows the archive's end
	}()
	return o
}

// write shows the observer a part of the layer.
func (o *observer) write(chunk []byte) error {
	_, err := o.pipe.Write(chunk)
	return err
}

func (o *observer) stop() { o.pipe.CloseWithError(errClosed) }

// result is what was seen in the whole layer.
func (o *observer) result() (seen, error) {
	o.pipe.Close()
	<-o.done
	return o.seen, o.err
}

func (o *observer) look(content io.Reader) error {
	for reader := tar.NewReader(bufio.NewReaderSize(content, chunkSize)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if o.budget.entries.Add(1) > o.budget.limits.Entries {
			return unscannable("it has more than %d files, which is the limit", o.budget.limits.Entries)
		}
		if err := o.entry(header, reader); err != nil {
			return fmt.Errorf("reading %s: %w", header.Name, err)
		}
	}
}

func (o *observer) entry(header *tar.Header, content io.Reader) error {
	name := strings.TrimLeft(path.Clean(header.Name), "/")
	if name == ".." || strings.HasPrefix(name, "../") {
		if len(o.seen.Outside) < maxSeen {
			o.seen.Outside = append(o.seen.Outside, header.Name)
		}
		return nil
	}
	directory, base := path.Split(name)
	switch {
	case base == ".wh..wh..opq":
		o.seen.Emptied = append(o.seen.Emptied, path.Clean(directory))
		return nil
	case strings.HasPrefix(base, ".wh."):
		o.seen.Removed = append(o.seen.Removed, path.Join(directory, strings.TrimPrefix(base, ".wh.")))
		return nil
	}
	if t, ok := traceOf(name); ok {
		o.mark(t, trace)
	}
	switch header.Typeflag {
	case tar.TypeReg:
		return o.file(name, content)
	case tar.TypeSymlink, tar.TypeLink:
		// A symbolic link to an archive is beside the point: the archive itself is read.
		if isDatabase(name) || header.Typeflag == tar.TypeLink && isJava(name) && !isJava(header.Linkname) {
			o.mark(name, link)
		}
	}
	return nil
}

func (o *observer) file(name string, content io.Reader) error {
	if slices.Contains(releaseFiles, name) {
		text, err := io.ReadAll(io.LimitReader(content, maxRelease))
		o.seen.Releases[name] = parseRelease(text)
		return err
	}
	switch {
	case isDatabase(name):
		o.mark(name, packages)
	case isJava(name):
		o.mark(name, archive)
	default:
		var first [4]byte
		if n, err := io.ReadFull(content, first[:]); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		} else if bytes.Equal(first[:n], elf) {
			o.mark(name, program)
		}
	}
	return nil
}

func (o *observer) mark(name string, k kind) {
	if _, known := o.seen.Files[name]; !known && len(o.seen.Files) >= maxSeen {
		o.seen.Full = true
		return
	}
	o.seen.Files[name] = k
}

func traceOf(name string) (string, bool) {
	for _, t := range traces {
		if name == t || strings.HasPrefix(name, t+"/") {
			return t, true
		}
	}
	return "", false
}

func isDatabase(name string) bool {
	return slices.Contains(databaseFiles, name) || path.Dir(name) == "var/lib/dpkg/status.d" && path.Ext(name) != ".md5sums"
}

func isJava(name string) bool {
	return slices.Contains(javaSuffixes, strings.ToLower(path.Ext(name)))
}

// parseRelease reads the two fields that tell a distribution. Quoting is that of a shell, of which os-release(5)
// allows one value a line.
func parseRelease(text []byte) release {
	var r release
	for line := range strings.Lines(string(text)) {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if !found {
			continue
		}
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			r.ID = value
		case "VERSION_ID":
			r.Version = value
		}
	}
	return r
}

// merge is what is seen in an image of these layers, lowest first. A file that an upper layer replaced by one that
// does not matter stays: that can make an image unscannable, never complete.
func merge(layers []seen) seen {
	all := seen{Files: map[string]kind{}, Releases: map[string]release{}}
	for _, l := range layers {
		for _, directory := range l.Emptied {
			all.hide(func(name string) bool { return directory == "." || strings.HasPrefix(name, directory+"/") })
		}
		for _, hidden := range l.Removed {
			all.hide(func(name string) bool { return name == hidden || strings.HasPrefix(name, hidden+"/") })
		}
		for name, k := range l.Files {
			all.Files[name] = k
		}
		for name, r := range l.Releases {
			all.Releases[name] = r
		}
		all.Outside = append(all.Outside, l.Outside...)
		all.Full = all.Full || l.Full
	}
	return all
}

func (s *seen) hide(hidden func(name string) bool) {
	for name, k := range s.Files {
		// What is left of a package manager is a trace wherever it was.
		if k != trace && hidden(name) {
			delete(s.Files, name)
		}
	}
	for name := range s.Releases {
		if hidden(name) {
			delete(s.Releases, name)
		}
	}
}

// of are the names of the files of a kind, sorted.
func (s *seen) of(k kind) []string {
	var names []string
	for name, other := range s.Files {
		if other == k {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
