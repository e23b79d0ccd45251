package certificate

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"sync"
	"time"
)

// Lifetimes of [Options].
const (
	DefaultAuthorityLifetime = 365 * 24 * time.Hour
	DefaultLeafLifetime      = 90 * 24 * time.Hour
	DefaultOverlap           = 24 * time.Hour
)

// backdate makes a new certificate valid for callers whose clock is a little behind. It is less for one that lives less than an
// hour, which would be due for renewal before it was made.
func backdate(lifetime time.Duration) time.Duration { return min(5*time.Minute, lifetime/12) }

// Options of a [SelfSigned] certificate. Names is required.
type Options struct {
	// Names are the DNS names and IP addresses the API server may call, such as
	// portcullis-webhook.portcullis.svc.
	Names []string
	// Directory keeps the authority over restarts, readable by its owner only. It
	// belongs to one replica. "" keeps everything in memory.
	Directory string
	// AuthorityLifetime, LeafLifetime: how long each is valid. Both are renewed after
	// two thirds of it.
	AuthorityLifetime, LeafLifetime time.Duration
	// Overlap is how long a new authority is only announced in the CA bundle before it
	// signs the leaf: until every API server has been given the new bundle.
	Overlap time.Duration
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Logger hears of each renewal; nil discards.
	Logger *slog.Logger
}

// SelfSigned is a certificate authority and its one leaf.
//
// Changing the authority takes three steps, so that at no moment a caller with the
// bundle of the step before or after is turned away:
//
//  1. announce: the next authority joins the bundle, the current one still signs;
//  2. take over, an overlap later: the next authority signs a new leaf;
//  3. forget: the previous authority leaves the bundle when it has expired.
type SelfSigned struct {
	options Options

	mu sync.RWMutex
	holdings
}

// holdings are what a SelfSigned has at one moment.
type holdings struct {
	authority *pair
	next      *pair               // announced, nil outside an overlap
	previous  []*x509.Certificate // replaced and not yet expired
	leaf      *pair
	serving   *tls.Certificate
}

// pair is a certificate with its key.
type pair struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewSelfSigned loads what the directory holds, makes what is missing or overdue,
// and is ready to serve.
func NewSelfSigned(options Options) (*SelfSigned, error) {
	if len(options.Names) == 0 {
		return nil, errors.New("a serving certificate needs at least one DNS name or IP address")
	}
	if options.AuthorityLifetime <= 0 {
		options.AuthorityLifetime = DefaultAuthorityLifetime
	}
	if options.LeafLifetime <= 0 {
		options.LeafLifetime = DefaultLeafLifetime
	}
	if options.Overlap <= 0 {
		options.Overlap = DefaultOverlap
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Overlap > options.AuthorityLifetime/6 || options.LeafLifetime > options.AuthorityLifetime {
		return nil, errors.New("the overlap must be at most a sixth of the authority's lifetime, and the leaf must not live longer than the authority")
	}
	s := &SelfSigned{options: options}
	if err := s.load(); err != nil {
		return nil, err
	}
	if err := s.Renew(); err != nil {
		return nil, err
	}
	return s, nil
}

// GetCertificate is for tls.Config.
func (s *SelfSigned) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.serving, nil
}

// CABundle is what the API server must trust, in PEM: the current authority, the
// announced and the previous ones.
func (s *SelfSigned) CABundle() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.bundle()
}

func (s *SelfSigned) bundle() []byte {
	certificates := []*x509.Certificate{s.authority.certificate}
	if s.next != nil {
		certificates = append(certificates, s.next.certificate)
	}
	var bundle bytes.Buffer
	for _, certificate := range append(certificates, s.previous...) {
		bundle.Write(encodeCertificate(certificate))
	}
	return bundle.Bytes()
}

// Expires is when the leaf ends.
func (s *SelfSigned) Expires() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.leaf.certificate.NotAfter
}

// Check says why the certificate cannot be served with now, nil if it can.
func (s *SelfSigned) Check() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return validNow(s.leaf.certificate, s.options.Now())
}

// Run renews what is due once a minute until the context ends. A look at the clock,
// not a timer for the moment: a machine that slept or a clock that was set must not
// miss it.
func (s *SelfSigned) Run(ctx context.Context) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := s.Renew(); err != nil {
				s.options.Logger.Error("renewing the serving certificate failed: it is tried again in a minute", "error", err.Error())
			}
		}
	}
}

// Renew does what is due at this moment and saves it before it is used.
func (s *SelfSigned) Renew() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.holdings
	changed, err := s.renew(s.options.Now())
	if err == nil && changed {
		err = s.save()
	}
	if err != nil {
		s.holdings = before
		return fmt.Errorf("renewing the serving certificate: %w", err)
	}
	return nil
}

