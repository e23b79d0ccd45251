package content

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/secrets"
)

// The keys of the types (k8s.io/api/core/v1, Secret).
const (
	keyCertificate  = "tls.crt"
	keyPrivateKey   = "tls.key"
	keyAuthority    = "ca.crt"
	keyDockerConfig = ".dockerconfigjson"
	keyUsername     = "username"
	keyPassword     = "password"
	keySSH          = "ssh-privatekey"
)

// secretType is what a type of Secret asks for. Types that the API server fills in or that are of older formats are not made here.
type secretType struct {
	// lacks says which keys are missing, "" for none.
	lacks func(has func(key string) bool) string
	// complete makes keys of others, if that is clear, and checks them.
	complete func(secrets.Data) error
}

// secretTypes are all, by name. nil is for what asks for nothing.
var secretTypes = map[string]*secretType{
	"":                               nil,
	"Opaque":                         nil,
	"kubernetes.io/tls":              {lacksTLS, completeTLS},
	"kubernetes.io/dockerconfigjson": {lacksAll(keyDockerConfig), completeDockerConfig},
	"kubernetes.io/basic-auth":       {lacksBasicAuth, completeBasicAuth},
	"kubernetes.io/ssh-auth":         {lacksAll(keySSH), completeSSH},
}

var (
	lacksTLS       = lacksAll(keyCertificate, keyPrivateKey)
	lacksBasicAuth = lacksBoth(keyUsername, keyPassword)
)

func typeNames() map[string]bool {
	names := map[string]bool{}
	for name := range secretTypes {
		if name != "" {
			names[name] = true
		}
	}
	return names
}

func lacksAll(keys ...string) func(func(string) bool) string {
	return func(has func(string) bool) string {
		for _, key := range keys {
			if !has(key) {
				return strings.Join(keys, " and ")
			}
		}
		return ""
	}
}

// lacksBoth is for a type that is content with one of two keys.
func lacksBoth(one, other string) func(func(string) bool) string {
	return func(has func(string) bool) string {
		if has(one) || has(other) {
			return ""
		}
		return one + " or " + other
	}
}

func missing(data secrets.Data, format string, args ...any) error {
	return &secrets.Error{Reason: secrets.KeyMissing, Message: fmt.Sprintf(format, args...) + "; it has " + listed(data.Keys())}
}

func unfit(format string, args ...any) error {
	return &secrets.Error{Reason: secrets.Unfit, Message: fmt.Sprintf(format, args...)}
}

// listed says names of keys for people, not too many.
func listed(keys []string) string {
	const most = 12
	if len(keys) == 0 {
		return "none"
	}
	var named []string
	for _, key := range keys[:min(len(keys), most)] {
		named = append(named, printable(key))
	}
	text := strings.Join(named, ", ")
	if len(keys) > most {
		text += fmt.Sprintf(" and %d more", len(keys)-most)
	}
	return text
}

func has(data secrets.Data) func(string) bool {
	return func(key string) bool { _, ok := data[key]; return ok }
}

// drop takes keys out that others were made of.
func drop(data secrets.Data, keys ...string) {
	for _, key := range keys {
		if value, ok := data[key]; ok {
			value.Clear()
			delete(data, key)
		}
	}
}

// completeTLS takes what Vault's PKI engine calls certificate, private_key, ca_chain and issuing_ca, if tls.crt and tls.key are not there.
// The key has to be that of the first certificate: a pair that does not match stops every server that loads it.
func completeTLS(data secrets.Data) error {
	if has := has(data); !has(keyCertificate) && !has(keyPrivateKey) && has("certificate") && has("private_key") {
		chain := bytes.TrimSpace(data["certificate"].Reveal())
		if more, ok := data["ca_chain"]; ok {
			if more := bytes.TrimSpace(more.Reveal()); bytes.HasPrefix(more, []byte("-----BEGIN CERTIFICATE-----")) {
				chain = append(append(bytes.Clone(chain), '\n'), more...)
			}
		}
		data[keyCertificate] = secrets.NewValue(append(bytes.Clone(chain), '\n'))
		data[keyPrivateKey] = secrets.NewValue(bytes.Clone(data["private_key"].Reveal()))
		if authority, ok := data["issuing_ca"]; ok && !has(keyAuthority) {
			data[keyAuthority] = secrets.NewValue(bytes.Clone(authority.Reveal()))
		}
		drop(data, "certificate", "private_key", "ca_chain", "issuing_ca")
	}
	if lacking := lacksTLS(has(data)); lacking != "" {
		return missing(data, "kubernetes.io/tls needs %s, or certificate and private_key to make them of", lacking)
	}
	return matching(data[keyCertificate].Reveal(), data[keyPrivateKey].Reveal())
}

