package engine

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func encrypt(t testing.TB, key, context string, plain []byte) string {
	t.Helper()
	answer := write(t, "transit/encrypt/"+key, map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain), "context": context})
	return answer.Data["ciphertext"].(string)
}

func TestCiphertextsAreDecrypted(t *testing.T) {
	caller := login(t, "engine")
	write(t, "transit/keys/shop", nil)
	write(t, "transit/keys/derived", map[string]any{"derived": true})
	context := base64.StdEncoding.EncodeToString([]byte("shop/db"))
	binary := []byte{0, 0xff, 0xfe, '\n', 0x80}
	for what, test := range map[string]struct {
		source v1alpha1.TransitSource
		want   map[string]string
	}{
		"one":                 {v1alpha1.TransitSource{Key: "shop", Ciphertexts: map[string]string{"password": encrypt(t, "shop", "", []byte("correct horse"))}}, map[string]string{"password": "correct horse"}},
		"several in one call": {v1alpha1.TransitSource{Mount: "transit", Key: "shop", Ciphertexts: map[string]string{"b": encrypt(t, "shop", "", []byte("bee")), "a": encrypt(t, "shop", "", binary), "c": encrypt(t, "shop", "", nil)}}, map[string]string{"a": string(binary), "b": "bee", "c": ""}},
		"of a derived key":    {v1alpha1.TransitSource{Key: "derived", Context: context, Ciphertexts: map[string]string{"a": encrypt(t, "derived", context, []byte("x")), "b": encrypt(t, "derived", context, []byte("y"))}}, map[string]string{"a": "x", "b": "y"}},
	} {
		result := read(t, caller, &v1alpha1.Source{Transit: &test.source})
		got := texts(result.Data)
		if fmt.Sprint(got) != fmt.Sprint(test.want) || result.Lease != nil || result.Version != "" {
			t.Errorf("%s: got %q, want %q", what, got, test.want)
		}
	}
}

func TestACiphertextThatDoesNotDecryptIsNamed(t *testing.T) {
	caller := login(t, "engine")
	const canary = "canary-plaintext-44d1"
	for _, key := range []string{"named", "stranger"} {
		write(t, "transit/keys/"+key, nil)
	}
	write(t, "transit/keys/bound", map[string]any{"derived": true})
	good, foreign := encrypt(t, "named", "", []byte(canary)), encrypt(t, "stranger", "", []byte(canary))
	context, other := base64.StdEncoding.EncodeToString([]byte("a")), base64.StdEncoding.EncodeToString([]byte("b"))
	for what, test := range map[string]v1alpha1.TransitSource{
		"alone":                 {Key: "named", Ciphertexts: map[string]string{"bad-one": foreign}},
		"among others":          {Key: "named", Ciphertexts: map[string]string{"a": good, "bad-one": foreign, "c": good}},
		"that is damaged":       {Key: "named", Ciphertexts: map[string]string{"a": good, "bad-one": good[:len(good)-8] + "AAAAAAA="}},
		"that is no base64":     {Key: "named", Ciphertexts: map[string]string{"a": good, "bad-one": "vault:v1:!"}},
		"of a version to come":  {Key: "named", Ciphertexts: map[string]string{"a": good, "bad-one": strings.Replace(good, "v1", "v9", 1)}},
		"of a version that ran": {Key: "aged", Ciphertexts: map[string]string{"bad-one": aged(t)}},
		"of another context":    {Key: "bound", Context: other, Ciphertexts: map[string]string{"bad-one": encrypt(t, "bound", context, []byte(canary))}},
	} {
		_, err := Read(t.Context(), caller, &v1alpha1.Source{Transit: &test}, Options{})
		want(t, what, err, secrets.Refused, canary, base64.StdEncoding.EncodeToString([]byte(canary)))
		if err != nil && !strings.Contains(err.Error(), `"bad-one"`) {
			t.Errorf("%s: %q does not name it", what, err)
		}
	}
}

// aged is a ciphertext of a version that may not decrypt any more.
func aged(t *testing.T) string {
	write(t, "transit/keys/aged", nil)
	old := encrypt(t, "aged", "", []byte("x"))
	write(t, "transit/keys/aged/rotate", nil)
	write(t, "transit/keys/aged/config", map[string]any{"min_decryption_version": 2})
	return old
}

