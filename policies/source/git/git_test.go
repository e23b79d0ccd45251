package git_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/git"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/gitsign"
	"github.com/portcullis-dev/portcullis/test/pki"
)

func fetch(t *testing.T, s v1alpha1.GitSource, o git.Options, last string) (*source.Revision, error) {
	t.Helper()
	from, err := git.New(s, o)
	if err != nil {
		return nil, err
	}
	return from.Fetch(t.Context(), last)
}

func mustFetch(t *testing.T, s v1alpha1.GitSource, o git.Options) *source.Revision {
	t.Helper()
	revision, err := fetch(t, s, o, "")
	if err != nil {
		t.Fatalf("got the error %v, want a revision", err)
	}
	return revision
}

func refused(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one that says %q", says)
	}
	t.Logf("says: %v", err)
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want it to say %q", err, part)
		}
	}
}

func TestWhatIsWantedIsWhatIsFetched(t *testing.T) {
	for _, gives := range []string{"true", "false"} {
		t.Run("of a server that gives all commits: "+gives, func(t *testing.T) { whatIsWantedIsFetched(t, gives) })
	}
}

func whatIsWantedIsFetched(t *testing.T, gives string) {
	r := newRepository(t)
	r.git("config", "uploadpack.allowReachableSHA1InWant", gives)
	r.bundle(1)
	first := r.commit()
	r.git("tag", "light")
	r.git("tag", "-a", "-m", "Release", "v1")
	annotated := r.git("rev-parse", "v1")
	r.bundle(10)
	middle := r.commit()
	r.bundle(2)
	r.write("prod/eu/bundle.yaml", []byte("name: eu\n"))
	r.write("prod/eu/.hidden", []byte("x"))
	second := r.commit()
	r.git("checkout", "-q", "-b", "feature/x")
	r.bundle(3)
	third := r.commit()
	r.git("checkout", "-q", "main")
	host, _ := newKey(t)
	mine, identity := newKey(t)
	overSSH := r.serveSSH(host, mine.PublicKey())
	overHTTPS := r.serve(nil)
	for name, c := range map[string]struct {
		change  func(*v1alpha1.GitSource)
		version string
		serial  string
		names   []string
	}{
		"the branch that the server names first": {version: second, serial: "2"},
		"a branch":                               {change: func(s *v1alpha1.GitSource) { s.Branch = "feature/x" }, version: third, serial: "3"},
		"a tag":                                  {change: func(s *v1alpha1.GitSource) { s.Tag = "light" }, version: first, serial: "1"},
		"an annotated tag":                       {change: func(s *v1alpha1.GitSource) { s.Tag = "v1" }, version: first + "+" + annotated, serial: "1"},
		"a commit":                               {change: func(s *v1alpha1.GitSource) { s.Commit = first }, version: first, serial: "1"},
		"a commit in the midst":                  {change: func(s *v1alpha1.GitSource) { s.Commit = middle }, version: middle, serial: "10"},
		"a commit at a tip":                      {change: func(s *v1alpha1.GitSource) { s.Commit = third }, version: third, serial: "3"},
		"a folder":                               {change: func(s *v1alpha1.GitSource) { s.Path = "/prod/eu/" }, version: second, names: []string{"bundle.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			for transport, base := range map[string]v1alpha1.GitSource{
				"https": overHTTPS.source(), "ssh": {URL: "ssh://git@" + overSSH.address + "/policies.git"},
			} {
				options := loopback()
				if transport == "ssh" {
					options.Credentials = git.Credentials{Identity: identity, KnownHosts: overSSH.known(host.PublicKey())}
				}
				if c.change != nil {
					c.change(&base)
				}
				got := mustFetch(t, base, options)
				if got.Version != c.version {
					t.Errorf("%s: got the version %s, want %s", transport, got.Version, c.version)
				}
				if content, _ := got.Tree.Content("bundle.yaml"); c.serial != "" && !strings.Contains(string(content), "serial: "+c.serial) {
					t.Errorf("%s: got %q, want the serial %s", transport, content, c.serial)
				}
				if names := got.Tree.Names(); c.names != nil && !slices.Equal(names, c.names) {
					t.Errorf("%s: got the files %q, want %q", transport, names, c.names)
				}
				if want := "@" + c.version[:40]; !strings.HasSuffix(got.Origin, want) || !strings.HasPrefix(got.Origin, "git+"+transport+"://") {
					t.Errorf("%s: got the origin %s, want one that ends with %s", transport, got.Origin, want)
				}
				provesItsFiles(t, got)
				if _, err := fetch(t, base, options, got.Version); !errors.Is(err, source.ErrUnchanged) {
					t.Errorf("%s: got the error %v for the version that was fetched before, want %v", transport, err, source.ErrUnchanged)
				}
			}
		})
	}
}