// matching says whether a key in PEM is that of the first certificate.
func matching(chain, key []byte) error {
	var leaf *x509.Certificate
	for rest := chain; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return unfit("tls.crt holds something that is not a certificate: put the private key into tls.key alone")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return unfit("tls.crt holds a certificate that cannot be read")
		}
		if leaf == nil {
			leaf = certificate
		}
	}
	if leaf == nil {
		return unfit("tls.crt holds no certificate in PEM")
	}
	private := privateKey(key)
	if private == nil {
		return unfit("tls.key holds no private key in PEM that can be read (PKCS #8, PKCS #1 or SEC 1, not encrypted)")
	}
	public, ok := private.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return unfit("tls.key is not the key of the first certificate in tls.crt")
	}
	return nil
}

// privateKey is the first private key in PEM, nil for none.
func privateKey(text []byte) crypto.Signer {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue // openssl writes EC PARAMETERS before it
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			signer, _ := key.(crypto.Signer)
			return signer
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key
		}
		return nil
	}
}

// completeDockerConfig makes one of registry, username, password and perhaps email, if there is none.
func completeDockerConfig(data secrets.Data) error {
	if has := has(data); !has(keyDockerConfig) {
		if !has("registry") || !has(keyUsername) || !has(keyPassword) {
			return missing(data, "kubernetes.io/dockerconfigjson needs %s, or registry, username and password to make it of", keyDockerConfig)
		}
		login := map[string]string{}
		for _, key := range []string{keyUsername, keyPassword, "email"} {
			if value, ok := data[key]; ok {
				if !utf8.Valid(value.Reveal()) {
					return unfit("%s is not UTF-8, which %s has to be", key, keyDockerConfig)
				}
				login[key] = string(value.Reveal())
			}
		}
		registry := string(data["registry"].Reveal())
		if registry == "" || !utf8.ValidString(registry) {
			return unfit("registry is not the name of one")
		}
		if strings.Contains(login[keyUsername], ":") { // RFC 7617: it ends there
			return unfit("username holds a colon, which is where a password begins")
		}
		login["auth"] = base64.StdEncoding.EncodeToString([]byte(login[keyUsername] + ":" + login[keyPassword]))
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(map[string]any{"auths": map[string]any{registry: login}}); err != nil {
			return unfit("%s cannot be written", keyDockerConfig)
		}
		drop(data, "registry", keyUsername, keyPassword, "email")
		data[keyDockerConfig] = secrets.NewValue(bytes.TrimSpace(text.Bytes()))
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(data[keyDockerConfig].Reveal(), &config); err != nil || config == nil {
		return unfit("%s is not a JSON object", keyDockerConfig)
	}
	if raw, ok := config["auths"]; ok {
		var auths map[string]json.RawMessage
		if err := json.Unmarshal(raw, &auths); err != nil {
			return unfit("auths of %s is not a JSON object", keyDockerConfig)
		}
	}
	return nil
}

func completeBasicAuth(data secrets.Data) error {
	if lacking := lacksBasicAuth(has(data)); lacking != "" {
		return missing(data, "kubernetes.io/basic-auth needs %s", lacking)
	}
	return nil
}

// completeSSH takes private_key, if ssh-privatekey is not there.
func completeSSH(data secrets.Data) error {
	if has := has(data); !has(keySSH) {
		if !has("private_key") {
			return missing(data, "kubernetes.io/ssh-auth needs %s, or private_key to make it of", keySSH)
		}
		data[keySSH] = secrets.NewValue(bytes.Clone(data["private_key"].Reveal()))
		drop(data, "private_key")
	}
	block, _ := pem.Decode(data[keySSH].Reveal())
	if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return unfit("%s holds no private key in PEM", keySSH)
	}
	return nil
}

// onlyPublicKeys holds what goes into a ConfigMap, which many may read, to public keys in PEM: before templates see it.
func onlyPublicKeys(source secrets.Data) error {
	for _, key := range source.Keys() {
		rest := source[key].Reveal()
		for number := 0; ; number++ {
			var block *pem.Block
			before := rest
			block, rest = pem.Decode(rest)
			if block == nil {
				if number == 0 || len(bytes.TrimSpace(before)) > 0 {
					return notPublic(key)
				}
				break
			}
			_, err := x509.ParsePKIXPublicKey(block.Bytes)
			if block.Type != "PUBLIC KEY" || err != nil || len(block.Headers) > 0 || !bytes.HasPrefix(bytes.TrimLeft(before, " \t\r\n"), []byte("-----BEGIN PUBLIC KEY-----")) {
				return notPublic(key)
			}
		}
	}
	return nil
}

func notPublic(key string) error {
	return &secrets.Error{Reason: secrets.Unfit, Doing: "making the content",
		Message: fmt.Sprintf("%s is not a public key in PEM, and nothing else goes into a ConfigMap: use the kind Secret", printable(key))}
}
