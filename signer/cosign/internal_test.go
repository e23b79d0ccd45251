package cosign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

func TestACertificateHasOneName(t *testing.T) {
	uri := &url.URL{Scheme: "https", Host: "github.com", Path: "/acme"}
	for name, test := range map[string]struct {
		leaf x509.Certificate
		good bool
	}{
		"one URL":                  {x509.Certificate{URIs: []*url.URL{uri}}, true},
		"one mailbox":              {x509.Certificate{EmailAddresses: []string{"a@example.com"}}, true},
		"a URL and a mailbox":      {x509.Certificate{URIs: []*url.URL{uri}, EmailAddresses: []string{"a@example.com"}}, false},
		"two mailboxes":            {x509.Certificate{EmailAddresses: []string{"a@example.com", "b@example.com"}}, false},
		"a mailbox and a DNS name": {x509.Certificate{EmailAddresses: []string{"a@example.com"}, DNSNames: []string{"example.com"}}, false},
		"none":                     {x509.Certificate{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := proofOf(&test.leaf, time.Time{}); (err == nil) != test.good {
				t.Errorf("got %+v and error %v, want good %t", got, err, test.good)
			}
		})
	}
}

func TestTheEarliestOfSeveralTimesCounts(t *testing.T) {
	at := func(hour int) verify.TimestampVerificationResult {
		return verify.TimestampVerificationResult{Timestamp: time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC)}
	}
	if got := earliest([]verify.TimestampVerificationResult{at(5), at(3), at(4)}); got.Hour() != 3 {
		t.Errorf("got %s, want that of 3 o'clock", got)
	}
	if got := earliest(nil); !got.IsZero() {
		t.Errorf("got %s for no time, want none", got)
	}
}

// TestEnvelopesOfOtherThings: a signature over a text that happens to be a statement is none over a statement.
func TestEnvelopesOfOtherThings(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	trust, err := signer.Compile(&signer.Trust{Authorities: []signer.Authority{{Name: "a", Images: []string{"**"}, Keys: []signer.Key{{PEM: text}}}}})
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Repository: registry.Repository{Registry: "ghcr.io", Path: "acme/app"}, Digest: "sha256:" + strings.Repeat("1", 64)}
	payload, err := NewStatement(target, "https://example.com/p", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{payloadType, "text/plain"} {
		signed, err := key.sign(dsse.PAE(kind, payload))
		if err != nil {
			t.Fatal(err)
		}
		envelope, err := marshal(dsse.Envelope{PayloadType: kind, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(signed)}}})
		if err != nil {
			t.Fatal(err)
		}
		bundle := []byte(`{"mediaType":"` + bundleVersionMediaType + `","verificationMaterial":{"publicKey":{"hint":"x"}},"dsseEnvelope":` + string(envelope) + `}`)
		for name, content := range map[string][]byte{"envelope": envelope, "bundle": bundle} {
			attestations, rejections := NewVerifier(Options{}).VerifyEnvelope(t.Context(), content, target.Digest, target.Repository, trust)
			if (len(attestations) == 1) != (kind == payloadType) {
				t.Errorf("%s of %s: got %+v and %+v", name, kind, attestations, rejections)
			}
		}
	}
}

// TestEnvelopesOfTwoPayloads: encoding/json, by which cosign reads the envelope that it verifies, takes the last of several names that
// differ in case only. A signed statement under the one must not vouch for another under the other.
func TestEnvelopesOfTwoPayloads(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	trust, err := signer.Compile(&signer.Trust{Authorities: []signer.Authority{{Name: "a", Images: []string{"**"}, Keys: []signer.Key{{PEM: text}}}}})
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Repository: registry.Repository{Registry: "ghcr.io", Path: "acme/app"}, Digest: "sha256:" + strings.Repeat("1", 64)}
	encoded := func(predicateType string) string {
		payload, err := NewStatement(target, predicateType, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(payload)
	}
	signed, forged := encoded("https://example.com/signed"), encoded("https://example.com/forged")
	payload, err := base64.StdEncoding.DecodeString(signed)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := key.sign(dsse.PAE(payloadType, payload))
	if err != nil {
		t.Fatal(err)
	}
	rest := `"payloadType":"` + payloadType + `","signatures":[{"sig":"` + base64.StdEncoding.EncodeToString(signature) + `"}]`
	for name, test := range map[string]struct {
		envelope string
		want     int
	}{
		"one payload":                   {`{"payload":"` + signed + `",` + rest + `}`, 1},
		"a forged one, then a signed":   {`{"payload":"` + forged + `","Payload":"` + signed + `",` + rest + `}`, 0},
		"a signed one, then a forged":   {`{"Payload":"` + signed + `","payload":"` + forged + `",` + rest + `}`, 0},
		"the same name twice":           {`{"payload":"` + forged + `","payload":"` + signed + `",` + rest + `}`, 0},
		"two types of payload":          {`{"payload":"` + signed + `","PAYLOADTYPE":"text/plain",` + rest + `}`, 0},
		"signatures with a long s, too": {`{"payload":"` + signed + `","\u017fignatures":[],` + rest + `}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			attestations, rejections := NewVerifier(Options{}).VerifyEnvelope(t.Context(), []byte(test.envelope), target.Digest, target.Repository, trust)
			if len(attestations) != test.want || len(rejections) != 1-test.want {
				t.Errorf("got %+v and %+v, want %d attestations", attestations, rejections, test.want)
			}
		})
	}
}
