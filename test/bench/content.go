package bench

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

// content makes up files that take a scanner as long as real ones: text of words, programs of repeated and of
// random parts. The same seed makes the same files.
type content struct {
	random *rand.Rand
	words  []string
}

func newContent(seed uint64) *content {
	c := &content{random: rand.New(rand.NewPCG(seed, 0))}
	for range 2000 {
		var word strings.Builder
		for range 1 + c.random.IntN(4) {
			word.WriteByte("bcdfghklmnprstvw"[c.random.IntN(16)])
			word.WriteByte("aeiou"[c.random.IntN(5)])
		}
		c.words = append(c.words, word.String())
	}
	return c
}

// text is prose or code of at least n bytes: words, joined as the separators say.
func (c *content) text(n int, separators ...string) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(c.words[c.random.IntN(len(c.words))])
		b.WriteString(separators[c.random.IntN(len(separators))])
	}
	return b.Bytes()
}

func (c *content) prose(n int) []byte {
	return c.text(n, " ", " ", " ", " ", " ", " ", ", ", ".\n")
}

func (c *content) code(n int) []byte {
	return c.text(n, " = ", ".", "(", ");\n", ", ", " => {\n  ", "\n}\n", ": \"", "\";\n", " + ")
}

// program is a file that begins as programs and libraries of Linux do, and shrinks to half its size as they do.
func (c *content) program(n int) []byte {
	b := append(make([]byte, 0, n), "\x7fELF\x02\x01\x01"...)
	for len(b) < n {
		var part [256]byte
		for i := range len(part) / 2 {
			part[i] = byte(c.random.Uint32())
		}
		b = append(b, part[:]...)
	}
	return b
}

// debianLayer is a system of Debian 12 with packages of some twenty files and 350 KB each, as the images "debian" and
// "node" have them.
func debianLayer(packages int) []trivytest.Entry {
	c := newContent(1)
	installed := debianPackages(packages)
	entries := trivytest.Debian("12.5", installed...)
	for _, p := range installed {
		files := []trivytest.Entry{
			trivytest.Program("usr/bin/"+p.Name, c.program(30_000)),
			trivytest.Program("usr/lib/x86_64-linux-gnu/"+p.Name+".so.1", c.program(250_000)),
			{Path: "usr/share/doc/" + p.Name + "/copyright", Content: c.prose(4000)},
		}
		for n := range 20 {
			files = append(files, trivytest.Entry{Path: fmt.Sprintf("usr/share/%s/%d.conf", p.Name, n), Content: c.prose(3000)})
		}
		var list strings.Builder
		for _, file := range files {
			fmt.Fprintln(&list, "/"+file.Path)
		}
		entries = append(append(entries, files...), trivytest.Text("var/lib/dpkg/info/"+p.Name+".list", list.String()))
	}
	return entries
}

func debianPackages(n int) []trivytest.Package {
	packages := []trivytest.Package{{Name: "base-files", Version: "12.4+deb12u5"}}
	for i := range n {
		packages = append(packages, trivytest.Package{Name: fmt.Sprintf("libsample%d", i), Version: fmt.Sprintf("1.%d-1", i)})
	}
	return packages
}

// moduleLayer is an application for Node.js with so many packages of ten files and 40 KB each. The seed tells
// applications apart.
func moduleLayer(seed uint64, modules int) []trivytest.Entry {
	c := newContent(seed)
	var entries []trivytest.Entry
	for n := range modules {
		name := fmt.Sprintf("sample-%d-%d", seed, n)
		entries = append(entries, trivytest.NPM(name, fmt.Sprintf("2.%d.0", n)))
		folder := "app/node_modules/" + name + "/"
		entries = append(entries, trivytest.Entry{Path: folder + "README.md", Content: c.prose(4000)})
		for i := range 8 {
			entries = append(entries, trivytest.Entry{Path: fmt.Sprintf("%slib/%d.js", folder, i), Content: c.code(4500)})
		}
	}
	return entries
}

// advisories are what the database knows of the packages: of each third of Debian's and of each fifth of Node.js'.
func advisories(packages, modules int, seeds ...uint64) []trivytest.Advisory {
	var all []trivytest.Advisory
	for i := 0; i < packages; i += 3 {
		all = append(all, trivytest.Advisory{
			Source: "debian 12", Package: fmt.Sprintf("libsample%d", i), ID: fmt.Sprintf("CVE-2026-1%04d", i),
			Fixed: fmt.Sprintf("1.%d-2", i), Severity: []string{"LOW", "MEDIUM", "HIGH"}[i/3%3], Title: "a sample",
		})
	}
	for _, seed := range seeds {
		for i := 0; i < modules; i += 5 {
			all = append(all, trivytest.Advisory{
				Source: trivytest.NPMSource, Package: fmt.Sprintf("sample-%d-%d", seed, i), ID: fmt.Sprintf("CVE-2026-2%02d%03d", seed, i),
				Fixed: fmt.Sprintf("2.%d.1", i), Severity: "MEDIUM", Title: "a sample",
			})
		}
	}
	// A database that knows nothing of Go would make an image with a program in Go unscannable.
	all = append(all, trivytest.Advisory{Source: trivytest.GoSource, Package: "example.com/absent", ID: "CVE-2025-90000", Fixed: "1.0.1", Severity: "LOW", Title: "a sample"})
	// Real databases know thousands of packages that are not in the image.
	for i := range 5000 {
		all = append(all, trivytest.Advisory{Source: "debian 12", Package: fmt.Sprintf("absent%d", i), ID: fmt.Sprintf("CVE-2025-%05d", i), Fixed: "1.0-2", Severity: "LOW", Title: "a sample"})
	}
	return all
}

// packed is a layer that is packed once, however often it is read.
func packed(entries ...trivytest.Entry) (v1.Layer, error) {
	archive, err := trivytest.Archive(entries...)
	if err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	return tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil },
		tarball.WithCompressedCaching, tarball.WithCompressionLevel(gzip.BestSpeed))
}
