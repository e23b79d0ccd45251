package bundlesource

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// SourceForms are the ways to name the source of a bundle, for commands that ask no cluster.
const SourceForms = "DIR, " + RemoteForms

// RemoteForms are the ways to name a bundle that is fetched.
const RemoteForms = "git+https://HOST/REPOSITORY//PATH@REF, git+ssh://…, oci://REPOSITORY@DIGEST or :TAG, https://…tar.gz"

// Forms are the ways to name a bundle, for the help of flags and arguments.
const Forms = SourceForms + ", or cluster"

// clusterName names the bundles of a cluster.
const clusterName = "cluster"

// Remote says whether a name is that of a bundle elsewhere: any URL, and "cluster". Everything else is a directory, which
// "./cluster" names, too.
func Remote(name string) bool {
	_, in := InCluster(name)
	return in || strings.Contains(name, "://")
}

// InCluster says whether a name is that of bundles of a cluster: "cluster" for all, "cluster/NAME" for one.
func InCluster(name string) (bundle string, ok bool) {
	if name == clusterName {
		return "", true
	}
	return strings.CutPrefix(name, clusterName+"/")
}

// commitHash is the name of a commit in a repository of SHA-1 or SHA-256.
var commitHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Parse reads the name of a bundle that is neither a directory nor in a cluster.
func Parse(name string) (v1alpha1.Source, error) {
	scheme, rest, _ := strings.Cut(name, "://")
	switch scheme {
	case "oci":
		return parseOCI(rest)
	case "git+https", "git+ssh":
		return parseGit(strings.TrimPrefix(name, "git+"))
	case "https", "http":
		if err := checkURL(name); err != nil {
			return v1alpha1.Source{}, err
		}
		return v1alpha1.Source{HTTP: &v1alpha1.HTTPSource{URL: name}}, nil
	case "git", "ssh", "git+http", "file", "git+file":
		return v1alpha1.Source{}, wrong("opening the bundle %s: %s:// is not taken: it is not encrypted, or not said to be Git: use git+https:// or git+ssh://, or name a directory", name, scheme)
	}
	return v1alpha1.Source{}, wrong("opening the bundle %s: %s:// is unknown: name it as %s", name, scheme, Forms)
}

func parseOCI(reference string) (v1alpha1.Source, error) {
	image, err := workload.ParseImage(reference)
	if err != nil {
		return v1alpha1.Source{}, wrong("opening the bundle oci://%s: %w: write oci://ghcr.io/acme/policies@sha256:… or oci://ghcr.io/acme/policies:TAG", reference, err)
	}
	source := v1alpha1.OCISource{Repository: image.Registry + "/" + image.Repository, Digest: image.Digest}
	if image.Digest == "" {
		source.Tag = image.Tag
		if !strings.HasSuffix(reference, ":"+image.Tag) {
			return v1alpha1.Source{}, wrong("opening the bundle oci://%s: it has neither digest nor tag, and latest is not guessed: write oci://%[1]s@sha256:… or oci://%[1]s:TAG", reference)
		}
	}
	return v1alpha1.Source{OCI: &source}, nil
}

// parseGit reads URL//PATH@REF. The path begins behind the second "//", the revision behind the last "@" of what follows the
// host: a branch, refs/heads/BRANCH, refs/tags/TAG, tag:TAG or a whole commit.
func parseGit(name string) (v1alpha1.Source, error) {
	if err := checkURL(name); err != nil {
		return v1alpha1.Source{}, err
	}
	scheme, rest, _ := strings.Cut(name, "://")
	host, rest, found := strings.Cut(rest, "/")
	if !found || rest == "" || host == "" {
		return v1alpha1.Source{}, wrong("opening the bundle git+%s: there is no repository behind the host: write git+%s://HOST/REPOSITORY//PATH@REF", name, scheme)
	}
	rest, revision := cutLast(rest, "@")
	repository, path, _ := strings.Cut(rest, "//")
	git := v1alpha1.GitSource{URL: scheme + "://" + host + "/" + repository, Path: strings.Trim(path, "/")}
	tag, isTag := strings.CutPrefix(revision, "refs/tags/")
	if !isTag {
		tag, isTag = strings.CutPrefix(revision, "tag:")
	}
	switch {
	case isTag:
		git.Tag = tag
	case commitHash.MatchString(revision):
		git.Commit = revision
	default:
		git.Branch = strings.TrimPrefix(revision, "refs/heads/")
	}
	return v1alpha1.Source{Git: &git}, nil
}

func cutLast(text, separator string) (before, after string) {
	if at := strings.LastIndex(text, separator); at >= 0 {
		return text[:at], text[at+len(separator):]
	}
	return text, ""
}

// checkURL refuses URLs with a password, which would end up in process lists, histories and logs. A name is part of SSH's.
func checkURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil {
		return wrong("opening the bundle: the URL cannot be read: %w: write it as %s", redactedError(err), Forms)
	}
	if parsed.Host == "" {
		return wrong("opening the bundle %s: the URL has no host: write it as %s", text, Forms)
	}
	if _, password := parsed.User.Password(); password || parsed.User != nil && parsed.Scheme != "ssh" {
		return wrong("opening the bundle %s: credentials in a URL can be seen by others: set PORTCULLIS_BUNDLE_USERNAME and PORTCULLIS_BUNDLE_PASSWORD, and leave them out of it", parsed.Redacted())
	}
	return nil
}

// redactedError is the error of [url.Parse] without the URL.
func redactedError(err error) error {
	if parse, ok := err.(*url.Error); ok { //nolint:errorlint // what url.Parse returns
		return parse.Err
	}
	return err
}

// UsageError is a mistake in how a bundle is named or in a flag.
type UsageError struct{ err error }

// Error implements error.
func (e *UsageError) Error() string { return e.err.Error() }

// Unwrap is what is wrong.
func (e *UsageError) Unwrap() error { return e.err }

func wrong(format string, arguments ...any) error {
	return &UsageError{fmt.Errorf(format, arguments...)}
}