// provesItsFiles says that all but the signature is right, by verifying without anybody who may sign.
func provesItsFiles(t *testing.T, r *source.Revision) {
	t.Helper()
	files := map[string][]byte{}
	for name, content := range r.Tree.All() {
		files[name] = content
	}
	_, err := gitsign.Verify(r.Proof.Git, files, gitsign.Signers{})
	var cause *gitsign.Error
	if !errors.As(err, &cause) || cause.Cause != gitsign.Unsigned {
		t.Errorf("got %v of the proof, want that nobody has signed", err)
	}
}

func TestWhatIsUnchangedIsNotTransferred(t *testing.T) {
	r := newRepository(t)
	r.bundle(1)
	r.commit()
	s := r.serve(nil)
	first := mustFetch(t, s.source(), loopback())
	if _, err := fetch(t, s.source(), loopback(), first.Version); !errors.Is(err, source.ErrUnchanged) {
		t.Errorf("got %v, want %v", err, source.ErrUnchanged)
	}
	if got := s.requests.Load(); got != 1 {
		t.Errorf("got %d requests for objects, want 1", got)
	}

	r.bundle(2)
	moved := r.commit()
	got, err := fetch(t, s.source(), loopback(), first.Version)
	if err != nil || got.Version != moved {
		t.Errorf("got %v, %v after the branch has moved, want the version %s", got, err, moved)
	}

	r.git("reset", "-q", "--hard", first.Version)
	r.bundle(3)
	rewritten := r.commit("--amend")
	got, err = fetch(t, s.source(), loopback(), moved)
	if err != nil || got.Version != rewritten {
		t.Errorf("got %v, %v after history was rewritten, want the version %s", got, err, rewritten)
	}
}

func TestTheSameFilesHaveTheSameDigest(t *testing.T) {
	r := newRepository(t)
	r.bundle(1)
	r.commit()
	s := r.serve(nil)
	first := mustFetch(t, s.source(), loopback())
	r.git("commit", "-q", "--amend", "-m", "Say it in other words")
	second := mustFetch(t, s.source(), loopback())
	if first.Tree.Digest() != second.Tree.Digest() || first.Version == second.Version {
		t.Errorf("got %s at %s and %s at %s, want the same digest of two commits", first.Tree.Digest(), first.Version, second.Tree.Digest(), second.Version)
	}
}

func TestDifferencesWithinAPackAreApplied(t *testing.T) {
	r := newRepository(t)
	var content []byte
	for i := range 200 {
		content = fmt.Appendf(content, "line %d of a file that changes little\n", i)
	}
	r.write("bundle.yaml", []byte("name: acme\n"))
	for i := range 20 {
		r.write(fmt.Sprintf("data/%02d.json", i), append(bytes.Clone(content), byte('0'+i%10), byte('a'+i)))
	}
	r.commit()
	r.git("gc", "-q", "--aggressive")
	got := mustFetch(t, r.serve(nil).source(), loopback())
	if last, _ := got.Tree.Content("data/19.json"); !bytes.Equal(last, append(bytes.Clone(content), '9', 't')) {
		t.Errorf("got %d bytes that are not those of the file", len(last))
	}
	provesItsFiles(t, got)
}

