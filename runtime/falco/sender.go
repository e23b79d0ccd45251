package falco

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// MinSecretLength is how many characters a secret path needs: 32 of an alphabet of 64 are 192 bits.
const MinSecretLength = 32

const secretAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// nodePrefix begins the common name of a kubelet's certificate (https://kubernetes.io/docs/reference/access-authn-authz/node/).
const nodePrefix = "system:node:"

// ClientNode is the node that a certificate is for: that of the common name "system:node:NAME", as kubelets have it, or of
// a URI "spiffe://DOMAIN/node/NAME". It is "" for a certificate of no node, and for one that names two.
func ClientNode(certificate *x509.Certificate) string {
	node, isNode := strings.CutPrefix(certificate.Subject.CommonName, nodePrefix)
	if !isNode {
		node = ""
	}
	for _, uri := range certificate.URIs {
		other, ok := spiffeNode(uri)
		if !ok {
			continue
		}
		if node != "" && other != node {
			return ""
		}
		node = other
	}
	return node
}

func spiffeNode(uri *url.URL) (node string, ok bool) {
	node, ok = strings.CutPrefix(uri.Path, "/node/")
	return node, ok && uri.Scheme == "spiffe" && node != "" && !strings.Contains(node, "/")
}

// sender is who sends: the node that it speaks for, "" for any, and what it is called.
type sender struct{ node, name string }

// senders tells senders by their certificates. It is for use by several goroutines.
type senders struct {
	cas   func() *x509.CertPool
	node  func(*x509.Certificate) string
	names []string
	now   func() time.Time

	mu       sync.Mutex
	pool     *x509.CertPool
	verified map[[sha256.Size]byte]time.Time // certificate -> until when its chain is valid
}

// maxVerified bounds the certificates remembered: one for each node of a large cluster.
const maxVerified = 10_000

const certificateHint = "set mtls, client_cert and client_key of Falco's http_output to a certificate that the responder's CA has signed"

// identify says who sends. What the handshake has proven is that the sender holds the key. The rest is done here and not in the handshake, since
// certificates expire and authorities go while connections last, and since Falco logs nothing of a failed handshake that says why.
func (s *senders) identify(r *http.Request) (sender, *refusal) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return sender{}, refuse(ReasonCertificate, http.StatusUnauthorized, "no client certificate was presented: "+certificateHint)
	}
	chain := r.TLS.PeerCertificates
	if err := s.verify(chain); err != nil {
		return sender{}, refuse(ReasonCertificate, http.StatusUnauthorized, "the client certificate is not trusted ("+err.Error()+"): "+certificateHint)
	}
	name := chain[0].Subject.CommonName
	if node := s.node(chain[0]); node != "" {
		return sender{node: node, name: nodePrefix + node}, nil
	}
	if name == "" || !slices.Contains(s.names, name) {
		return sender{}, refuse(ReasonSender, http.StatusForbidden, "the client certificate is for no node, and its name is not among those that may send for all nodes: "+
			"use one with the common name system:node:NAME, or add its name to the responder's senders")
	}
	return sender{name: name}, nil
}

// verify remembers a certificate that was verified until its chain ends, since one connection sends thousands of events.
func (s *senders) verify(chain []*x509.Certificate) error {
	now, pool := s.now(), s.cas()
	if pool == nil {
		return errors.New("no CA is trusted")
	}
	key := sha256.Sum256(chain[0].Raw)
	if s.remembers(pool, key, now) {
		return nil
	}
	until, err := verifyChain(chain, pool, now)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == pool && len(s.verified) < maxVerified {
		s.verified[key] = until
	}
	return nil
}

func (s *senders) remembers(pool *x509.CertPool, key [sha256.Size]byte, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool != pool || len(s.verified) >= maxVerified {
		s.pool, s.verified = pool, map[[sha256.Size]byte]time.Time{}
	}
	until, known := s.verified[key]
	return known && now.Before(until)
}

func verifyChain(chain []*x509.Certificate, pool *x509.CertPool, now time.Time) (until time.Time, err error) {
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	verified, err := chain[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return time.Time{}, err
	}
	until = chain[0].NotAfter
	for _, certificate := range verified[0] {
		if certificate.NotAfter.Before(until) {
			until = certificate.NotAfter
		}
	}
	return until, nil
}

// withoutSecret is a path without its first segment, if that is the secret.
func withoutSecret(path, secret string) (string, bool) {
	segment, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if secret == "" || subtle.ConstantTimeCompare([]byte(segment), []byte(secret)) != 1 {
		return "", false
	}
	return "/" + rest, true
}
