//go:build goexperiment.jsonv2

package trivy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aquasecurity/trivy/pkg/detector/library"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/types"

	"github.com/portcullis-dev/portcullis/scanner"
)

// judge says whether all of the image was looked at, and why not.
func (f *finding) judge() (scanner.State, []string) {
	reasons := slices.Clone(f.complaints)
	reasons = append(reasons, f.distribution()...)
	reasons = append(reasons, f.advisories()...)
	reasons = append(reasons, f.leftOut()...)
	slices.Sort(reasons)
	reasons = slices.Compact(reasons)
	if len(reasons) > 0 {
		return scanner.StateUnscannable, reasons
	}
	return scanner.StateComplete, []string{}
}

// distribution asks whether the operating system is known and its packages were found.
func (f *finding) distribution() []string {
	os, counted := f.os(), f.count()
	if os.Family != "" && os.Family.HasOSPackages() {
		return f.system(os, counted)
	}
	switch {
	case os.Family == "" && len(f.seen.Releases) > 0:
		return []string{f.unknownRelease()}
	case os.Family == "" && f.hasPackageInfo():
		return []string{"there is a package database, but nothing says of which distribution: etc/os-release is missing"}
	case f.hasPackageInfo():
		return []string{fmt.Sprintf("it calls itself %s, which has no package database, but there is one", os.Family)}
	case len(f.seen.of(trace)) > 0:
		return []string{fmt.Sprintf("there are files of a package manager (%s), but neither its database nor etc/os-release", few(f.seen.of(trace)))}
	case counted.Language == 0:
		return []string{"no packages were found: the scanner knows nothing of what is in it"}
	}
	return f.strangers()
}

// system asks whether a distribution is what it calls itself. One line of os-release decides where Trivy looks up
// packages, whoever made them: with another distribution's name nothing is found, and nothing says so.
func (f *finding) system(os ftypes.OS, counted scanner.Packages) []string {
	if counted.OS == 0 {
		return []string{f.noPackages(os)}
	}
	var reasons []string
	if counted.ThirdParty >= counted.OS {
		reasons = append(reasons, fmt.Sprintf("it is %s %s without packages of its own: those that are there are other vendors', which the vulnerability database says nothing about", os.Family, os.Name))
	}
	if !f.database.knows(os) {
		reasons = append(reasons, fmt.Sprintf("the vulnerability database has no advisories for %s %s", os.Family, os.Name))
	}
	for _, result := range f.report.Results {
		if result.Class != types.ClassOSPkg {
			continue
		}
		for _, p := range result.Packages {
			if manager := managers[p.AnalyzedBy]; manager != "" && managed[os.Family] != "" && managed[os.Family] != manager {
				reasons = append(reasons, fmt.Sprintf("it calls itself %s, but has packages of %s", os.Family, manager))
			}
		}
	}
	if managed[os.Family] == "apk" && os.Family != ftypes.Alpine && f.seen.Files["etc/alpine-release"] == trace {
		reasons = append(reasons, fmt.Sprintf("it calls itself %s, but has Alpine's etc/alpine-release", os.Family))
	}
	return reasons
}

// managers are the package managers by the analyser that reads their database. What an SBOM says is of no manager.
var managers = map[analyzer.Type]string{
	analyzer.TypeApk: "apk", analyzer.TypeDpkg: "dpkg", analyzer.TypeRpm: "rpm", analyzer.TypeRpmqa: "rpm",
}

// managed are the distributions by their package manager.
var managed = map[ftypes.OSType]string{
	ftypes.Alpine: "apk", ftypes.Chainguard: "apk", ftypes.MinimOS: "apk", ftypes.Wolfi: "apk",
	ftypes.Debian: "dpkg", ftypes.Ubuntu: "dpkg",
	ftypes.Alma: "rpm", ftypes.Amazon: "rpm", ftypes.Azure: "rpm", ftypes.CBLMariner: "rpm", ftypes.CentOS: "rpm",
	ftypes.CentOSStream: "rpm", ftypes.CoreOS: "rpm", ftypes.Fedora: "rpm", ftypes.OpenSUSE: "rpm", ftypes.OpenSUSELeap: "rpm",
	ftypes.OpenSUSETumbleweed: "rpm", ftypes.Oracle: "rpm", ftypes.Photon: "rpm", ftypes.RedHat: "rpm", ftypes.Rocky: "rpm",
	ftypes.SLEMicro: "rpm", ftypes.SLES: "rpm",
}

