package bundlesource

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

func TestNamesOfBundles(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	git := func(s v1alpha1.GitSource) v1alpha1.Source { return v1alpha1.Source{Git: &s} }
	oci := func(s v1alpha1.OCISource) v1alpha1.Source { return v1alpha1.Source{OCI: &s} }
	for name, want := range map[string]v1alpha1.Source{
		"git+https://git.example.com/acme/policies":                      git(v1alpha1.GitSource{URL: "https://git.example.com/acme/policies"}),
		"git+https://git.example.com/acme/policies@main":                 git(v1alpha1.GitSource{URL: "https://git.example.com/acme/policies", Branch: "main"}),
		"git+https://git.example.com/policies.git//prod/eu@refs/heads/a": git(v1alpha1.GitSource{URL: "https://git.example.com/policies.git", Path: "prod/eu", Branch: "a"}),
		"git+https://git.example.com/policies//@refs/tags/v1":            git(v1alpha1.GitSource{URL: "https://git.example.com/policies", Tag: "v1"}),
		"git+https://git.example.com:8443/policies@tag:v1":               git(v1alpha1.GitSource{URL: "https://git.example.com:8443/policies", Tag: "v1"}),
		"git+ssh://git@git.example.com:22/policies@" + commit:            git(v1alpha1.GitSource{URL: "ssh://git@git.example.com:22/policies", Commit: commit}),
		"git+ssh://git@git.example.com/~me/policies":                     git(v1alpha1.GitSource{URL: "ssh://git@git.example.com/~me/policies"}),
		"oci://ghcr.io/acme/policies:7":                                  oci(v1alpha1.OCISource{Repository: "ghcr.io/acme/policies", Tag: "7"}),
		"oci://ghcr.io/acme/policies@" + digest:                          oci(v1alpha1.OCISource{Repository: "ghcr.io/acme/policies", Digest: digest}),
		"oci://ghcr.io/acme/policies:7@" + digest:                        oci(v1alpha1.OCISource{Repository: "ghcr.io/acme/policies", Digest: digest}),
		"https://example.com/policies.tar.gz":                            {HTTP: &v1alpha1.HTTPSource{URL: "https://example.com/policies.tar.gz"}},
	} {
		t.Run(name, func(t *testing.T) {
			if !Remote(name) {
				t.Error("got a directory, want a bundle elsewhere")
			}
			got, err := Parse(name)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
	for _, name := range []string{"policies", "./cluster", "C:/policies", "oci", "a/b@main"} {
		if Remote(name) {
			t.Errorf("%s: got a bundle elsewhere, want a directory", name)
		}
	}
	if name, in := InCluster("cluster/acme"); name != "acme" || !in {
		t.Errorf("got %q, %v, want acme in the cluster", name, in)
	}
}

func TestWrongNamesAreRefusedWithWhatToDo(t *testing.T) {
	for name, want := range map[string]string{
		"git://git.example.com/policies":                "use git+https:// or git+ssh://",
		"ssh://git.example.com/policies":                "use git+https:// or git+ssh://",
		"file:///srv/policies":                          "name a directory",
		"git+file:///srv/policies":                      "name a directory",
		"git+http://git.example.com/policies":           "it is not encrypted",
		"ftp://example.com/policies":                    "ftp:// is unknown",
		"git+https://git.example.com":                   "there is no repository behind the host",
		"git+https:///policies":                         "the URL has no host",
		"git+https://me:secret@git.example.com/p":       "PORTCULLIS_BUNDLE_PASSWORD",
		"git+https://token@git.example.com/p":           "PORTCULLIS_BUNDLE_PASSWORD",
		"git+ssh://git:secret@git.example.com/p":        "PORTCULLIS_BUNDLE_PASSWORD",
		"https://me:secret@example.com/policies.tar.gz": "PORTCULLIS_BUNDLE_PASSWORD",
		"https://example.com/%zz":                       "the URL cannot be read",
		"oci://ghcr.io/acme/policies":                   "latest is not guessed",
		"oci://GHCR.io/acme/policies:7":                 "write oci://",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(name)
			var usage *UsageError
			if err == nil || !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want a usage error with %q", err, want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, which shows the password", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"git+https://h/r//p@main", "git+ssh://git@h/r@" + commit, "oci://h/r:t", "oci://h/r@sha256:00", "https://h/f.tar.gz", "cluster/a", "://", "git+https://u:p@h/r", "git+https://h/@@//@"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		named, err := Parse(name)
		if err != nil {
			return
		}
		set := 0
		if g := named.Git; g != nil {
			set++
			if !strings.HasPrefix(g.URL, "https://") && !strings.HasPrefix(g.URL, "ssh://") {
				t.Errorf("got the URL %q, want https or ssh", g.URL)
			}
			refs := 0
			for _, ref := range []string{g.Branch, g.Tag, g.Commit} {
				if ref != "" {
					refs++
				}
			}
			if refs > 1 {
				t.Errorf("got %+v, want one of branch, tag and commit", g)
			}
		}
		if o := named.OCI; o != nil {
			set++
			if (o.Tag == "") == (o.Digest == "") {
				t.Errorf("got %+v, want a tag or a digest", o)
			}
		}
		if named.HTTP != nil {
			set++
		}
		if set != 1 {
			t.Errorf("got %d sources, want one", set)
		}
	})
}