func TestPublicKeysVerifyWhatVaultSigns(t *testing.T) {
	caller := login(t, "engine")
	message := []byte("sha256:5f1d…")
	digest := sha256.Sum256(message)
	for kind, verify := range map[string]func(key crypto.PublicKey, signature []byte) bool{
		"rsa-2048": func(key crypto.PublicKey, signature []byte) bool {
			public, ok := key.(*rsa.PublicKey)
			return ok && rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, nil) == nil
		},
		"ecdsa-p256": func(key crypto.PublicKey, signature []byte) bool {
			public, ok := key.(*ecdsa.PublicKey)
			return ok && ecdsa.VerifyASN1(public, digest[:], signature)
		},
		"ed25519": func(key crypto.PublicKey, signature []byte) bool {
			public, ok := key.(ed25519.PublicKey)
			return ok && ed25519.Verify(public, message, signature)
		},
	} {
		t.Run(kind, func(t *testing.T) {
			name := "sign-" + kind
			write(t, "transit/keys/"+name, map[string]any{"type": kind})
			for range 3 { // four versions
				write(t, "transit/keys/"+name+"/rotate", nil)
			}
			write(t, "transit/keys/"+name+"/config", map[string]any{"min_decryption_version": 2})
			result := read(t, caller, &v1alpha1.Source{Transit: &v1alpha1.TransitSource{Key: name, PublicKeys: true}})
			if got, want := result.Data.Keys(), []string{name + "-v2.pem", name + "-v3.pem", name + "-v4.pem", name + ".pem"}; !slices.Equal(got, want) {
				t.Fatalf("got %v, want %v", got, want)
			}
			if result.Number != 4 || result.Version != "4" || time.Since(result.Created) > 10*time.Minute || result.Lease != nil {
				t.Errorf("got %+v", result)
			}
			if !result.Data[name+".pem"].Equal(result.Data[name+"-v4.pem"]) || result.Data[name+"-v3.pem"].Equal(result.Data[name+"-v4.pem"]) {
				t.Error("the latest key is not that of version 4")
			}
			signed := write(t, "transit/sign/"+name, map[string]any{"input": base64.StdEncoding.EncodeToString(message), "key_version": 3, "hash_algorithm": "sha2-256"})
			parts := strings.Split(signed.Data["signature"].(string), ":")
			signature, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
			must(t, err)
			for version, want := range map[string]bool{"-v2": false, "-v3": true, "": false} {
				text := string(result.Data[name+version+".pem"].Reveal())
				if !strings.HasPrefix(text, "-----BEGIN PUBLIC KEY-----\n") {
					t.Errorf("%s is not PKIX in PEM", name+version)
				}
				key, err := parsePublicKey(text)
				must(t, err)
				if verify(key, signature) != want {
					t.Errorf("a signature of version 3 by the key %s: want %v", name+version, want)
				}
			}
		})
	}
}

func TestAKeyWithoutAPublicHalfIsMisconfigured(t *testing.T) {
	caller := login(t, "engine")
	write(t, "transit/keys/symmetric", nil)
	write(t, "transit/keys/derived-signing", map[string]any{"type": "ed25519", "derived": true})
	for what, test := range map[string]struct {
		source v1alpha1.TransitSource
		want   secrets.Reason
	}{
		"a symmetric key":              {v1alpha1.TransitSource{Key: "symmetric", PublicKeys: true}, secrets.Misconfigured},
		"a derived one, no context":    {v1alpha1.TransitSource{Key: "derived-signing", PublicKeys: true}, secrets.Misconfigured},
		"a derived one with a context": {v1alpha1.TransitSource{Key: "derived-signing", PublicKeys: true, Context: "c2hvcA=="}, ""},
		"a key that is not there":      {v1alpha1.TransitSource{Key: "nothing", PublicKeys: true}, secrets.NotFound},
	} {
		_, err := Read(t.Context(), caller, &v1alpha1.Source{Transit: &test.source}, Options{})
		want(t, what, err, test.want)
	}
}

// Vault leaves such versions out itself; whatever stands before it may not.
func TestVersionsThatDoNotCountAreNotPublished(t *testing.T) {
	source := goodSources()["public keys"]
	one := map[string]any{"public_key": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "creation_time": "2026-11-01T12:00:00Z"}
	answer := map[string]any{"latest_version": float64(3), "min_decryption_version": float64(2), "keys": map[string]any{"1": one, "2": one, "3": one, "4": one}}
	result := read(t, answering(t, source, &secrets.Reply{Data: answer}), source)
	if got, want := result.Data.Keys(), []string{"shop-v2.pem", "shop-v3.pem", "shop.pem"}; !slices.Equal(got, want) || result.Number != 3 {
		t.Errorf("got %v of version %d, want %v", got, result.Number, want)
	}
}