// noPackages says what is missing of a distribution that was recognised.
func (f *finding) noPackages(os ftypes.OS) string {
	about := fmt.Sprintf("it is %s %s without the packages of one", os.Family, os.Name)
	switch {
	case len(f.seen.of(link)) > 0:
		return fmt.Sprintf("%s: the package database is a link, which the scanner does not follow (%s)", about, few(f.seen.of(link)))
	case len(f.seen.of(packages)) > 0:
		return fmt.Sprintf("%s: the package database is empty or could not be read (%s)", about, few(f.seen.of(packages)))
	case len(f.seen.of(trace)) > 0:
		return fmt.Sprintf("%s: the package database was removed (%s is there)", about, few(f.seen.of(trace)))
	}
	return about + ": there is no package database"
}

func (f *finding) unknownRelease() string {
	for _, name := range releaseFiles {
		if r, ok := f.seen.Releases[name]; ok && r.ID != "" {
			return fmt.Sprintf("the scanner does not recognise the distribution %q that %s names", r.ID, name)
		}
	}
	return "its os-release file names no distribution"
}

// strangers are programs in an image without a distribution that no package explains. With a distribution they are
// common and its packages are known at least; here they may be all there is.
func (f *finding) strangers() []string {
	explained := map[string]bool{}
	for _, blob := range f.blobs {
		for _, application := range blob.Applications {
			if application.Type == ftypes.GoBinary || application.Type == ftypes.RustBinary {
				explained[strings.TrimPrefix(application.FilePath, "/")] = true
			}
		}
	}
	unknown := slices.DeleteFunc(f.seen.of(program), func(name string) bool { return explained[name] })
	switch {
	case len(unknown) > 0:
		return []string{fmt.Sprintf("there is no distribution, and programs or libraries of which nothing is known (%s)", few(unknown))}
	case f.seen.Full:
		return []string{"there is no distribution, and more programs than are looked at"}
	}
	return nil
}

// advisories asks whether the database speaks of what was found.
func (f *finding) advisories() []string {
	var reasons []string
	fromSBOM, others := 0, 0
	for _, result := range f.report.Results {
		if result.Class != types.ClassOSPkg && result.Class != types.ClassLangPkg {
			continue
		}
		for _, p := range result.Packages {
			if p.AnalyzedBy == analyzer.TypeSBOM {
				fromSBOM++
			} else {
				others++
			}
		}
		if result.Class != types.ClassLangPkg || len(result.Packages) == 0 {
			continue
		}
		// A type without a driver has complained already.
		if driver, ok := library.NewDriver(result.Type); ok && !f.database.knowsEcosystem(driver.Type()) {
			reasons = append(reasons, fmt.Sprintf("the vulnerability database has no advisories for packages of %s", driver.Type()))
		}
	}
	if fromSBOM > 0 && others == 0 {
		reasons = append(reasons, "all that is known of its packages is what an SBOM in the image claims")
	}
	return reasons
}

// leftOut are the files that were not looked into.
func (f *finding) leftOut() []string {
	var reasons []string
	if archives := f.seen.of(archive); len(archives) > 0 && !f.java {
		reasons = append(reasons, fmt.Sprintf("there are Java archives (%s), and no Java database to name them: give the scanner one", few(archives)))
	}
	if links := f.seen.of(link); len(links) > 0 {
		reasons = append(reasons, fmt.Sprintf("there are links in the place of files that the scanner reads (%s)", few(links)))
	}
	if len(f.seen.Outside) > 0 {
		reasons = append(reasons, fmt.Sprintf("there are names that lead out of the image (%s)", few(f.seen.Outside)))
	}
	return reasons
}

// os is the distribution as Trivy has recognised it, empty for none.
func (f *finding) os() ftypes.OS {
	if f.report.Metadata.OS == nil || f.report.Metadata.OS.Family == "none" {
		return ftypes.OS{}
	}
	return *f.report.Metadata.OS
}

// hasPackageInfo says whether a package database was read, for whatever distribution.
func (f *finding) hasPackageInfo() bool {
	return slices.ContainsFunc(f.blobs, func(b ftypes.BlobInfo) bool { return len(b.PackageInfos) > 0 })
}

func (f *finding) count() scanner.Packages {
	counted := scanner.Packages{ThirdParty: f.thirdParty}
	for _, result := range f.report.Results {
		switch result.Class {
		case types.ClassOSPkg:
			counted.OS += int64(len(result.Packages))
		case types.ClassLangPkg:
			counted.Language += int64(len(result.Packages))
		}
	}
	return counted
}

// few are the first of many names.
func few(names []string) string {
	const most = 3
	if len(names) > most {
		return printable(strings.Join(names[:most], ", ")) + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return printable(strings.Join(names, ", "))
}
