package engine

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io"
	"math"
	mathrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func TestPasswordsHaveTheirLengthAndAlphabet(t *testing.T) {
	for what, test := range map[string]struct {
		generator v1alpha1.Generator
		length    int
		charset   string
	}{
		"by default":          {v1alpha1.Generator{}, 32, alphanumeric},
		"the shortest":        {v1alpha1.Generator{Length: 16, Charset: "Hex"}, 16, "0123456789abcdef"},
		"the longest":         {v1alpha1.Generator{Length: 1024, Charset: "Base64URL"}, 1024, alphanumeric + "-_"},
		"all that is printed": {v1alpha1.Generator{Length: 1000, Charset: "ASCII"}, 1000, printable()},
	} {
		t.Run(what, func(t *testing.T) {
			data, err := Generate(map[string]v1alpha1.Generator{"password": test.generator}, nil)
			if err != nil {
				t.Fatal(err)
			}
			password := string(data["password"].Reveal())
			if len(password) != test.length || strings.Trim(password, test.charset) != "" {
				t.Errorf("got %d characters, some of them not of the alphabet", len(password))
			}
			again, err := Generate(map[string]v1alpha1.Generator{"password": test.generator}, nil)
			if err != nil || again.Equal(data) {
				t.Errorf("the same password twice (%v)", err)
			}
		})
	}
}

// A remainder of a byte would give the first characters of an alphabet of 62 a fifth more chance than the others.
func TestEachCharacterHasTheSameChance(t *testing.T) {
	random := &uniform{mathrand.NewChaCha8([32]byte{1})}
	for _, charset := range []string{"Alphanumeric", "ASCII", "Hex", "Base64URL"} {
		counts := map[byte]float64{}
		total := 0.0
		for range 400 {
			data, err := Generate(map[string]v1alpha1.Generator{"p": {Length: 1024, Charset: charset}}, random)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range data["p"].Reveal() {
				counts[c]++
				total++
			}
		}
		expected := total / float64(len(charsets[charset]))
		chi := 0.0
		for _, c := range []byte(charsets[charset]) {
			chi += math.Pow(counts[c]-expected, 2) / expected
		}
		// Of n-1 degrees of freedom: the mean, and six standard deviations. The bias of a remainder is at thousands here.
		degrees := float64(len(charsets[charset]) - 1)
		if limit := degrees + 6*math.Sqrt(2*degrees); chi > limit {
			t.Errorf("%s: chi-square %.0f, at most %.0f for equal chances", charset, chi, limit)
		}
	}
}

type uniform struct{ source *mathrand.ChaCha8 }

func (u *uniform) Read(p []byte) (int, error) { return u.source.Read(p) }

func TestGeneratedKeysHaveTheirPublicHalfBeside(t *testing.T) {
	for _, algorithm := range algorithms {
		data, err := Generate(map[string]v1alpha1.Generator{"signing": {PrivateKey: algorithm}}, nil)
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		if keys := data.Keys(); len(keys) != 2 || keys[0] != "signing" || keys[1] != "signing.pub" {
			t.Fatalf("%s: got the keys %v", algorithm, keys)
		}
		private, err := parseKey(data["signing"].Reveal())
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		public, err := parsePublicKey(string(data["signing.pub"].Reveal()))
		if err != nil || !private.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
			t.Errorf("%s: the public half is another's (%v)", algorithm, err)
		}
		if block, _ := pem.Decode(data["signing"].Reveal()); block.Type != "PRIVATE KEY" {
			t.Errorf("%s: got the PEM type %s, want PKCS #8", algorithm, block.Type)
		}
		wantAlgorithm(t, algorithm, private)
	}
}

func wantAlgorithm(t *testing.T, algorithm string, key crypto.Signer) {
	t.Helper()
	got := ""
	switch key := key.(type) {
	case *rsa.PrivateKey:
		got = map[int]string{2048: "RSA2048", 3072: "RSA3072", 4096: "RSA4096"}[key.N.BitLen()]
	case *ecdsa.PrivateKey:
		got = map[string]string{"P-256": "ECDSA256", "P-384": "ECDSA384"}[key.Curve.Params().Name]
	case ed25519.PrivateKey:
		got = "Ed25519"
	}
	if got != algorithm {
		t.Errorf("got a key of %s, want %s", got, algorithm)
	}
}

func TestGeneratorsThatMakeNoSenseAreRefused(t *testing.T) {
	for what, generators := range map[string]map[string]v1alpha1.Generator{
		"too short":                 {"a": {Length: 15}},
		"too long":                  {"a": {Length: 1025}},
		"a negative length":         {"a": {Length: -1}},
		"an alphabet that is none":  {"a": {Charset: "Emoji"}},
		"an algorithm that is none": {"a": {PrivateKey: "DSA"}},
		"a key with a length":       {"a": {PrivateKey: "Ed25519", Length: 32}},
		"a name that is taken":      {"a": {PrivateKey: "Ed25519"}, "a.pub": {}},
		"an empty name":             {"": {}},
	} {
		if data, err := Generate(generators, nil); secrets.ReasonOf(err) != secrets.Misconfigured || data != nil {
			t.Errorf("%s: got %v and %v, want Misconfigured", what, data, err)
		}
	}
}

func TestWithoutRandomnessNothingIsGenerated(t *testing.T) {
	for what, random := range map[string]io.Reader{"none": bytes.NewReader(nil), "too little": bytes.NewReader(make([]byte, 40)), "a failure": failing{}} {
		if data, err := Generate(map[string]v1alpha1.Generator{"a": {}, "b": {}}, random); err == nil || data != nil {
			t.Errorf("%s: got %v and %v", what, data, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }
