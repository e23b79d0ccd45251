package signertest

import "time"

// Option changes how something is signed.
type Option interface{ apply(*settings) }

type settings struct {
	at     time.Time
	lead   time.Duration
	faults map[Fault]bool
	logged bool
	twice  bool
	rekor2 bool
	stamps bool
}

func (s *settings) has(fault Fault) bool { return s.faults[fault] }

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

// At is the time of signing: certificate, log entry and timestamp are of then. It is the clock's by default.
func At(at time.Time) Option { return option(func(s *settings) { s.at = at }) }

// IssuedBefore is how long before the time of signing the certificate was issued; less than ten minutes is good.
func IssuedBefore(lead time.Duration) Option { return option(func(s *settings) { s.lead = lead }) }

// Logged puts a signature by key into the transparency log; keyless ones always are.
func Logged() Option { return option(func(s *settings) { s.logged = true }) }

// LoggedTwice is Logged with two entries of one log, which count as one
// (CVE-2026-49834). Only bundles can hold both.
func LoggedTwice() Option {
	return option(func(s *settings) { s.logged, s.twice = true, true })
}

// LoggedInRekor2 is Logged with an entry of a log of Rekor's second version, which makes no
// promise and knows no time, so that only a timestamp gives one. Only bundles can hold
// it, and only ECDSA keys on P-256 can be in it.
func LoggedInRekor2() Option {
	return option(func(s *settings) { s.logged, s.rekor2 = true, true })
}

// Stamped gives a signature by key a timestamp; keyless ones always have one.
func Stamped() Option { return option(func(s *settings) { s.stamps = true }) }

// Fault is one thing that is wrong. The zero value is none.
type Fault int

// Faults. Those of certificates do nothing to signatures by key.
const (
	_ Fault = iota

	// NoSCT leaves the certificate without proof that it was logged.
	NoSCT
	// ForeignSCT has the SCT of a log that the trusted root does not name.
	ForeignSCT
	// WrongSCT has an SCT whose signature is of another time.
	WrongSCT
	// ExpiredCertificate signs eleven minutes after the certificate was issued, too late by one.
	ExpiredCertificate
	// ExpiredIntermediate has a certificate whose issuer ended an hour before the PKI was made
	// (CVE-2026-24122). The trusted root names the issuer.
	ExpiredIntermediate
	// ForeignAuthority has a certificate of an authority that the trusted root does not name.
	ForeignAuthority
	// KeyForCertificate has the bare public key where a certificate is expected
	// (GHSA-fx35-mq7g-6g98).
	KeyForCertificate

	// NoLogEntry leaves the transparency log out.
	NoLogEntry
	// OtherLogEntry has the good log entry of another signature (CVE-2026-22703).
	OtherLogEntry
	// ForeignLogEntry has an entry of a log that the trusted root does not name.
	ForeignLogEntry
	// WrongPromise has a log entry whose promise is of another time.
	WrongPromise
	// NoPromise has a log entry with inclusion proof and no promise, so that its time is
	// nobody's word.
	NoPromise
	// WrongInclusion has a log entry whose proof leads to another root.
	WrongInclusion
	// WrongCheckpoint has a log entry with a head of the tree that was signed by somebody else.
	WrongCheckpoint

	// NoTimestamp leaves the timestamp authority out.
	NoTimestamp
	// OtherTimestamp has the timestamp of another signature.
	OtherTimestamp
	// ForeignTimestamp has one of an authority that the trusted root does not name.
	ForeignTimestamp

	// TamperedPayload changes a byte of what was signed, after that.
	TamperedPayload
	// TamperedSignature changes a byte of the signature, before it is logged.
	TamperedSignature
	// TwoSignatures has a second signature, by another key, in the envelope.
	TwoSignatures
	// NoSignature has an envelope without signature, or an empty one.
	NoSignature
)

func (f Fault) apply(s *settings) { s.faults[f] = true }

func (p *PKI) settings(options []Option) *settings {
	s := &settings{at: p.Now(), faults: map[Fault]bool{}}
	for _, option := range options {
		option.apply(s)
	}
	return s
}
