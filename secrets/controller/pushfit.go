package controller

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// fits says whether a value is one that a generator would make, so that it is kept: a generator that is added beside others must not change theirs,
// and one that is changed must have an effect.
func fits(data secrets.Data, key string, generator *v1alpha1.Generator) bool {
	value, ok := data[key]
	if !ok || value.Len() == 0 {
		return false
	}
	if generator.PrivateKey != "" {
		public, ok := data[key+".pub"]
		return ok && public.Len() > 0 && algorithmOf(value) == generator.PrivateKey
	}
	if int64(value.Len()) != generator.Length {
		return false
	}
	for _, b := range value.Reveal() {
		if !inCharset(b, generator.Charset) {
			return false
		}
	}
	return true
}

func inCharset(b byte, charset string) bool {
	digit, lower, upper := '0' <= b && b <= '9', 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z'
	switch charset {
	case v1alpha1.CharsetHex:
		return digit || 'a' <= b && b <= 'f'
	case v1alpha1.CharsetASCII:
		return '!' <= b && b <= '~'
	case v1alpha1.CharsetBase64URL:
		return digit || lower || upper || strings.IndexByte("-_", b) >= 0
	}
	return digit || lower || upper
}

// algorithmOf is that of a private key in PKCS #8, "" for what is none.
func algorithmOf(value secrets.Value) string {
	block, _ := pem.Decode(value.Reveal())
	if block == nil {
		return ""
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return ""
	}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return "Ed25519"
	case *ecdsa.PrivateKey:
		return map[int]string{256: "ECDSA256", 384: "ECDSA384"}[key.Params().BitSize]
	case *rsa.PrivateKey:
		return map[int]string{2048: "RSA2048", 3072: "RSA3072", 4096: "RSA4096"}[key.N.BitLen()]
	}
	return ""
}
