package git

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// address is where a repository is.
type address struct {
	scheme string // "https", "http" or "ssh"
	host   string // "host:port"
	user   string // of ssh
	path   string // with a slash in front
}

// parseAddress reads https://HOST/PATH and ssh://USER@HOST/PATH. Every other transport of Git is refused: some run programs (ext::,
// and paths of this machine), some show everybody what is transferred and let them change it (git://, http://).
func parseAddress(text string, plain []string) (*address, error) {
	parsed, err := url.Parse(text)
	switch {
	case strings.Contains(text, "::") && !strings.Contains(text, "://"):
		return nil, errors.New("git.url names a transport that runs a program: use https:// or ssh://")
	case !strings.Contains(text, "://") && strings.Contains(text, ":") && !strings.HasPrefix(text, "/"):
		return nil, errors.New("git.url is in the short form of ssh: write ssh://git@HOST/PATH")
	case err == nil && parsed.Scheme != "" && !slices.Contains([]string{"https", "http", "ssh"}, parsed.Scheme):
		return nil, fmt.Errorf("git.url has the scheme %.20q: use https:// or ssh://", parsed.Scheme)
	case err != nil || parsed.Scheme == "" || parsed.Hostname() == "" || parsed.Opaque != "":
		return nil, errors.New("git.url is no address of a server: write https://HOST/PATH or ssh://git@HOST/PATH")
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return nil, errors.New("git.url has a query or a fragment: give branch, tag, commit and path in their own fields")
	case strings.Trim(parsed.Path, "/") == "" || strings.ContainsFunc(parsed.Path, func(r rune) bool { return r < ' ' }):
		return nil, errors.New("git.url names no repository: write https://HOST/PATH or ssh://git@HOST/PATH")
	}
	at := &address{scheme: parsed.Scheme, host: parsed.Host, path: "/" + strings.Trim(parsed.Path, "/")}
	switch _, password := parsed.User.Password(); {
	case password, parsed.User != nil && at.scheme != "ssh":
		return nil, errors.New("git.url has a name or password in it, which everybody who may read the bundle sees: put username and password into the Secret")
	case at.scheme == "https":
		at.host = withPort(parsed, "443")
	case at.scheme == "http" && slices.Contains(plain, parsed.Host):
		at.host = withPort(parsed, "80")
	case at.scheme == "http":
		return nil, errors.New("git.url is not https: whoever is on the way could see and change what is fetched: use https://")
	default:
		at.host, at.user = withPort(parsed, "22"), parsed.User.Username()
	}
	return at, nil
}

func withPort(u *url.URL, standard string) string {
	port := u.Port()
	if port == "" {
		port = standard
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// String is the address for people and for requests. It never has a password.
func (a *address) String() string {
	u := url.URL{Scheme: a.scheme, Host: a.host, Path: a.path}
	for scheme, port := range map[string]string{"https": ":443", "http": ":80", "ssh": ":22"} {
		if scheme == a.scheme {
			u.Host = strings.TrimSuffix(a.host, port)
		}
	}
	if a.user != "" {
		u.User = url.User(a.user)
	}
	return u.String()
}

// checkTarget says whether at most one of branch, tag and commit is given, and each can be one.
func checkTarget(s v1alpha1.GitSource) error {
	given := 0
	for _, name := range []string{s.Branch, s.Tag, s.Commit} {
		if name != "" {
			given++
		}
	}
	if given > 1 {
		return errors.New("git has more than one of branch, tag and commit: give one of them")
	}
	for field, name := range map[string]string{"branch": s.Branch, "tag": s.Tag} {
		if name != "" && !isRefName(name) {
			return fmt.Errorf("git.%s is no name that Git takes: %.80q: correct it", field, name)
		}
	}
	if s.Commit != "" && !isCommit(s.Commit) {
		return fmt.Errorf("git.commit is no hash of 40 hexadecimal digits: %.80q: write it as git rev-parse does", s.Commit)
	}
	return nil
}

// isRefName follows git-check-ref-format(1).
func isRefName(name string) bool {
	if strings.ContainsAny(name, " ~^:?*[\\") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || strings.HasPrefix(segment, ".") || strings.HasSuffix(segment, ".lock") {
			return false
		}
	}
	return !strings.Contains(name, "..") && !strings.Contains(name, "@{") && !strings.HasSuffix(name, ".") && name[0] != '-' && len(name) <= 255
}

func isCommit(text string) bool {
	return len(text) == 40 && strings.Trim(text, "0123456789abcdef") == ""
}

// folder reads the path of a bundle in its repository.
func folder(path string) (string, error) {
	trimmed := strings.Trim(path, "/")
	if trimmed == "" || trimmed == "." {
		return "", nil
	}
	if err := archive.CheckName(trimmed); err != nil {
		return "", fmt.Errorf("git.path: %w", err)
	}
	return trimmed, nil
}