func (s *SelfSigned) renew(now time.Time) (changed bool, err error) {
	steps := []func(time.Time) (bool, error){s.establish, s.announce, s.takeOver, s.forget, s.issue}
	for _, step := range steps {
		did, err := step(now)
		if err != nil {
			return false, err
		}
		changed = changed || did
	}
	return changed, nil
}

// establish makes the first authority, or a new one where the old ended unnoticed
// while nothing ran: there is nobody left to overlap with.
func (s *SelfSigned) establish(now time.Time) (bool, error) {
	if s.authority != nil && validNow(s.authority.certificate, now) == nil {
		return false, nil
	}
	authority, err := newAuthority(now, s.options.AuthorityLifetime)
	if err != nil {
		return false, err
	}
	s.authority, s.next = authority, nil
	s.options.Logger.Info("made a certificate authority", "expires", authority.certificate.NotAfter)
	return true, nil
}

func (s *SelfSigned) announce(now time.Time) (bool, error) {
	if s.next != nil || !overdue(s.authority.certificate, now) {
		return false, nil
	}
	next, err := newAuthority(now, s.options.AuthorityLifetime)
	if err != nil {
		return false, err
	}
	s.next = next
	s.options.Logger.Info("announced the next certificate authority: give its CA bundle to the API server", "signs", next.certificate.NotBefore.Add(backdate(s.options.AuthorityLifetime)+s.options.Overlap))
	return true, nil
}

func (s *SelfSigned) takeOver(now time.Time) (bool, error) {
	if s.next == nil || now.Before(s.next.certificate.NotBefore.Add(backdate(s.options.AuthorityLifetime)+s.options.Overlap)) {
		return false, nil
	}
	s.previous = append(slices.Clone(s.previous), s.authority.certificate)
	s.authority, s.next = s.next, nil
	s.options.Logger.Info("the next certificate authority took over", "expires", s.authority.certificate.NotAfter)
	return true, nil
}

func (s *SelfSigned) forget(now time.Time) (bool, error) {
	kept := slices.DeleteFunc(slices.Clone(s.previous), func(c *x509.Certificate) bool { return !now.Before(c.NotAfter) })
	forgotten := len(kept) < len(s.previous)
	s.previous = kept
	return forgotten, nil
}

// issue signs a leaf where there is none that is fresh, signed by the current
// authority and for the right names.
func (s *SelfSigned) issue(now time.Time) (bool, error) {
	if s.leaf == nil || overdue(s.leaf.certificate, now) || validNow(s.leaf.certificate, now) != nil ||
		s.leaf.certificate.CheckSignatureFrom(s.authority.certificate) != nil || !s.names(s.leaf.certificate) {
		leaf, err := s.authority.issue(s.options.Names, now, s.options.LeafLifetime)
		if err != nil {
			return false, err
		}
		s.leaf = leaf
		s.serving = leaf.tls()
		s.options.Logger.Info("issued a serving certificate", "names", s.options.Names, "expires", leaf.certificate.NotAfter)
		return true, nil
	}
	s.serving = s.leaf.tls()
	return false, nil
}

func (s *SelfSigned) names(leaf *x509.Certificate) bool {
	for _, name := range s.options.Names {
		if leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

// overdue says that two thirds of a certificate's life are over.
func overdue(certificate *x509.Certificate, now time.Time) bool {
	life := certificate.NotAfter.Sub(certificate.NotBefore)
	return !now.Before(certificate.NotBefore.Add(life * 2 / 3))
}

func validNow(certificate *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(certificate.NotBefore):
		return fmt.Errorf("the serving certificate is not valid before %s: check the clock", certificate.NotBefore.Format(time.RFC3339))
	case !now.Before(certificate.NotAfter):
		return fmt.Errorf("the serving certificate expired at %s: renew it", certificate.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func newAuthority(now time.Time, lifetime time.Duration) (*pair, error) {
	template := &x509.Certificate{
		// The date tells the authorities of an overlap apart.
		Subject:               pkix.Name{Organization: []string{"Portcullis"}, CommonName: "portcullis-webhook-ca " + now.UTC().Format(time.RFC3339)},
		NotBefore:             now.Add(-backdate(lifetime)),
		NotAfter:              now.Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	return newPair(template, nil)
}

func (p *pair) issue(names []string, now time.Time, lifetime time.Duration) (*pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"Portcullis"}, CommonName: "portcullis-webhook"},
		NotBefore:             now.Add(-backdate(lifetime)),
		NotAfter:              now.Add(lifetime),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if end := p.certificate.NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return newPair(template, p)
}

// newPair makes a key and a certificate for it, signed by its issuer or itself.
func newPair(template *x509.Certificate, issuer *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("choosing a serial number: %w", err)
	}
	signer := &pair{certificate: template, key: key}
	if issuer != nil {
		signer = issuer
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, key.Public(), signer.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("reading back a certificate: %w", err)
	}
	return &pair{certificate: certificate, key: key}, nil
}

func (p *pair) tls() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{p.certificate.Raw}, PrivateKey: p.key, Leaf: p.certificate}
}
