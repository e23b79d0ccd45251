package bundlesource

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// parse are flags as a command has them. The cache is a folder of the test.
func parse(t *testing.T, arguments ...string) *Flags {
	t.Helper()
	f := &Flags{Registries: &registryflags.Flags{}}
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.Register(set)
	f.Registries.Register(set)
	if err := set.Parse(append([]string{"--bundle-cache=" + t.TempDir()}, arguments...)); err != nil {
		t.Fatal(err)
	}
	return f
}

// write writes a file of the test and gives its name.
func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// authority is the certificate of a test server, as a file.
func authority(t *testing.T, server *httptest.Server) string {
	t.Helper()
	return write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
}

// web serves a tarball to who signs in, and nothing beside it.
func web(t *testing.T, tree *archive.Tree) *httptest.Server {
	t.Helper()
	packed := sourcetest.Pack(t, tree)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "alice" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path != "/policies.tar.gz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(packed)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestATarballIsFetchedFromAWebServer(t *testing.T) {
	t.Setenv(UsernameVariable, "alice")
	t.Setenv(PasswordVariable, "secret")
	tree := sourcetest.NewTree(t, 3)
	server := web(t, tree)
	name, ca := server.URL+"/policies.tar.gz", "--bundle-ca="+authority(t, server)
	for row, test := range map[string]struct {
		flags []string
		want  string // "" for success
	}{
		"whoever wrote it":                  {[]string{ca, "--bundle-insecure-unsigned"}, ""},
		"its name and serial":               {[]string{ca, "--bundle-insecure-unsigned", "--bundle-name=acme", "--bundle-min-serial=3"}, ""},
		"another name":                      {[]string{ca, "--bundle-insecure-unsigned", "--bundle-name=other"}, `it is named "acme", and --bundle-name demands "other"`},
		"a lower serial":                    {[]string{ca, "--bundle-insecure-unsigned", "--bundle-min-serial=4"}, "its serial is 3, and --bundle-min-serial demands 4"},
		"nobody says who must have signed":  {[]string{ca}, "give --bundle-verification FILE"},
		"signed by nobody":                  {[]string{ca, "--bundle-verification=" + verificationFile(t, cosigntest.NewKey(t))}, "verifying"},
		"a server of an unknown authority":  {[]string{"--bundle-insecure-unsigned"}, "certificate"},
		"an authority that is no file":      {[]string{"--bundle-ca=/nowhere.pem", "--bundle-insecure-unsigned"}, "there is no /nowhere.pem"},
		"two answers to who must have":      {[]string{"--bundle-insecure-unsigned", "--bundle-verification=x"}, "contradict each other"},
		"a trusted root that is none":       {[]string{"--bundle-insecure-unsigned", "--bundle-trusted-root=/nowhere.json"}, "correct --bundle-trusted-root"},
		"a verification that is a folder":   {[]string{"--bundle-verification=" + t.TempDir()}, "is no file"},
		"a verification that trusts nobody": {[]string{"--bundle-verification=" + write(t, "v.yaml", "{}")}, "it trusts nobody"},
	} {
		t.Run(row, func(t *testing.T) {
			fetched, err := parse(t, test.flags...).Fetch(context.Background(), name)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want an error with %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if fetched.Tree.Digest() != tree.Digest() || fetched.Name != "acme" || fetched.Serial != 3 || len(fetched.Signers) != 0 {
				t.Errorf("got %+v, want acme@3 with the files that were served, signed by nobody", fetched)
			}
		})
	}
}

// verificationFile trusts a key for everything.
func verificationFile(t *testing.T, key *cosign.Key) string {
	t.Helper()
	public, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "verification.yaml", fmt.Sprintf("authorities: [{name: release, images: ['**'], keys: [{pem: %q}]}]\n", public))
}

