package engine

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Keys of a certificate's result.
const (
	keyCertificate = "tls.crt"
	keyPrivate     = "tls.key"
	keyAuthority   = "ca.crt"
)

// skew is how far Vault's clock may be ahead of ours. Vault dates certificates back by 30 s itself, unless a role says otherwise.
const skew = time.Minute

// readPKI has a certificate issued, or, with a CSR, signed for a key made here. https://developer.hashicorp.com/vault/api-docs/secret/pki
func readPKI(ctx context.Context, caller Caller, pki *v1alpha1.PKISource, place secrets.SyncPlace, options Options) (*Result, error) {
	path := place.Accesses[0].Path
	doing := "issuing a certificate by " + path
	if err := checkMount(ctx, caller, place, options); err != nil {
		return nil, err
	}
	body := pkiBody(pki)
	var key crypto.Signer
	if pki.CSR != nil {
		var request string
		var err error
		if key, request, err = makeRequest(pki, options); err != nil {
			return nil, &secrets.Error{Reason: secrets.Failed, Doing: doing, Message: "making the key and its request: " + err.Error()}
		}
		body["csr"] = request
	} else {
		body["private_key_format"] = "pkcs8"
	}
	issued := options.now()
	reply, err := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: path, Body: body})
	if err != nil {
		return nil, err
	}
	result, err := certified(doing, reply, pki, key, issued, options.now())
	if err != nil {
		return nil, err
	}
	result.Lease.Mount, result.Lease.Role = pki.Mount, pki.Role
	if reply.LeaseID != "" {
		result.Lease.ID = reply.LeaseID // a role with generate_lease: the certificate is revoked when the token ends
	}
	return result, nil
}

func pkiBody(pki *v1alpha1.PKISource) map[string]any {
	body := map[string]any{"format": "pem"}
	for name, value := range map[string]string{
		"common_name": pki.CommonName,
		"alt_names":   strings.Join(pki.AltNames, ","),
		"ip_sans":     strings.Join(pki.IPSANs, ","),
		"uri_sans":    strings.Join(pki.URISANs, ","),
	} {
		if value != "" {
			body[name] = value
		}
	}
	if pki.TTL != nil {
		body["ttl"] = seconds(pki.TTL.Duration)
	}
	return body
}

// seconds is a duration as Vault reads it, at least one second.
func seconds(duration time.Duration) string {
	return fmt.Sprintf("%ds", max(1, int64(duration/time.Second)))
}

// makeRequest makes a key and a certificate request (PKCS #10) for the names: roles take names from the request (use_csr_sans) or from the
// parameters, so both have them.
func makeRequest(pki *v1alpha1.PKISource, options Options) (crypto.Signer, string, error) {
	key, err := makeKey(pki.CSR.Algorithm, options.rand())
	if err != nil {
		return nil, "", err
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: pki.CommonName}}
	for _, name := range pki.AltNames {
		if strings.Contains(name, "@") {
			template.EmailAddresses = append(template.EmailAddresses, name)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	for _, name := range pki.IPSANs {
		address, err := netip.ParseAddr(name)
		if err != nil {
			return nil, "", err
		}
		template.IPAddresses = append(template.IPAddresses, address.Unmap().AsSlice())
	}
	for _, name := range pki.URISANs {
		u, err := url.Parse(name)
		if err != nil {
			return nil, "", err
		}
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificateRequest(options.rand(), template, key)
	if err != nil {
		return nil, "", err
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// certified checks an answer of PKI and makes the result of it: that the certificate is for the key, for the names that were asked for, valid
// now, and signed by an authority that comes with it. key is nil where Vault made it.
func certified(doing string, reply *secrets.Reply, pki *v1alpha1.PKISource, key crypto.Signer, issued, now time.Time) (*Result, error) {
	data := dataOf(reply)
	leaves, err := parseCertificates([]byte(textOf(data, "certificate")))
	if err != nil {
		return nil, malformed(doing, "the certificate: %s", err)
	}
	leaf := leaves[0]
	if key == nil {
		if key, err = parseKey([]byte(textOf(data, "private_key"))); err != nil {
			return nil, malformed(doing, "%s", err)
		}
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return nil, malformed(doing, "the certificate is for another key")
	}
	if missing := missingNames(leaf, pki); len(missing) > 0 {
		return nil, malformed(doing, "the certificate is not for %s: see what the role %s makes of names", names(missing), pki.Role)
	}
	chain, authority, err := chainOf(leaf, data)
	if err != nil {
		return nil, malformed(doing, "%s", err)
	}
	for _, certificate := range append([]*x509.Certificate{leaf, authority}, chain...) {
		if now.Add(skew).Before(certificate.NotBefore) {
			return nil, malformed(doing, "the certificate of %s is not valid before %s: compare the clocks", subjectOf(certificate), certificate.NotBefore.UTC().Format(time.RFC3339))
		}
		if !now.Before(certificate.NotAfter) {
			return nil, malformed(doing, "the certificate of %s ended at %s: compare the clocks, and see whether the authority has ended", subjectOf(certificate), certificate.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	private, err := encodeKey(key, pki.KeyFormat == "Traditional")
	if err != nil {
		return nil, misconfigured(doing, "%s", err)
	}
	served := []*x509.Certificate{leaf}
	if pki.Chain != "Leaf" {
		served = append(served, chain...)
	}
	serial := serialOf(leaf)
	return &Result{
		Data:    secrets.Data{keyCertificate: encodeCertificates(served), keyPrivate: private, keyAuthority: encodeCertificates([]*x509.Certificate{authority})},
		Version: serial,
		Created: issued,
		Lease:   &secrets.Lease{Serial: serial, Issued: issued, Expires: leaf.NotAfter, Duration: leaf.NotAfter.Sub(issued)},
	}, nil
}

// missingNames are those that were asked for and that the certificate lacks.
func missingNames(leaf *x509.Certificate, pki *v1alpha1.PKISource) []string {
	var missing []string
	if pki.CommonName != "" && leaf.Subject.CommonName != pki.CommonName {
		missing = append(missing, pki.CommonName)
	}
	for _, name := range pki.AltNames {
		same := func(other string) bool { return strings.EqualFold(strings.TrimSuffix(name, "."), other) }
		if !slices.ContainsFunc(leaf.DNSNames, same) && !slices.ContainsFunc(leaf.EmailAddresses, same) {
			missing = append(missing, name)
		}
	}
	for _, name := range pki.IPSANs {
		asked, _ := netip.ParseAddr(name)
		found := false
		for _, ip := range leaf.IPAddresses {
			if address, ok := netip.AddrFromSlice(ip); ok && address.Unmap() == asked.Unmap() {
				found = true
			}
		}
		if !found {
			missing = append(missing, name)
		}
	}
	for _, name := range pki.URISANs {
		if !slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool { return u.String() == name }) {
			missing = append(missing, name)
		}
	}
	return missing
}

// chainOf orders what Vault gave of authorities: from the one that signed the leaf upwards, each proved by its signature, without the root,
// which whoever verifies must have anyway (RFC 8446, section 4.4.2). The authority is the root, or the highest one where Vault has no root.
func chainOf(leaf *x509.Certificate, data map[string]any) ([]*x509.Certificate, *x509.Certificate, error) {
	texts := []string{textOf(data, "issuing_ca")}
	if list, ok := data["ca_chain"].([]any); ok {
		for _, item := range list {
			text, _ := item.(string)
			texts = append(texts, text)
		}
	}
	var known []*x509.Certificate
	for _, text := range texts {
		if text == "" {
			continue
		}
		certificates, err := parseCertificates([]byte(text))
		if err != nil {
			return nil, nil, fmt.Errorf("the chain of authorities: %w", err)
		}
		if known = append(known, certificates...); len(known) > 32 {
			return nil, nil, fmt.Errorf("the chain of authorities has more than 32 certificates")
		}
	}
	var chain []*x509.Certificate
	below := leaf
	for {
		at := slices.IndexFunc(known, func(above *x509.Certificate) bool {
			return !above.Equal(below) && bytes.Equal(above.RawSubject, below.RawIssuer) && below.CheckSignatureFrom(above) == nil
		})
		if at < 0 {
			break
		}
		above := known[at]
		known = slices.DeleteFunc(known, above.Equal) // each once: cross-signed authorities may go in a circle
		if isRoot(above) {
			return chain, above, nil
		}
		chain, below = append(chain, above), above
	}
	if len(chain) == 0 {
		return nil, nil, fmt.Errorf("no authority that comes with the certificate has signed it")
	}
	return chain, chain[len(chain)-1], nil
}

func isRoot(certificate *x509.Certificate) bool {
	return bytes.Equal(certificate.RawSubject, certificate.RawIssuer) && certificate.CheckSignatureFrom(certificate) == nil
}

// serialOf is a serial number as Vault writes it: pairs of hexadecimal digits with colons between.
func serialOf(certificate *x509.Certificate) string {
	var pairs []string
	for _, b := range certificate.SerialNumber.Bytes() {
		pairs = append(pairs, fmt.Sprintf("%02x", b))
	}
	return strings.Join(pairs, ":")
}

func subjectOf(certificate *x509.Certificate) string {
	return names([]string{orElse(certificate.Subject.CommonName, "no common name")})
}