func TestARefusedSourceSaysWhatToDo(t *testing.T) {
	_, identity := newKey(t)
	withSSH := func(known string) git.Options {
		o := loopback()
		o.Credentials = git.Credentials{Identity: identity, KnownHosts: known}
		return o
	}
	for name, c := range map[string]struct {
		source  v1alpha1.GitSource
		options git.Options
		says    []string
	}{
		"a path of this machine":        {source: v1alpha1.GitSource{URL: "/srv/policies.git"}, says: []string{"no address of a server"}},
		"a server without a protocol":   {source: v1alpha1.GitSource{URL: "//example.com/x"}, says: []string{"no address of a server"}},
		"a file":                        {source: v1alpha1.GitSource{URL: "file:///srv/policies.git"}, says: []string{"https:// or ssh://"}},
		"a program":                     {source: v1alpha1.GitSource{URL: "ext::sh -c id"}, says: []string{"runs a program"}},
		"the protocol without security": {source: v1alpha1.GitSource{URL: "git://example.com/x"}, says: []string{`the scheme "git"`}},
		"http":                          {source: v1alpha1.GitSource{URL: "http://example.com/x"}, says: []string{"not https"}},
		"the short form of ssh":         {source: v1alpha1.GitSource{URL: "git@example.com:x.git"}, says: []string{"ssh://git@HOST/PATH"}},
		"an option":                     {source: v1alpha1.GitSource{URL: "--upload-pack=id"}, says: []string{"no address"}},
		"a server only":                 {source: v1alpha1.GitSource{URL: "https://example.com/"}, says: []string{"names no repository"}},
		"a password in the URL":         {source: v1alpha1.GitSource{URL: "https://ada:secret@example.com/x"}, says: []string{"into the Secret"}},
		"a name in the URL":             {source: v1alpha1.GitSource{URL: "https://ada@example.com/x"}, says: []string{"into the Secret"}},
		"a password in the URL of ssh":  {source: v1alpha1.GitSource{URL: "ssh://ada:secret@example.com/x"}, options: withSSH(""), says: []string{"into the Secret"}},
		"a query":                       {source: v1alpha1.GitSource{URL: "https://example.com/x?ref=main"}, says: []string{"in their own fields"}},
		"a branch and a tag":            {source: v1alpha1.GitSource{URL: "https://example.com/x", Branch: "main", Tag: "v1"}, says: []string{"one of them"}},
		"a branch that is none":         {source: v1alpha1.GitSource{URL: "https://example.com/x", Branch: "a..b"}, says: []string{"git.branch"}},
		"a short commit":                {source: v1alpha1.GitSource{URL: "https://example.com/x", Commit: "3f1c0a2"}, says: []string{"40 hexadecimal digits"}},
		"a path that leads out":         {source: v1alpha1.GitSource{URL: "https://example.com/x", Path: "../y"}, says: []string{"git.path", "leads elsewhere"}},
		"two kinds of credentials":      {source: v1alpha1.GitSource{URL: "https://example.com/x"}, options: git.Options{Credentials: git.Credentials{BearerToken: "x", Password: "y"}}, says: []string{"one of them"}},
		"an SSH key for https":          {source: v1alpha1.GitSource{URL: "https://example.com/x"}, options: withSSH("x"), says: []string{"identity, which is for ssh"}},
		"ssh without a key":             {source: v1alpha1.GitSource{URL: "ssh://git@example.com/x"}, says: []string{"put identity"}},
		"ssh with a key that is none":   {source: v1alpha1.GitSource{URL: "ssh://git@example.com/x"}, options: git.Options{Credentials: git.Credentials{Identity: []byte("x")}}, says: []string{"no SSH private key"}},
		"ssh without known_hosts":       {source: v1alpha1.GitSource{URL: "ssh://git@example.com/x"}, options: withSSH(" \n"), says: []string{"no known_hosts", "ssh-keyscan"}},
		"known_hosts that are none":     {source: v1alpha1.GitSource{URL: "ssh://git@example.com/x"}, options: withSSH("example.com\n"), says: []string{"reading known_hosts"}},
		"known_hosts without a key":     {source: v1alpha1.GitSource{URL: "ssh://git@example.com/x"}, options: withSSH("# none\n"), says: []string{"has no keys"}},
		"a certificate that is none":    {source: v1alpha1.GitSource{URL: "https://example.com/x", Connection: v1alpha1.Connection{CABundle: "x"}}, says: []string{"no certificate"}},
		"a proxy of another kind":       {source: v1alpha1.GitSource{URL: "https://example.com/x", Connection: v1alpha1.Connection{ProxyURL: "socks5://x:1"}}, says: []string{"proxyURL"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := git.New(c.source, c.options)
			refused(t, err, c.says...)
			if strings.Contains(err.Error(), "secret@") {
				t.Errorf("got %q, want no password in it", err)
			}
		})
	}
}

