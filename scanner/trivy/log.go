//go:build goexperiment.jsonv2

package trivy

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// complaints are what Trivy only logs, at the debug level most of it: a file that could not be parsed, packages that
// were left out, versions that could not be compared. For Trivy the scan goes on; for us it is not complete.
type complaints struct {
	mu         sync.Mutex
	reasons    map[string]bool
	thirdParty int64 // packages that were not looked up, see skipping
}

// maxReasons is how many different complaints are kept. More say nothing more.
const maxReasons = 50

// sayings are the messages of Trivy that matter, with what they mean for people. A test provokes each it can, so that
// a new Trivy with other words does not go unnoticed.
var sayings = map[string]func(details map[string]string) string{
	// fanal/analyzer/analyzer.go, AnalyzeFile
	"Analysis error": func(d map[string]string) string { return "a file could not be parsed: " + d["err"] },
	// parallel/walk.go and utils/fsutils/fs.go, for analysers that see several files at once: Java, dpkg, Node.js …
	"Walk error": func(d map[string]string) string {
		return fmt.Sprintf("the file %s could not be parsed: %s", d["file_path"], d["err"])
	},
	// fanal/secret/scanner.go
	"Failed to read content during streaming": func(d map[string]string) string {
		return fmt.Sprintf("a file could not be searched for secrets: %s", d["err"])
	},
	// fanal/analyzer/pkg/dpkg/dpkg.go
	"Parse error": func(d map[string]string) string {
		return fmt.Sprintf("the file %s could not be parsed: %s", d["file_path"], d["err"])
	},
	"Invalid version": func(d map[string]string) string {
		return fmt.Sprintf("the package %s has the version %q, which is none", d["package"], d["version"])
	},
	"Invalid source version": func(d map[string]string) string {
		return fmt.Sprintf("the package %s has the source version %q, which is none", d["package"], d["version"])
	},
	// fanal/analyzer/pkg/apk/apk.go
	"Invalid version found": func(d map[string]string) string {
		return fmt.Sprintf("the package %s has the version %q, which is none", d["name"], d["version"])
	},
	// dependency/parser/java/jar/parse.go
	"Failed to parse": func(d map[string]string) string {
		return fmt.Sprintf("the archive %s in an archive could not be parsed: %s", d["file"], d["err"])
	},
	// fanal/applier/docker.go
	"Some OS packages were skipped due to mismatched PURL namespace": func(d map[string]string) string {
		return "packages were left out that an SBOM in the image counts to another distribution"
	},
	// detector/ospkg/detect.go
	"Unsupported os": func(d map[string]string) string {
		if d["family"] == "none" {
			return "" // how Trivy calls it where it has recognised none; see distribution
		}
		return fmt.Sprintf("the scanner knows no advisories for the distribution %q", d["family"])
	},
	// detector/ospkg/version/version.go
	"This OS version is not on the EOL list": func(d map[string]string) string {
		return fmt.Sprintf("the scanner does not know the version %q of %s", d["version"], d["family"])
	},
	// detector/ospkg/alpine/alpine.go
	"Mixing Alpine versions is unsupported": func(d map[string]string) string {
		return fmt.Sprintf("it is Alpine %s with packages of the repository of %s", d["os"], d["repository"])
	},
	// detector/ospkg/*, at the debug level
	"Installed package version error":               installedVersion,
	"Failed to parse the installed package version": installedVersion,
	// detector/library
	"Version matching error": func(d map[string]string) string {
		return "a version could not be compared with an advisory: " + d["err"]
	},
	"Conda package is supported for SBOM, not for vulnerability scanning": func(map[string]string) string {
		return "the scanner knows no advisories for packages of Conda"
	},
	"The library type is not supported for vulnerability scanning": func(d map[string]string) string {
		return fmt.Sprintf("the scanner knows no advisories for packages of %s", d["type"])
	},
}

// skipping is how Trivy says, at the debug level, which packages it does not look up since another vendor than the
// distribution made them (detector/ospkg/driver/driver.go). It is no complaint: many official images have some, and
// what becomes of them is for policies to decide. The message is the only place where exactly they are named: the class
// of a package's repository says who made it, not whether the driver of its distribution passes it over.
const skipping = "Skipping third-party packages"

func installedVersion(d map[string]string) string {
	return "the version of an installed package could not be read: " + d["err"]
}

// listen makes this the place where Trivy's messages go until stop is called. Trivy takes its logger from log/slog's
// default, some of it already when a program starts, through package log.
func listen() (c *complaints, stop func()) {
	c = &complaints{reasons: map[string]bool{}}
	previous, flags, prefix, writer := slog.Default(), log.Flags(), log.Prefix(), log.Writer()
	slog.SetDefault(slog.New(&listener{complaints: c}))
	return c, func() {
		slog.SetDefault(previous)
		log.SetFlags(flags)
		log.SetPrefix(prefix)
		log.SetOutput(writer)
	}
}

// sorted are the complaints, in words for people.
func (c *complaints) sorted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	reasons := make([]string, 0, len(c.reasons))
	for reason := range c.reasons {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	return reasons
}

func (c *complaints) add(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.reasons) < maxReasons {
		c.reasons[reason] = true
	}
}

// skip counts the packages of a message that some are skipped. One that does not list them is a complaint: nobody
// knows how many they are.
func (c *complaints) skip(record slog.Record) {
	counted := int64(0)
	record.Attrs(func(a slog.Attr) bool {
		if names, ok := a.Value.Any().([]string); ok && a.Key == "packages" {
			counted += int64(len(names))
		}
		return true
	})
	if counted == 0 {
		c.add("packages that are not the distribution's were not looked up, and the scanner does not say which")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.thirdParty += counted
}

// skipped is the number of packages that were not looked up.
func (c *complaints) skipped() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.thirdParty
}

// listener is a [slog.Handler].
type listener struct {
	complaints *complaints
	attributes []slog.Attr
}

func (l *listener) Enabled(context.Context, slog.Level) bool { return true }

func (l *listener) WithGroup(string) slog.Handler { return l }

func (l *listener) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &listener{complaints: l.complaints, attributes: append(slices.Clip(l.attributes), attributes...)}
}

func (l *listener) Handle(_ context.Context, record slog.Record) error {
	if record.Message == skipping {
		l.complaints.skip(record)
		return nil
	}
	say, ok := sayings[record.Message]
	if !ok {
		return nil
	}
	details := map[string]string{}
	for _, a := range l.attributes {
		details[a.Key] = a.Value.String()
	}
	record.Attrs(func(a slog.Attr) bool {
		details[a.Key] = a.Value.String()
		return true
	})
	if reason := say(details); reason != "" {
		l.complaints.add(printable(reason))
	}
	return nil
}

// printable keeps what an image brings from writing on somebody's terminal.
func printable(s string) string {
	const most = 500
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
