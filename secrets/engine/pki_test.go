package engine

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// day is when the certificates of these tests are issued.
var day = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newAuthority is signed by above, by itself for nil.
func newAuthority(t testing.TB, name string, above *authority, key *ecdsa.PrivateKey, ends time.Time) *authority {
	t.Helper()
	if key == nil {
		key = newKey(t)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: day.Add(-time.Hour), NotAfter: ends,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	parent, signer := template, key
	if above != nil {
		parent, signer = above.certificate, above.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

func (a *authority) issue(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(0x0a0b0c), Subject: pkix.Name{CommonName: "shop.example"}, DNSNames: []string{"shop.example"},
		NotBefore: day.Add(-30 * time.Second), NotAfter: day.Add(time.Hour)}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func privatePEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	encoded, err := encodeKey(key, false)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded.Reveal())
}

// answering is a Vault whose PKI gives one answer.
func answering(t testing.TB, source *v1alpha1.Source, answer *secrets.Reply) Caller {
	t.Helper()
	place, err := Place(source)
	if err != nil {
		t.Fatal(err)
	}
	return callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
		if strings.HasPrefix(call.Path, "sys/internal/ui/mounts/") {
			return mounted(place), nil
		}
		return answer, nil
	})
}

func TestACertificateThatIsNotWhatWasAskedForIsRefused(t *testing.T) {
	root := newAuthority(t, "root", nil, nil, day.AddDate(1, 0, 0))
	ended := newAuthority(t, "ended", nil, nil, day.Add(-time.Minute))
	stranger := newAuthority(t, "root", nil, nil, day.AddDate(1, 0, 0)) // of the same name, with another key
	key, other := newKey(t), newKey(t)
	good := func() map[string]any {
		return map[string]any{"certificate": root.issue(t, key, nil), "private_key": privatePEM(t, key), "issuing_ca": root.pem()}
	}
	names := func(s *v1alpha1.PKISource) {
		s.AltNames, s.IPSANs, s.URISANs = []string{"www.shop.example", "ops@shop.example"}, []string{"10.0.0.1"}, []string{"spiffe://shop/db"}
	}
	for what, test := range map[string]struct {
		source *v1alpha1.Source
		change func(map[string]any)
		says   string
	}{
		"it has ended": {nil, func(a map[string]any) {
			a["certificate"] = root.issue(t, key, func(c *x509.Certificate) { c.NotAfter = day })
		}, "ended at"},
		"it is not valid yet": {nil, func(a map[string]any) {
			a["certificate"] = root.issue(t, key, func(c *x509.Certificate) { c.NotBefore = day.Add(2 * time.Minute) })
		}, "not valid before"},
		"its authority has ended": {nil, func(a map[string]any) {
			a["certificate"], a["issuing_ca"] = ended.issue(t, key, nil), ended.pem()
		}, "ended at"},
		"it is for another key":         {nil, func(a map[string]any) { a["private_key"] = privatePEM(t, other) }, "another key"},
		"there is no key":               {nil, func(a map[string]any) { delete(a, "private_key") }, "private key"},
		"there is no certificate":       {nil, func(a map[string]any) { delete(a, "certificate") }, "certificate"},
		"the certificate is half a one": {nil, func(a map[string]any) { a["certificate"] = a["certificate"].(string)[:100] }, "certificate"},
		"it is for another name": {nil, func(a map[string]any) {
			a["certificate"] = root.issue(t, key, func(c *x509.Certificate) { c.Subject.CommonName = "bank.example" })
		}, `"shop.example"`},
		"a DNS name is missing":               {pki(names), nil, `"www.shop.example"`},
		"an address is missing":               {pki(func(s *v1alpha1.PKISource) { s.IPSANs = []string{"10.0.0.1"} }), nil, `"10.0.0.1"`},
		"an e-mail address is missing":        {pki(func(s *v1alpha1.PKISource) { s.AltNames = []string{"ops@shop.example"} }), nil, `"ops@shop.example"`},
		"a URI is missing":                    {pki(func(s *v1alpha1.PKISource) { s.URISANs = []string{"spiffe://shop/db"} }), nil, `"spiffe://shop/db"`},
		"no authority comes with it":          {nil, func(a map[string]any) { delete(a, "issuing_ca") }, "no authority"},
		"another of the same name has signed": {nil, func(a map[string]any) { a["issuing_ca"] = stranger.pem() }, "no authority"},
		"the authority is no certificate":     {nil, func(a map[string]any) { a["issuing_ca"] = privatePEM(t, other) }, "chain of authorities"},
		"the chain is longer than any is":     {nil, func(a map[string]any) { a["issuing_ca"] = strings.Repeat(root.pem(), 17) }, "sixteen"},
		"the chain has more than any chain has": {nil, func(a map[string]any) {
			a["ca_chain"] = []any{strings.Repeat(root.pem(), 16), strings.Repeat(root.pem(), 16), root.pem()}
		}, "32"},
	} {
		t.Run(what, func(t *testing.T) {
			source, answer := test.source, good()
			if source == nil {
				source = pki(nil)
			}
			if test.change != nil {
				test.change(answer)
			}
			result, err := Read(t.Context(), answering(t, source, &secrets.Reply{Data: answer}), source, Options{Clock: stopped{&day}})
			if secrets.ReasonOf(err) != secrets.Malformed || result != nil {
				t.Fatalf("got %v and %v, want Malformed and nothing", result, err)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %q, want it to say %q", err, test.says)
			}
			for _, line := range strings.Split(privatePEM(t, key), "\n")[1:] {
				if len(line) > 8 && strings.Contains(err.Error(), line) {
					t.Errorf("the error holds the private key")
				}
			}
		})
	}

	// The same answer without a fault passes, so that each of those above fails for its fault.
	source := pki(nil)
	result, err := Read(t.Context(), answering(t, source, &secrets.Reply{Data: good()}), source, Options{Clock: stopped{&day}})
	if err != nil {
		t.Fatal(err)
	}
	if result.Lease == nil || !result.Lease.Expires.Equal(day.Add(time.Hour)) || result.Lease.Serial != "0a:0b:0c" || result.Version != "0a:0b:0c" || result.Metadata.LifetimeSeconds != 3600 {
		t.Errorf("got %+v, version %s, %+v", result.Lease, result.Version, result.Metadata)
	}
	source = pki(names)
	full := good()
	full["certificate"] = root.issue(t, key, func(c *x509.Certificate) {
		c.DNSNames, c.EmailAddresses, c.IPAddresses = []string{"WWW.shop.example"}, []string{"ops@shop.example"}, []net.IP{net.IPv4(10, 0, 0, 1)}
		c.URIs = mustRequest(t, source.PKI).URIs
	})
	if _, err := Read(t.Context(), answering(t, source, &secrets.Reply{Data: full}), source, Options{Clock: stopped{&day}}); err != nil {
		t.Errorf("a certificate for all names: %v", err)
	}
}

func mustRequest(t *testing.T, source *v1alpha1.PKISource) *x509.CertificateRequest {
	t.Helper()
	asked := *source
	asked.CSR = &v1alpha1.CSR{}
	_, text, err := makeRequest(&asked, Options{})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || request.CheckSignature() != nil {
		t.Fatalf("the request: %v", err)
	}
	return request
}

func TestTheRequestHoldsAllNames(t *testing.T) {
	request := mustRequest(t, &v1alpha1.PKISource{CommonName: "shop.example", AltNames: []string{"www.shop.example", "ops@shop.example"}, IPSANs: []string{"10.0.0.1", "::1"}, URISANs: []string{"spiffe://shop/db"}})
	if request.Subject.CommonName != "shop.example" || len(request.DNSNames) != 1 || len(request.EmailAddresses) != 1 || len(request.IPAddresses) != 2 || len(request.URIs) != 1 {
		t.Errorf("got %v, %v, %v, %v, %v", request.Subject, request.DNSNames, request.EmailAddresses, request.IPAddresses, request.URIs)
	}
}

func TestTheChainGoesFromTheLeafUpwardsWithoutTheRoot(t *testing.T) {
	ends := day.AddDate(1, 0, 0)
	root := newAuthority(t, "root", nil, nil, ends)
	upper := newAuthority(t, "upper", root, nil, ends)
	lower := newAuthority(t, "lower", upper, nil, ends)
	unrelated := newAuthority(t, "unrelated", nil, nil, ends)
	// Two authorities that signed each other.
	left := newAuthority(t, "left", nil, nil, ends)
	right := newAuthority(t, "right", left, nil, ends)
	leftByRight := newAuthority(t, "left", right, left.key, ends)
	key := newKey(t)
	for what, test := range map[string]struct {
		by        *authority
		issuing   string
		chain     []any
		leafOnly  bool
		want      []string
		authority string
	}{
		"the root itself issues":               {root, root.pem(), nil, false, []string{"shop.example"}, "root"},
		"the chain comes in order":             {lower, lower.pem(), []any{lower.pem(), upper.pem(), root.pem()}, false, []string{"shop.example", "lower", "upper"}, "root"},
		"the chain comes upside down":          {lower, lower.pem(), []any{root.pem(), upper.pem(), lower.pem()}, false, []string{"shop.example", "lower", "upper"}, "root"},
		"the chain comes in one text":          {lower, "", []any{root.pem() + lower.pem() + upper.pem()}, false, []string{"shop.example", "lower", "upper"}, "root"},
		"the root does not come":               {lower, lower.pem(), []any{lower.pem(), upper.pem()}, false, []string{"shop.example", "lower", "upper"}, "upper"},
		"only who issued it comes":             {lower, lower.pem(), nil, false, []string{"shop.example", "lower"}, "lower"},
		"others come too":                      {lower, lower.pem(), []any{unrelated.pem(), upper.pem(), unrelated.pem(), root.pem()}, false, []string{"shop.example", "lower", "upper"}, "root"},
		"only the leaf is wanted":              {lower, lower.pem(), []any{upper.pem(), root.pem()}, true, []string{"shop.example"}, "root"},
		"authorities signed in a circle":       {right, right.pem(), []any{leftByRight.pem()}, false, []string{"shop.example", "right", "left"}, "left"},
		"a circle with a root to it":           {right, right.pem(), []any{left.pem(), leftByRight.pem()}, false, []string{"shop.example", "right"}, "left"},
		"the chain has what is not text in it": {root, root.pem(), []any{nil, float64(1)}, false, []string{"shop.example"}, "root"},
	} {
		t.Run(what, func(t *testing.T) {
			source := pki(func(s *v1alpha1.PKISource) {
				if test.leafOnly {
					s.Chain = "Leaf"
				}
			})
			answer := map[string]any{"certificate": test.by.issue(t, key, nil), "private_key": privatePEM(t, key), "issuing_ca": test.issuing, "ca_chain": test.chain}
			result, err := Read(t.Context(), answering(t, source, &secrets.Reply{Data: answer}), source, Options{Clock: stopped{&day}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			served, err := parseCertificates(result.Data[keyCertificate].Reveal())
			if err != nil {
				t.Fatal(err)
			}
			for _, certificate := range served {
				got = append(got, certificate.Subject.CommonName)
			}
			if strings.Join(got, " ") != strings.Join(test.want, " ") {
				t.Errorf("tls.crt holds %v, want %v", got, test.want)
			}
			top, err := parseCertificates(result.Data[keyAuthority].Reveal())
			if err != nil || len(top) != 1 || top[0].Subject.CommonName != test.authority {
				t.Errorf("ca.crt holds %v (%v), want %s", top, err, test.authority)
			}
		})
	}
}

func TestKeysComeInTheFormatThatIsAskedFor(t *testing.T) {
	root := newAuthority(t, "root", nil, nil, day.AddDate(1, 0, 0))
	for _, algorithm := range algorithms {
		key, err := makeKey(algorithm, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		answer := map[string]any{"certificate": root.issue(t, key, nil), "private_key": privatePEM(t, key), "issuing_ca": root.pem()}
		for format, want := range map[string]string{"": "PRIVATE KEY", "PKCS8": "PRIVATE KEY", "Traditional": map[byte]string{'R': "RSA PRIVATE KEY", 'E': "EC PRIVATE KEY"}[algorithm[0]]} {
			source := pki(func(s *v1alpha1.PKISource) { s.KeyFormat = format })
			result, err := Read(t.Context(), answering(t, source, &secrets.Reply{Data: answer}), source, Options{Clock: stopped{&day}})
			if algorithm == "Ed25519" && format == "Traditional" {
				if secrets.ReasonOf(err) != secrets.Misconfigured {
					t.Errorf("an Ed25519 key in a traditional form: got %v, want Misconfigured", err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s as %q: %v", algorithm, format, err)
			}
			block, _ := pem.Decode(result.Data[keyPrivate].Reveal())
			if block == nil || block.Type != want {
				t.Errorf("%s as %q: got another PEM type than %s", algorithm, format, want)
			}
			parsed, err := parseKey(result.Data[keyPrivate].Reveal())
			if err != nil || !parsed.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
				t.Errorf("%s as %q: another key (%v)", algorithm, format, err)
			}
		}
	}
}
