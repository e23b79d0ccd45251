package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// CallerMode says how a caller shows that it is the API server. Whoever reaches
// an admission endpoint can feed it untrusted objects (CVE-2025-1974), and every
// pod of a cluster can reach it.
type CallerMode int

// The modes. The zero value is the strictest.
const (
	// CallerCertificate demands a client certificate.
	CallerCertificate CallerMode = iota
	// CallerSecretPath demands a secret first path segment, for managed clusters whose
	// API server presents no certificate. A network policy belongs to it.
	CallerSecretPath
	// CallerOpen answers everybody.
	CallerOpen
)

var callerModes = [...]string{"certificate", "secret-path", "open"}

func (m CallerMode) String() string { return callerModes[m] }

// ParseCallerMode reads "certificate", "secret-path" or "open".
func ParseCallerMode(text string) (CallerMode, error) {
	if i := slices.Index(callerModes[:], text); i >= 0 {
		return CallerMode(i), nil
	}
	return 0, fmt.Errorf("caller mode %q is not known: choose %s", text, strings.Join(callerModes[:], ", "))
}

// MinSecretLength is how many characters a secret path needs: 32 hexadecimal digits are
// 128 bits.
const MinSecretLength = 32

// Callers decides who is answered. The zero value answers nobody.
type Callers struct {
	Mode CallerMode
	// CAs are trusted to sign client certificates. It is called for each request, so
	// that the file behind it can change; the same pool means nothing changed.
	CAs func() *x509.CertPool
	// Names are the common names that may call. Empty means any that CAs signed, which
	// is safe only for a CA that signs for nobody else.
	Names []string
	// Secret is the first path segment in mode CallerSecretPath.
	Secret string
	// Now is the clock, time.Now by default.
	Now func() time.Time

	mu       sync.Mutex
	pool     *x509.CertPool
	verified map[[sha256.Size]byte]time.Time // certificate -> until when its chain is valid
}

// maxVerified bounds the certificates remembered. An API server has one, and one
// more after each renewal.
const maxVerified = 64

// Check says whether the mode has what it needs.
func (c *Callers) Check() error {
	switch {
	case c.Mode == CallerCertificate && (c.CAs == nil || c.CAs() == nil):
		return errors.New("caller mode certificate has no CA to trust: give the CA of the API server's client certificate")
	case c.Mode == CallerSecretPath && len(c.Secret) < MinSecretLength:
		return fmt.Errorf("the secret path has %d characters: use at least %d random ones", len(c.Secret), MinSecretLength)
	case c.Mode == CallerSecretPath && len(validation.IsDNS1123Subdomain(c.Secret)) > 0:
		// The API server stores no other segment in the path of a webhook's Service (ValidateWebhookService).
		return errors.New("the secret path has other characters than lower-case letters, digits and -, or begins or ends with -: the API server takes no other path; make one with: openssl rand -hex 24")
	}
	return nil
}

// refusal is an HTTP error for a caller that is not answered.
type refusal struct {
	code    int
	message string
}

// admit returns the path without the secret, or why the caller is refused.
func (c *Callers) admit(r *http.Request) (path string, refused *refusal) {
	switch c.Mode {
	case CallerOpen:
		return r.URL.Path, nil
	case CallerSecretPath:
		return c.admitSecret(r.URL.Path)
	case CallerCertificate:
		return r.URL.Path, c.admitCertificate(r)
	}
	return "", &refusal{http.StatusInternalServerError, "the caller mode is not known"}
}

func (c *Callers) admitSecret(path string) (string, *refusal) {
	segment, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if c.Secret == "" || subtle.ConstantTimeCompare([]byte(segment), []byte(c.Secret)) != 1 {
		// As any other path: nothing tells a prober that there is a secret to find.
		return "", &refusal{http.StatusNotFound, "there is nothing at this path"}
	}
	return "/" + rest, nil
}

const certificateHint = "the API server sends one for the user named after this webhook's host " +
	"in the kubeconfig that its --admission-control-config-file names"

// admitCertificate verifies here and not in the TLS handshake, because a failed
// handshake tells an operator nothing, and a request without a certificate is the
// commonest mistake of an installation. That the caller holds the key the handshake
// has proven.
func (c *Callers) admitCertificate(r *http.Request) *refusal {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return &refusal{http.StatusUnauthorized, "no client certificate was presented: " + certificateHint}
	}
	chain := r.TLS.PeerCertificates
	if err := c.verify(chain); err != nil {
		return &refusal{http.StatusUnauthorized, fmt.Sprintf("the client certificate is not trusted: %v: %s", err, certificateHint)}
	}
	if name := chain[0].Subject.CommonName; len(c.Names) > 0 && !slices.Contains(c.Names, name) {
		return &refusal{http.StatusForbidden, fmt.Sprintf("the client certificate is for %q, which may not call: add it to the allowed names or use another", name)}
	}
	return nil
}

// verify remembers a certificate that was verified until its chain ends, since the
// same connection sends thousands of requests.
func (c *Callers) verify(chain []*x509.Certificate) error {
	now := time.Now()
	if c.Now != nil {
		now = c.Now()
	}
	if c.CAs == nil {
		return errors.New("no CA is trusted")
	}
	pool := c.CAs()
	key := sha256.Sum256(chain[0].Raw)
	if c.remembers(pool, key, now) {
		return nil
	}
	until, err := verifyChain(chain, pool, now)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pool == pool && len(c.verified) < maxVerified {
		c.verified[key] = until
	}
	return nil
}

func (c *Callers) remembers(pool *x509.CertPool, key [sha256.Size]byte, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pool != pool || len(c.verified) >= maxVerified {
		c.pool, c.verified = pool, map[[sha256.Size]byte]time.Time{}
	}
	until, known := c.verified[key]
	return known && now.Before(until)
}

func verifyChain(chain []*x509.Certificate, pool *x509.CertPool, now time.Time) (until time.Time, err error) {
	if pool == nil {
		return time.Time{}, errors.New("no CA is trusted")
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	verified, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         pool,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
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
