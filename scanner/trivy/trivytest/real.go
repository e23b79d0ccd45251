package trivytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// ErrUnavailable says that a real package cannot be had here: a program is missing, or there is no network. A test
// skips then, and says why.
var ErrUnavailable = errors.New("not available on this machine")

// DebianPackages are the files of real packages of Debian and dpkg's entries for them, as if they had been installed.
// Each is named with its version ("openssl=3.0.17-1~deb12u2") and fetched once with apt-get, which has to know a
// mirror of that release.
func DebianPackages(ctx context.Context, names ...string) ([]Entry, error) {
	var all []Entry
	var status strings.Builder
	for _, name := range names {
		deb, err := fetch("debian", name+".deb", func(directory string) error {
			return run(ctx, directory, "apt-get", "download", "--quiet", name)
		})
		if err != nil {
			return nil, err
		}
		files, err := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb).Output()
		if err != nil {
			return nil, unavailable("dpkg-deb", err)
		}
		entries, err := Unpack(bytes.NewReader(files))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		all = append(all, entries...)
		control, err := exec.CommandContext(ctx, "dpkg-deb", "--field", deb).Output()
		if err != nil {
			return nil, unavailable("dpkg-deb", err)
		}
		fmt.Fprintf(&status, "%sStatus: install ok installed\n\n", control)
	}
	return append(all, Text("var/lib/dpkg/status", status.String())), nil
}

// NPMPackages are real packages of Node.js ("lodash@4.17.20") where npm installs them, fetched once with npm.
func NPMPackages(ctx context.Context, names ...string) ([]Entry, error) {
	var all []Entry
	for _, name := range names {
		archive, err := fetch("npm", name+".tgz", func(directory string) error {
			return run(ctx, directory, "npm", "pack", "--silent", name)
		})
		if err != nil {
			return nil, err
		}
		entries, err := unpackFile(archive)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		short, _, _ := strings.Cut(name, "@")
		for _, e := range entries {
			e.Path = path.Join("app/node_modules", short, strings.TrimPrefix(e.Path, "package/"))
			all = append(all, e)
		}
	}
	return all, nil
}

// GoProgram is a static program for linux/amd64 that uses golang.org/x/text in a version ("v0.3.6").
func GoProgram(ctx context.Context, version string) ([]byte, error) {
	program, err := fetch("go", "text-"+version, func(directory string) error {
		sources := map[string]string{
			"go.mod":  "module example.com/app\n\ngo 1.21\n\nrequire golang.org/x/text " + version + "\n",
			"main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"golang.org/x/text/language\"\n)\n\nfunc main() { fmt.Println(language.English) }\n",
		}
		source, err := os.MkdirTemp("", "portcullis-program-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(source)
		for name, content := range sources {
			if err := os.WriteFile(filepath.Join(source, name), []byte(content), 0o600); err != nil {
				return err
			}
		}
		return run(ctx, source, "env", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOWORK=off", "GOFLAGS=-mod=mod",
			"go", "build", "-trimpath", "-o", filepath.Join(directory, "app"), ".")
	})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(program)
}

// fetch makes a file once and keeps it in the user's cache. PORTCULLIS_TEST_CACHE names another folder.
func fetch(kind, name string, get func(directory string) error) (string, error) {
	cache := os.Getenv("PORTCULLIS_TEST_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "portcullis-test")
	}
	cache = filepath.Join(cache, "packages", kind)
	kept := filepath.Join(cache, name)
	if _, err := os.Stat(kept); err == nil {
		return kept, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, ".fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := get(work); err != nil {
		return "", fmt.Errorf("fetching %s: %w", name, err)
	}
	made, err := os.ReadDir(work)
	if err != nil {
		return "", err
	}
	if len(made) != 1 {
		return "", fmt.Errorf("fetching %s: there are %d files: %w", name, len(made), ErrUnavailable)
	}
	return kept, os.Rename(filepath.Join(work, made[0].Name()), kept)
}

func run(ctx context.Context, directory, program string, arguments ...string) error {
	command := exec.CommandContext(ctx, program, arguments...)
	command.Dir = directory
	if out, err := command.CombinedOutput(); err != nil {
		return unavailable(program, fmt.Errorf("%w: %s", err, out))
	}
	return nil
}

func unavailable(program string, err error) error {
	return fmt.Errorf("running %s: %w: %w", program, err, ErrUnavailable)
}

func unpackFile(name string) ([]Entry, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return Unpack(unzipped)
}

// Unpack are the entries of a tar archive.
func Unpack(archive io.Reader) ([]Entry, error) {
	var entries []Entry
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		e := Entry{Path: path.Clean(header.Name), Mode: header.Mode}
		switch header.Typeflag {
		case tar.TypeDir:
			e.Directory = true
		case tar.TypeSymlink:
			e.Symlink = header.Linkname
		case tar.TypeLink:
			e.Hardlink = header.Linkname
		default:
			if e.Content, err = io.ReadAll(reader); err != nil {
				return nil, err
			}
		}
		entries = append(entries, e)
	}
}