func TestABundleByDigestIsFetchedOnceAndVerifiedEachTime(t *testing.T) {
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		t.Fatal(err)
	}
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	repository, key, tree := server.Repository("acme/policies"), cosigntest.NewKey(t), sourcetest.NewTree(t, 3)
	digest, err := oci.Push(context.Background(), client, repository, "prod", tree)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cosign.Sign(context.Background(), client, cosign.Target{Repository: repository, Digest: digest}, key, cosign.SignOptions{}); err != nil {
		t.Fatal(err)
	}
	name := "oci://" + repository.String()
	trusted, other, cache := "--bundle-verification="+verificationFile(t, key), "--bundle-verification="+verificationFile(t, cosigntest.NewKey(t)), "--bundle-cache="+t.TempDir()
	plain := "--plain-http-registry=" + repository.Registry
	fetch := func(reference string, flags ...string) (*Fetched, error) {
		return parse(t, append(flags, cache, plain)...).Fetch(context.Background(), name+reference)
	}
	if fetched, err := fetch("@"+digest, trusted); err != nil || len(fetched.Signers) != 1 {
		t.Fatalf("got %+v, %v, want a bundle with a signer", fetched, err)
	}
	if _, err := fetch(":prod", trusted); err != nil {
		t.Fatal(err)
	}
	server.Close() // from here on there is nothing but what was kept
	if fetched, err := fetch("@"+digest, trusted); err != nil || fetched.Tree.Digest() != tree.Digest() {
		t.Errorf("got %+v, %v, want what was kept", fetched, err)
	}
	if _, err := fetch("@"+digest, other); err == nil {
		t.Error("got no error where another key is trusted, want what was kept verified again")
	}
	if _, err := fetch(":prod", trusted); err == nil {
		t.Error("got no error for a tag, want it asked for each time")
	}
	if _, err := fetch("@sha256:"+strings.Repeat("0", 64), trusted); err == nil {
		t.Error("got no error for another digest, want it asked for")
	}
	kept, err := filepath.Glob(filepath.Join(strings.TrimPrefix(cache, "--bundle-cache="), "*"+keptSuffix))
	if err != nil || len(kept) != 1 {
		t.Fatalf("got the files %v, %v, want one", kept, err)
	}
	content, err := os.ReadFile(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-20] ^= 1
	if err := os.WriteFile(kept[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fetch("@"+digest, trusted); err == nil {
		t.Error("got no error for a file that somebody changed, want it fetched again")
	}
}

func TestNoMoreIsKeptThanThereIsPlaceFor(t *testing.T) {
	folder := t.TempDir()
	for n := range maxKept + 3 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%03d%s", n, keptSuffix)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	theirs := filepath.Join(folder, "notes.txt")
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kept{folder: folder}.prune()
	left, err := filepath.Glob(filepath.Join(folder, "*"+keptSuffix))
	if err != nil || len(left) != maxKept {
		t.Errorf("got %d files, %v, want %d", len(left), err, maxKept)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("got %v, want the file of somebody else left alone", err)
	}
}

// repository is a Git repository served over https, with the hash of its newest commit, signed by a key of SSH.
func repository(t *testing.T) (url, ca, hash, signers string) {
	t.Helper()
	for _, program := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	run := func(name string, arguments ...string) string {
		t.Helper()
		command := exec.Command(name, arguments...)
		command.Dir = dir
		command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir)
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, arguments, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git := func(arguments ...string) string {
		return run("git", append([]string{"-C", filepath.Join(dir, "repo"), "-c", "user.name=Alice", "-c", "user.email=alice@example.com", "-c", "gpg.format=ssh", "-c", "user.signingkey=" + key}, arguments...)...)
	}
	run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	run("git", "init", "-q", "-b", "main", "repo")
	if err := os.CopyFS(filepath.Join(dir, "repo", "prod"), sourcetest.NewTree(t, 3).FS()); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-q", "-S", "-m", "Policies")
	git("tag", "v3")
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(run("git", "--exec-path"), "git-http-backend")
	server := httptest.NewTLSServer(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}})
	t.Cleanup(server.Close)
	signers = write(t, "verification.yaml", fmt.Sprintf("allowedSigners: |\n  alice@example.com %s\n", bytes.TrimSpace(public)))
	return "git+" + server.URL + "/repo/.git", authority(t, server), git("rev-parse", "HEAD"), signers
}

