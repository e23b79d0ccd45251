package engine

import (
	"crypto"
	"crypto/x509"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func web(mount, role string, change func(*v1alpha1.PKISource)) *v1alpha1.Source {
	source := &v1alpha1.PKISource{Mount: mount, Role: role, CommonName: "shop.example", AltNames: []string{"www.shop.example"}, IPSANs: []string{"10.0.0.1"},
		URISANs: []string{"spiffe://shop/db"}, TTL: &metav1.Duration{Duration: time.Hour}}
	if change != nil {
		change(source)
	}
	return &v1alpha1.Source{PKI: source}
}

// verify does what a TLS client does with the result, and gives the leaf.
func verify(t *testing.T, data secrets.Data, leafOnly bool) *x509.Certificate {
	t.Helper()
	served, err := parseCertificates(data["tls.crt"].Reveal())
	must(t, err)
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data["ca.crt"].Reveal()) {
		t.Fatal("ca.crt is no certificate")
	}
	for _, certificate := range served[1:] {
		intermediates.AddCert(certificate)
	}
	for _, name := range []string{"shop.example", "www.shop.example", "10.0.0.1"} {
		if _, err := served[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil && !leafOnly {
			t.Errorf("a client of %s: %v", name, err)
		}
	}
	key, err := parseKey(data["tls.key"].Reveal())
	must(t, err)
	if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(served[0].PublicKey) {
		t.Error("the key is another certificate's")
	}
	if len(served[0].URIs) != 1 || served[0].URIs[0].String() != "spiffe://shop/db" {
		t.Errorf("got the URIs %v", served[0].URIs)
	}
	return served[0]
}

func TestACertificateOfVaultIsServedAndTrusted(t *testing.T) {
	caller := login(t, "engine")
	for what, test := range map[string]struct {
		source *v1alpha1.Source
		served int
		leaf   bool
		key    string
	}{
		"by the root":                              {web("pki", "web", nil), 1, false, "RSA2048"},
		"by an intermediate":                       {web("pki-int", "web", nil), 2, false, "RSA2048"},
		"by an intermediate, the leaf only":        {web("pki-int", "ec", func(p *v1alpha1.PKISource) { p.Chain = "Leaf" }), 1, true, "ECDSA256"},
		"with a traditional key":                   {web("pki", "web", func(p *v1alpha1.PKISource) { p.KeyFormat = "Traditional" }), 1, false, "RSA2048"},
		"for our key, names of the request":        {web("pki-int", "any", func(p *v1alpha1.PKISource) { p.CSR = &v1alpha1.CSR{} }), 2, false, "ECDSA256"},
		"for our key, names of the parameters":     {web("pki-int", "parameters", func(p *v1alpha1.PKISource) { p.CSR = &v1alpha1.CSR{Algorithm: "ECDSA384"} }), 2, false, "ECDSA384"},
		"for our RSA key":                          {web("pki", "any", func(p *v1alpha1.PKISource) { p.CSR = &v1alpha1.CSR{Algorithm: "RSA3072"} }), 1, false, "RSA3072"},
		"for our Ed25519 key":                      {web("pki", "any", func(p *v1alpha1.PKISource) { p.CSR = &v1alpha1.CSR{Algorithm: "Ed25519"} }), 1, false, "Ed25519"},
		"for our key in its traditional form":      {web("pki", "any", func(p *v1alpha1.PKISource) { p.CSR, p.KeyFormat = &v1alpha1.CSR{}, "Traditional" }), 1, false, "ECDSA256"},
		"of a role that gives certificates leases": {web("pki", "leased", nil), 1, false, "ECDSA256"},
	} {
		t.Run(what, func(t *testing.T) {
			before := time.Now()
			result := read(t, caller, test.source)
			leaf := verify(t, result.Data, test.leaf)
			served, _ := parseCertificates(result.Data["tls.crt"].Reveal())
			if len(served) != test.served {
				t.Errorf("tls.crt holds %d certificates, want %d", len(served), test.served)
			}
			key, _ := parseKey(result.Data["tls.key"].Reveal())
			wantAlgorithm(t, test.key, key)
			lease := result.Lease
			if lease == nil || lease.Serial != serialOf(leaf) || result.Version != lease.Serial || lease.Mount != test.source.PKI.Mount || lease.Role != test.source.PKI.Role || lease.Renewable {
				t.Fatalf("got %+v", lease)
			}
			if !lease.Expires.Equal(leaf.NotAfter) || lease.Issued.Before(before) || lease.Duration < 59*time.Minute || lease.Duration > time.Hour+time.Second {
				t.Errorf("got %+v of a certificate until %s", lease, leaf.NotAfter)
			}
			if (lease.ID != "") != (test.source.PKI.Role == "leased") {
				t.Errorf("got the lease id %q", lease.ID)
			}
			if test.source.PKI.CSR != nil {
				answer := query(t, test.source.PKI.Mount+"/cert/"+lease.Serial, nil)
				if _, ok := answer.Data["private_key"]; ok {
					t.Error("Vault knows the key")
				}
			}
		})
	}
}

func TestACertificateIsRevokedBySerial(t *testing.T) {
	caller := login(t, "engine")
	for _, role := range []string{"ec", "leased"} {
		lease := *read(t, caller, web("pki", role, nil)).Lease
		revoked := func() string {
			answer := query(t, "pki/cert/"+lease.Serial, nil)
			at, _ := numberOf(answer.Data, "revocation_time")
			if at == 0 {
				return ""
			}
			return time.Unix(at, 0).String()
		}
		if at := revoked(); at != "" {
			t.Fatalf("%s: it was revoked at %s before", role, at)
		}
		must(t, Revoke(t.Context(), caller, lease))
		if revoked() == "" {
			t.Errorf("%s: it is not revoked", role)
		}
		must(t, Revoke(t.Context(), caller, lease)) // twice
	}
	lease := *read(t, caller, web("pki", "unstored", nil)).Lease
	if err := Revoke(t.Context(), caller, lease); err != nil {
		want(t, "a certificate that Vault does not store", err, secrets.Refused)
	}
	want(t, "a certificate that never was", Revoke(t.Context(), caller, secrets.Lease{Serial: "01:02:03", Mount: "pki"}), secrets.Refused)
}

func TestNamesThatARoleDoesNotAllowAreRefusedByVault(t *testing.T) {
	caller := login(t, "engine")
	for what, source := range map[string]*v1alpha1.Source{
		"another domain":        web("pki", "web", func(p *v1alpha1.PKISource) { p.CommonName = "bank.example" }),
		"another URI":           web("pki", "web", func(p *v1alpha1.PKISource) { p.URISANs = []string{"spiffe://bank/db"} }),
		"another domain by CSR": web("pki", "any", func(p *v1alpha1.PKISource) { p.CommonName, p.CSR = "bank.example", &v1alpha1.CSR{} }),
		"a role that is not":    web("pki", "nothing", nil),
	} {
		_, err := Read(t.Context(), caller, source, Options{})
		want(t, what, err, secrets.Refused)
	}
}

// hashicorp/vault-secrets-operator #1064: certificates in their renewal window were not rotated. What is read again is another certificate, and
// says when it ends.
func TestEachReadIssuesAnotherCertificate(t *testing.T) {
	caller := login(t, "engine")
	source := web("pki", "ec", nil)
	first, second := read(t, caller, source), read(t, caller, source)
	if first.Version == second.Version || second.Lease.Expires.Before(first.Lease.Expires) {
		t.Errorf("got %s until %s, then %s until %s", first.Version, first.Lease.Expires, second.Version, second.Lease.Expires)
	}
	if first.Data["tls.key"].Equal(second.Data["tls.key"]) {
		t.Error("the key is the same")
	}
}
