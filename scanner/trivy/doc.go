// Package trivy finds out what is in an image, with Trivy as a library. It is the only importer of Trivy.
//
// [Analyse] reads the layers of one image and looks up what it finds in the vulnerability database. It says
// "complete" only if it looked at everything: an image without an operating system that the scanner knows, without a
// package database, with Java archives and no database to name them, or with a file that could not be parsed is
// unscannable, and the report says why. [SelfTest] proves that the engine flags a known-bad image, so that a scanner
// that finds nothing never starts.
//
// # What it does not see
//
// A scan says what an honest build put into an image. Whoever builds the image can hide a library from every scanner
// of packages: by linking it statically, by renaming its archive, by editing the package database. Only the
// provenance of the image speaks against that. What is recognised: a package database that is missing or a link, an
// os-release that was changed, programs that belong to no package in an image that has no distribution, names that
// lead out of the image.
//
// # Packages of other vendors
//
// The advisories of a distribution are about its own packages. Trivy passes over those that it takes for another vendor's,
// by the maintainer that dpkg's database names (a list of vendors in fanal/analyzer/pkg/dpkg/dpkg.go: docker.com,
// nginx.org, …) or by a vendor in RPM's that is no distribution. The report counts them
// ([scanner.Packages].ThirdParty), exactly as Trivy does, and stays complete: nobody could look them up. Where all
// packages are other vendors' nothing was looked up, and the image is unscannable. A vendor that Trivy does not
// recognise, such as PostgreSQL's repository for Debian, is looked up by name as if the distribution had made the package.
//
// # One image at a time
//
// Trivy keeps its database, its logger and its analysers in variables of the process. While [Analyse] or [SelfTest]
// runs, both the default logger of log/slog and the output of package log are theirs, and a second call waits. A
// process that wants to log, hold keys or use the network does not call them but starts a child that does.
//
// # The build tag
//
// Trivy needs GOEXPERIMENT=jsonv2 when it is compiled. All other files of this package carry that tag, so that
// everything else builds without it.
package trivy