func TestARepositoryThatIsNotAsItShouldBeIsRefused(t *testing.T) {
	first := "" // commit of a case
	for name, c := range map[string]struct {
		make   func(*repository)
		change func(*v1alpha1.GitSource)
		limits git.Limits
		says   []string
	}{
		"an empty repository":        {make: func(*repository) {}, says: []string{"the repository is empty", "push"}},
		"another repository":         {change: func(s *v1alpha1.GitSource) { s.URL += "2" }, says: []string{"404", "correct git.url"}},
		"a branch that is not there": {change: func(s *v1alpha1.GitSource) { s.Branch = "prod" }, says: []string{"there is no branch prod"}},
		"a tag that is not there":    {change: func(s *v1alpha1.GitSource) { s.Tag = "v9" }, says: []string{"there is no tag v9"}},
		"a commit that is not there": {change: func(s *v1alpha1.GitSource) { s.Commit = strings.Repeat("ab", 20) }, says: []string{"no branch or tag leads to the commit abab", "correct git.commit"}},
		"a commit that is there, and too much before it": {
			make: func(r *repository) {
				r.bundle(1)
				first = r.commit()
				r.write("noise", noise(1<<20))
				r.commit()
			},
			change: func(s *v1alpha1.GitSource) { s.Commit = first }, limits: git.Limits{Pack: 256 << 10}, says: []string{"more than 262144 bytes"},
		},
		"a commit that is not there, of a server that gives all": {
			make: func(r *repository) {
				r.bundle(1)
				r.commit()
				r.git("config", "uploadpack.allowReachableSHA1InWant", "true")
			},
			change: func(s *v1alpha1.GitSource) { s.Commit = strings.Repeat("ab", 20) }, says: []string{"not our ref abab"},
		},
		"a path that is not there": {change: func(s *v1alpha1.GitSource) { s.Path = "prod/eu" }, says: []string{"there is no folder prod in the commit", "git.path"}},
		"a path to a file":         {change: func(s *v1alpha1.GitSource) { s.Path = "bundle.yaml" }, says: []string{"bundle.yaml is no folder"}},
		"a symbolic link": {
			make: func(r *repository) {
				r.bundle(1)
				if err := os.Symlink("/etc/passwd", filepath.Join(r.dir, "pods/link.rego")); err != nil {
					r.t.Fatal(err)
				}
				r.git("add", "-A")
				r.commit()
			},
			says: []string{"pods/link.rego is a symbolic link"},
		},
		"a submodule": {
			make: func(r *repository) {
				r.bundle(1)
				r.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("ab", 20)+",vendor")
				r.commit()
			},
			says: []string{"vendor is a submodule"},
		},
		"trees without end": {
			make: func(r *repository) {
				r.git("-c", `alias.bomb=!t=$(git mktree </dev/null); for level in 1 2 3 4 5 6 7; do
					t=$(for i in 0 1 2 3 4 5 6 7 8 9; do printf '040000 tree %s\t%s\n' $t $i; done | git mktree)
				done; git update-ref refs/heads/main $(git commit-tree -m Boom $t)`, "bomb")
			},
			says: []string{"there are more than 80000 files and folders"},
		},
		"nothing but hidden files": {
			make: func(r *repository) { r.write(".hidden/bundle.yaml", nil); r.commit() }, says: []string{"there are no files"},
		},
		"a file that is too large": {
			make: func(r *repository) { r.bundle(1); r.write("data.json", make([]byte, 5<<20)); r.commit() }, says: []string{"data.json has more than"},
		},
		"more than is received": {
			make: func(r *repository) { r.bundle(1); r.write("noise", noise(1<<20)); r.commit() }, limits: git.Limits{Pack: 256 << 10},
			says: []string{"the commit has more than 262144 bytes", "a repository of their own"},
		},
		"more than is unpacked": {
			make: func(r *repository) { r.bundle(1); r.write("zeros", make([]byte, 3<<20)); r.commit() }, limits: git.Limits{Unpacked: 1 << 20},
			says: []string{"1048576 bytes unpacked"},
		},
		"more objects than there may be": {limits: git.Limits{Objects: 2}, says: []string{"more than 2 files and folders"}},
		"more references than there may be": {
			make: func(r *repository) {
				r.bundle(1)
				r.commit()
				for i := range 50 {
					r.git("tag", fmt.Sprintf("a-tag-with-a-long-name-%d", i))
				}
			},
			limits: git.Limits{References: 2 << 10}, says: []string{"the list of branches and tags has more than 2048 bytes"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			if c.make == nil {
				c.make = func(r *repository) { r.bundle(1); r.commit() }
			}
			c.make(r)
			s := r.serve(nil).source()
			if c.change != nil {
				c.change(&s)
			}
			options := loopback()
			options.Limits = c.limits
			_, err := fetch(t, s, options, "")
			refused(t, err, append(c.says, "fetching git+https://")...)
		})
	}

	t.Run("a repository of SHA-256", func(t *testing.T) {
		r := newRepository(t, "--object-format=sha256")
		r.bundle(1)
		r.commit()
		_, err := fetch(t, r.serve(nil).source(), loopback(), "")
		refused(t, err, "SHA-256")
	})
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func TestAServerThatIsNotAsItShouldBeIsRefused(t *testing.T) {
	r := newRepository(t)
	r.bundle(1)
	r.write("noise", noise(1<<20))
	r.commit()
	protected := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if name, password, _ := request.BasicAuth(); name+":"+password != "ada:secret" && request.Header.Get("Authorization") != "Bearer token" {
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, request)
		})
	}
	for name, c := range map[string]struct {
		between func(http.Handler) http.Handler
		change  func(*v1alpha1.GitSource, *git.Options)
		fetched bool
		says    []string
	}{
		"a password that is right": {between: protected, fetched: true, change: func(_ *v1alpha1.GitSource, o *git.Options) {
			o.Credentials = git.Credentials{Username: "ada", Password: "secret"}
		}},
		"a token that is right": {between: protected, fetched: true, change: func(_ *v1alpha1.GitSource, o *git.Options) {
			o.Credentials = git.Credentials{BearerToken: "token"}
		}},
		"a password that is wrong": {between: protected, says: []string{"401", "are not accepted: correct them"}, change: func(_ *v1alpha1.GitSource, o *git.Options) {
			o.Credentials = git.Credentials{Username: "ada", Password: "guess"}
		}},
		"no password":              {between: protected, says: []string{"401", "put a username and password"}},
		"no authority for its TLS": {says: []string{"caBundle"}, change: func(s *v1alpha1.GitSource, _ *git.Options) { s.CABundle = "" }},
		"another authority":        {says: []string{"caBundle"}, change: func(s *v1alpha1.GitSource, _ *git.Options) { s.CABundle = otherAuthority(t) }},
		"an address of this machine that was not allowed": {says: []string{"not connecting to", "a loopback address"}, change: func(_ *v1alpha1.GitSource, o *git.Options) { o.Allow = nil }},
		"it sends elsewhere": {says: []string{"has moved to https://git.example.com/new.git"}, between: func(http.Handler) http.Handler {
			return http.RedirectHandler("https://git.example.com/new.git/info/refs?service=git-upload-pack", http.StatusMovedPermanently)
		}},
		"it is a web page": {says: []string{"not in the protocol of Git"}, between: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>Welcome</html>") })
		}},
		"it says that it is Git and is none": {says: []string{"correct git.url"}, between: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
				_, _ = io.WriteString(w, "0008none")
			})
		}},
		"it is broken":                {says: []string{"503", "look at the server"}, between: func(http.Handler) http.Handler { return status(http.StatusServiceUnavailable) }},
		"it ends within its list":     {says: []string{"cut short", "retry"}, between: cutAfter(http.MethodGet, 100)},
		"it ends before its objects":  {says: []string{"cut short", "retry"}, between: cutAfter(http.MethodPost, 0)},
		"it ends within the shallows": {says: []string{"cut short", "retry"}, between: cutAfter(http.MethodPost, 20)},
		"it ends within its objects":  {says: []string{"cut short", "retry"}, between: cutAfter(http.MethodPost, 200<<10)},
		"it changes a byte of them":   {says: []string{"is no pack", "retry"}, between: flipAt(300 << 10)},
		"it never ends its answer": {says: []string{"did not finish its answer in 300ms"}, change: func(_ *v1alpha1.GitSource, o *git.Options) { o.Limits.Timeout = 300 * time.Millisecond },
			between: func(http.Handler) http.Handler {
				return http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() })
			}},
	} {
		t.Run(name, func(t *testing.T) {
			s := r.serve(c.between).source()
			options := loopback()
			if c.change != nil {
				c.change(&s, &options)
			}
			got, err := fetch(t, s, options, "")
			if c.fetched {
				if err != nil || got.Tree == nil {
					t.Errorf("got %v, %v, want a revision", got, err)
				}
				return
			}
			refused(t, err, c.says...)
		})
	}
}

