package registry

import (
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

// matchesImage says whether a pattern of a credential provider or a pull secret matches a
// repository, as the kubelet does it: the same port, as many domain labels, each
// matched by a glob of its own, and the pattern's path as a prefix
// (k8s.io/kubelet/config/v1, CredentialProvider.MatchImages). Since labels are counted,
// *.azurecr.io matches neither evil.azurecr.io.attacker.com nor a.b.azurecr.io
// (CVE-2025-27403).
func matchesImage(pattern, repository string) bool {
	glob, err := url.Parse("https://" + pattern)
	if err != nil {
		return false
	}
	target, err := url.Parse("https://" + repository)
	if err != nil {
		return false
	}
	globs, globPort := labels(glob)
	names, port := labels(target)
	if globPort != port || len(globs) != len(names) || !strings.HasPrefix(target.Path, glob.Path) {
		return false
	}
	for i, label := range globs {
		if matched, err := filepath.Match(label, names[i]); err != nil || !matched {
			return false
		}
	}
	return true
}

func labels(u *url.URL) ([]string, string) {
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		host, port = u.Host, ""
	}
	return strings.Split(host, "."), port
}
