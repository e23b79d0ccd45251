package git

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // OpenSSH hashes host names by it, for no security of this program
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/portcullis-dev/portcullis/signer/gitsign"
)

// knownHosts are the keys that servers may show (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
type knownHosts struct {
	keys []knownHost
}

// knownHost is one line.
type knownHost struct {
	marker string // "cert-authority", "revoked" or ""
	hosts  []string
	key    ssh.PublicKey
}

// parseKnownHosts reads the file. A line that cannot be read is an error: it may be one that revokes.
func parseKnownHosts(text string) (*knownHosts, error) {
	known := &knownHosts{}
	for rest := []byte(text); ; {
		marker, hosts, key, _, after, err := ssh.ParseKnownHosts(rest)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading known_hosts: %w: write it with ssh-keyscan, and compare the fingerprints with the server's", err)
		}
		if marker != "" && marker != "cert-authority" && marker != "revoked" {
			return nil, fmt.Errorf("reading known_hosts: the marker @%.40s is not known: there are @cert-authority and @revoked", marker)
		}
		known.keys = append(known.keys, knownHost{marker: marker, hosts: hosts, key: key})
		rest = after
	}
	if len(known.keys) == 0 {
		return nil, errors.New("reading known_hosts: it has no keys: write it with ssh-keyscan, and compare the fingerprints with the server's")
	}
	return known, nil
}

// normalized is a host as known_hosts has it: with the port where that is not 22.
func normalized(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "22" {
		return host
	}
	return "[" + host + "]:" + port
}

// is says whether a line is about a host.
func (k knownHost) is(host string) bool {
	for _, pattern := range k.hosts {
		if hashed, ok := strings.CutPrefix(pattern, "|1|"); ok {
			if isHashOf(hashed, host) {
				return true
			}
			continue
		}
		if gitsign.MatchPatterns(strings.ToLower(host), strings.ToLower(strings.Join(k.hosts, ","))) {
			return true
		}
	}
	return false
}

// isHashOf compares a host with "salt|hash", both in base64.
func isHashOf(hashed, host string) bool {
	salt, sum, ok := strings.Cut(hashed, "|")
	key, err := base64.StdEncoding.DecodeString(salt)
	want, err2 := base64.StdEncoding.DecodeString(sum)
	if !ok || err != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, key)
	mac.Write([]byte(host))
	return subtle.ConstantTimeCompare(mac.Sum(nil), want) == 1
}

// algorithms are those to ask a server for, so that it shows a key that is known; none where no key of it is.
func (k *knownHosts) algorithms(address string) []string {
	var plain, certified []string
	for _, line := range k.keys {
		if line.marker == "revoked" || !line.is(normalized(address)) {
			continue
		}
		if line.marker == "cert-authority" {
			certified = []string{
				ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
			}
			continue
		}
		names := []string{line.key.Type()}
		if line.key.Type() == ssh.KeyAlgoRSA {
			names = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, name := range names {
			if !slices.Contains(plain, name) {
				plain = append(plain, name)
			}
		}
	}
	return append(certified, plain...)
}

// check is an [ssh.HostKeyCallback].
func (k *knownHosts) check(address string, remote net.Addr, shown ssh.PublicKey) error {
	checker := &ssh.CertChecker{
		IsHostAuthority: func(authority ssh.PublicKey, address string) bool { return k.has("cert-authority", address, authority) },
		IsRevoked: func(certificate *ssh.Certificate) bool {
			return k.has("revoked", address, certificate.Key) || k.has("revoked", address, certificate.SignatureKey)
		},
		HostKeyFallback: func(address string, _ net.Addr, key ssh.PublicKey) error {
			if k.has("revoked", address, key) || !k.has("", address, key) {
				return &wrongHostKey{fingerprint: ssh.FingerprintSHA256(key)}
			}
			return nil
		},
	}
	if err := checker.CheckHostKey(address, remote, shown); err != nil {
		var wrong *wrongHostKey
		if errors.As(err, &wrong) {
			return wrong
		}
		return &wrongHostKey{fingerprint: ssh.FingerprintSHA256(shown), because: err}
	}
	return nil
}

// has says whether a line with this marker is about a host and a key.
func (k *knownHosts) has(marker, address string, key ssh.PublicKey) bool {
	return slices.ContainsFunc(k.keys, func(line knownHost) bool {
		return line.marker == marker && line.is(normalized(address)) && bytes.Equal(line.key.Marshal(), key.Marshal())
	})
}

// wrongHostKey says that a server has shown another key than it should.
type wrongHostKey struct {
	fingerprint string
	because     error
}

func (w *wrongHostKey) Error() string {
	because := ""
	if w.because != nil {
		because = fmt.Sprintf(" (%v)", w.because)
	}
	return fmt.Sprintf("the server shows the key %s, which known_hosts does not have for it%s: somebody may be in between; ask who runs it, and only then correct known_hosts", w.fingerprint, because)
}