func status(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

// cutAfter ends the connection after so many bytes of the answers to a method.
func cutAfter(method string, after int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if request.Method == method {
				w = &cutting{ResponseWriter: w, left: after}
			}
			next.ServeHTTP(w, request)
		})
	}
}

type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	if _, err := c.ResponseWriter.Write(p[:n]); err != nil {
		return 0, err
	}
	if c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return len(p), nil
}

// flipAt changes one byte of the objects.
func flipAt(at int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if request.Method == http.MethodPost {
				w = &flipping{ResponseWriter: w, at: at}
			}
			next.ServeHTTP(w, request)
		})
	}
}

type flipping struct {
	http.ResponseWriter
	at int
}

func (f *flipping) Write(p []byte) (int, error) {
	if 0 <= f.at && f.at < len(p) {
		p = bytes.Clone(p)
		p[f.at] ^= 1
	}
	f.at -= len(p)
	return f.ResponseWriter.Write(p)
}

// otherAuthority is one that has issued no certificate.
func otherAuthority(t *testing.T) string {
	t.Helper()
	authority, err := pki.NewAuthority(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// hashedLine is a line of known_hosts that hides the host.
func hashedLine(s *sshServer, host ssh.Signer) string {
	return knownhosts.HashHostname(knownhosts.Normalize(s.address)) + " " + publicLine(host.PublicKey())
}

func TestSSHIsRefusedWhereTheServerOrTheKeyIsAnother(t *testing.T) {
	r := newRepository(t)
	r.bundle(1)
	r.commit()
	host, _ := newKey(t)
	another, _ := newKey(t)
	mine, identity := newKey(t)
	_, stranger := newKey(t)
	s := r.serveSSH(host, mine.PublicKey())
	address := "ssh://git@" + s.address + "/policies.git"
	for name, c := range map[string]struct {
		url         string
		credentials git.Credentials
		fetched     bool
		says        []string
	}{
		"all is right":                   {credentials: git.Credentials{Identity: identity, KnownHosts: s.known(host.PublicKey())}, fetched: true},
		"the host is known by its hash":  {credentials: git.Credentials{Identity: identity, KnownHosts: hashedLine(s, host)}, fetched: true},
		"the host is known by a pattern": {credentials: git.Credentials{Identity: identity, KnownHosts: "[127.0.0.*]:* " + publicLine(host.PublicKey())}, fetched: true},
		"the host is excepted":           {credentials: git.Credentials{Identity: identity, KnownHosts: "[127.0.0.*]:*,![127.0.0.1]:* " + publicLine(host.PublicKey())}, says: []string{"known_hosts has no key of"}},
		"the server shows another key":   {credentials: git.Credentials{Identity: identity, KnownHosts: s.known(another.PublicKey())}, says: []string{"the server shows the key SHA256:", "somebody may be in between"}},
		"the server shows a revoked key": {credentials: git.Credentials{Identity: identity, KnownHosts: s.known(host.PublicKey()) + "@revoked * " + publicLine(host.PublicKey())}, says: []string{"the server shows the key SHA256:"}},
		"the server is not known":        {credentials: git.Credentials{Identity: identity, KnownHosts: "example.com " + publicLine(host.PublicKey())}, says: []string{"known_hosts has no key of", "ssh-keyscan"}},
		"the server is known at port 22": {credentials: git.Credentials{Identity: identity, KnownHosts: "127.0.0.1 " + publicLine(host.PublicKey())}, says: []string{"known_hosts has no key of"}},
		"the server knows another key":   {credentials: git.Credentials{Identity: stranger, KnownHosts: s.known(host.PublicKey())}, says: []string{"does not accept the key SHA256:", "register its public key"}},
		"the repository is not there":    {url: address + "2", credentials: git.Credentials{Identity: identity, KnownHosts: s.known(host.PublicKey())}, says: []string{"does not appear to be a git repository", "correct git.url"}},
		"nobody answers":                 {url: "ssh://git@127.0.0.1:1/x", credentials: git.Credentials{Identity: identity, KnownHosts: "[127.0.0.1]:1 " + publicLine(host.PublicKey())}, says: []string{"connecting to 127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.url == "" {
				c.url = address
			}
			options := loopback()
			options.Credentials = c.credentials
			got, err := fetch(t, v1alpha1.GitSource{URL: c.url}, options, "")
			if c.fetched {
				if err != nil || got.Tree == nil {
					t.Errorf("got %v, %v, want a revision", got, err)
				}
				return
			}
			refused(t, err, c.says...)
		})
	}
	t.Run("the server never answers", func(t *testing.T) {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		options := loopback()
		options.Limits.Timeout = 300 * time.Millisecond
		options.Credentials = git.Credentials{Identity: identity, KnownHosts: "* " + publicLine(host.PublicKey())}
		_, err = fetch(t, v1alpha1.GitSource{URL: "ssh://git@" + silent.Addr().String() + "/x"}, options, "")
		refused(t, err, "did not finish its answer")
	})
}
