package registration

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
)

// maxPrevious bounds the authorities that are trusted beside the one that signs: those of clocks that jump are never more.
const maxPrevious = 3

// chain is the authority that signs, and those whose certificates may still be served.
type chain struct {
	authority certificate.Pair
	previous  []*x509.Certificate // newest first
}

// lifetimes are those of [Options].
type lifetimes struct{ authority, leaf, spread, keep, mount time.Duration }

// bundle is what clients must trust, in PEM.
func (c *chain) bundle() []byte {
	var bundle bytes.Buffer
	for _, one := range c.all() {
		bundle.Write(certificate.EncodeCertificate(one))
	}
	return bundle.Bytes()
}

func (c *chain) all() []*x509.Certificate {
	if c.authority.Certificate() == nil {
		return c.previous
	}
	return append([]*x509.Certificate{c.authority.Certificate()}, c.previous...)
}

// renew makes the next authority where there is none, it is not valid by this clock, or two thirds of its life are over. serving is the
// leaf that replicas may have, nil for none that is fit; known are authorities that clients trust beside our own. It says what was
// done, "" for nothing.
//
// The authority before stays trusted whatever the clock says of it. A clock that is wrong, here or in the pods, must not be
// able to do more than add an authority.
func (c *chain) renew(now time.Time, of lifetimes, serving *x509.Certificate, known []*x509.Certificate) (did string, err error) {
	old := c.authority.Certificate()
	switch {
	case old == nil:
		did = "made an authority: there was none that could be used"
	case certificate.ValidAt(old, now) != nil:
		did = fmt.Sprintf("made another authority: by this clock that of %s to %s is not valid", old.NotBefore.Format(time.RFC3339), old.NotAfter.Format(time.RFC3339))
	case certificate.Overdue(old, now):
		did = fmt.Sprintf("made the next authority: that of now ends at %s", old.NotAfter.Format(time.RFC3339))
	default:
		return "", nil
	}
	made, err := certificate.NewAuthority(now, of.authority)
	if err != nil {
		return "", err
	}
	// Whoever signed what is served has to stay, even if its key is gone with the Secret.
	if serving != nil {
		for _, one := range known {
			if one.IsCA && serving.CheckSignatureFrom(one) == nil {
				c.keep(one)
			}
		}
	}
	if old != nil {
		c.keep(old)
	}
	c.authority = made
	return did, nil
}

// keep trusts one more, as the newest of the previous.
func (c *chain) keep(one *x509.Certificate) {
	kept := slices.DeleteFunc(slices.Clone(c.previous), one.Equal)
	kept = append([]*x509.Certificate{one}, kept...)
	c.previous = kept[:min(len(kept), maxPrevious)]
}

// forget ends the trust in the previous authorities once a leaf of the one that signs has been there for long enough: by its own date,
// which no restart can lose, and for the time that replicas need by a clock that is never set.
func (c *chain) forget(now time.Time, seen time.Duration, of lifetimes, serving *x509.Certificate) (did string) {
	if len(c.previous) == 0 || serving == nil || !c.signed(serving) || certificate.ValidAt(serving, now) != nil || now.Before(issued(serving).Add(of.keep)) || seen < of.mount {
		return ""
	}
	did = fmt.Sprintf("forgot %d earlier authorities: no certificate of theirs is served any more", len(c.previous))
	c.previous = nil
	return did
}

// issued is when a certificate was made, or a little earlier: the webhook's are backdated.
func issued(one *x509.Certificate) time.Time { return one.NotBefore }

// signed says whether the authority of now has signed a leaf.
func (c *chain) signed(leaf *x509.Certificate) bool {
	return c.authority.Certificate() != nil && leaf.CheckSignatureFrom(c.authority.Certificate()) == nil
}

// fit says whether a leaf can be served: it is valid by this clock, for all names, and trusted.
func (c *chain) fit(leaf *x509.Certificate, names []string, now time.Time) bool {
	if leaf == nil || certificate.ValidAt(leaf, now) != nil {
		return false
	}
	for _, name := range names {
		if leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	return slices.ContainsFunc(c.all(), func(a *x509.Certificate) bool { return leaf.CheckSignatureFrom(a) == nil })
}

// due says whether the leaf is to be replaced: it is old, or an earlier authority's.
func (c *chain) due(leaf *x509.Certificate, now time.Time) bool {
	return certificate.Overdue(leaf, now) || !c.signed(leaf)
}

func fingerprint(one *x509.Certificate) string {
	sum := sha256.Sum256(one.Raw)
	return hex.EncodeToString(sum[:])
}