func TestASignedCommitIsFetchedFromAGitServer(t *testing.T) {
	url, ca, hash, signers := repository(t)
	flags := []string{"--bundle-ca=" + ca, "--bundle-verification=" + signers}
	for row, reference := range map[string]string{
		"the head": "//prod", "a branch": "//prod@main", "a tag": "//prod@refs/tags/v3", "a tag that is written like a branch": "//prod@v3", "a commit": "//prod@" + hash,
	} {
		t.Run(row, func(t *testing.T) {
			fetched, err := parse(t, flags...).Fetch(context.Background(), url+reference)
			if err != nil {
				t.Fatal(err)
			}
			if fetched.Tree.Digest() != sourcetest.NewTree(t, 3).Digest() || len(fetched.Signers) != 1 || !strings.Contains(fetched.Signers[0], "alice@example.com") || !strings.HasPrefix(fetched.Version, hash) {
				t.Errorf("got %+v signed by %v, want the files of the folder, signed by alice@example.com at %s", fetched.Revision, fetched.Signers, hash)
			}
		})
	}
	_, err := parse(t, flags...).Fetch(context.Background(), url+"//prod@nowhere")
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got %v, want an error that names the branch", err)
	}
	other := write(t, "other.yaml", "allowedSigners: |\n  bob@example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH1hc2RmYXNkZmFzZGZhc2RmYXNkZmFzZGZhc2RmYXNkZmFz\n")
	_, err = parse(t, flags[0], "--bundle-verification="+other).Fetch(context.Background(), url+"//prod")
	var refused *source.VerificationError
	if !errors.As(err, &refused) {
		t.Errorf("got %v where somebody else is trusted, want a refusal", err)
	}
}

// Files that are kept are believed no more than a server: one that says that it is another commit is none.
func TestAKeptCommitIsTheOneThatWasNamed(t *testing.T) {
	url, ca, hash, signers := repository(t)
	fetched, err := parse(t, "--bundle-ca="+ca, "--bundle-verification="+signers).Fetch(context.Background(), url+"//prod@"+hash)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("1", 40)
	forged := *fetched.Revision
	forged.Version = other
	for commit, want := range map[string]bool{hash: true, other: false} {
		named := v1alpha1.Source{Git: &v1alpha1.GitSource{URL: url, Path: "prod", Commit: commit}}
		if got := (kept{named: named}).is(&forged); got != want {
			t.Errorf("of what says that it is %.12s, it is taken for %.12s: %v, want %v", other, commit, got, want)
		}
		named.Git.Path = "test"
		if (kept{named: named}).is(&forged) {
			t.Errorf("it is taken for another folder of %.12s", commit)
		}
	}
}

func TestSSHNeedsAKeyAndTheKeysOfServers(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	key := write(t, "key", "x")
	for row, test := range map[string]struct {
		flags []string
		want  string
	}{
		"no key":                   {nil, "give --bundle-ssh-key FILE"},
		"a key that is not there":  {[]string{"--bundle-ssh-key=/nowhere"}, "there is no /nowhere"},
		"no keys of servers":       {[]string{"--bundle-ssh-key=" + key}, ".ssh/known_hosts"},
		"a key that is no key":     {[]string{"--bundle-ssh-key=" + key, "--bundle-known-hosts=" + key}, "opening the bundle"},
		"known hosts not there":    {[]string{"--bundle-ssh-key=" + key, "--bundle-known-hosts=/nowhere"}, "there is no /nowhere"},
		"a verification, and keys": {[]string{"--bundle-ssh-key=" + key, "--bundle-known-hosts=" + key, "--bundle-name=a"}, "opening the bundle"},
	} {
		t.Run(row, func(t *testing.T) {
			_, err := parse(t, append(test.flags, "--bundle-insecure-unsigned")...).Fetch(context.Background(), "git+ssh://git@127.0.0.1/policies")
			var usage *UsageError
			if err == nil || !errors.As(err, &usage) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want a usage error with %q", err, test.want)
			}
		})
	}
}
