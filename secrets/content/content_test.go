package content

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// canary is in every value of these tests. It must never be in an error.
const canary = "c4n4ry-7f3a9c"

func data(pairs ...string) secrets.Data {
	d := secrets.Data{}
	for i := 0; i < len(pairs); i += 2 {
		d[pairs[i]] = secrets.ValueOf(pairs[i+1])
	}
	return d
}

// shown is what a test compares: only tests reveal like that.
func shown(d secrets.Data) map[string]string {
	if d == nil {
		return nil
	}
	texts := map[string]string{}
	for key, value := range d {
		texts[key] = string(value.Reveal())
	}
	return texts
}

// identity is a key in several formats with its certificate, and others that do not belong to it.
type identity struct {
	certificate, chain, authority, pkcs8, sec1, other, rsaPKCS1, rsaCertificate, ed25519, ed25519Certificate, public string
}

var identities = sync.OnceValue(func() identity {
	var of identity
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, NotAfter: time.Unix(1<<33, 0)}
	certify := func(public any) string {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: canary}, NotAfter: time.Unix(1<<33, 0)}
		der, err := x509.CreateCertificate(rand.Reader, leaf, authority, public, authorityKey)
		must(err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		must(err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	must(err)
	of.authority = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	of.certificate, of.pkcs8 = certify(key.Public()), pkcs8(key)
	of.chain = of.certificate + of.authority
	der, err = x509.MarshalECPrivateKey(key)
	must(err)
	of.sec1 = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	der, err = x509.MarshalPKIXPublicKey(key.Public())
	must(err)
	of.public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))

	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	of.other = pkcs8(other)
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	of.rsaCertificate, of.rsaPKCS1 = certify(big.Public()), string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(big)}))
	public, small, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	of.ed25519Certificate, of.ed25519 = certify(public), pkcs8(small)
	return of
})

// made is what Make should do: keys, or an error with a reason and words.
type made struct {
	source      secrets.Data
	destination v1alpha1.Destination
	want        map[string]string
	reason      secrets.Reason
	words       string
	// apart: refused here and taken by the API server, which looks less closely.
	apart bool
}

func contents() map[string]made {
	of := identities()
	tls, docker, basic, ssh := v1alpha1.Destination{Type: "kubernetes.io/tls"}, v1alpha1.Destination{Type: "kubernetes.io/dockerconfigjson"}, v1alpha1.Destination{Type: "kubernetes.io/basic-auth"}, v1alpha1.Destination{Type: "kubernetes.io/ssh-auth"}
	return map[string]made{
		"all keys as they are":     {source: data("username", "shop", "password", canary), want: map[string]string{"username": "shop", "password": canary}},
		"bytes that are no text":   {source: data("raw", "\x00\xff"+canary), want: map[string]string{"raw": "\x00\xff" + canary}},
		"an empty value":           {source: data("empty", ""), want: map[string]string{"empty": ""}},
		"no keys":                  {source: data(), reason: secrets.KeyMissing, words: "no keys", apart: true},
		"a key that no Secret has": {source: data("my key", canary), reason: secrets.Unfit, words: `"my key"`},
		"a key with two dots":      {source: data("..", canary), reason: secrets.Unfit, words: `".."`},
		"a very long key":          {source: data(strings.Repeat("k", 254), canary), reason: secrets.Unfit, words: "at most 253"},
		"exactly as much as fits":  {source: data("k", strings.Repeat("a", MaxSize-1)), want: map[string]string{"k": strings.Repeat("a", MaxSize-1)}},
		"more than fits":           {source: data("one", strings.Repeat("a", MaxSize/2), "two", strings.Repeat("b", MaxSize/2+1)), reason: secrets.Unfit, words: "at most 1048576"},
		"only the keys of templates": {source: data("username", "shop", "password", canary), destination: v1alpha1.Destination{Templates: map[string]string{"dsn": "postgres://{{.Data.username}}:{{urlescape .Data.password}}@db"}},
			want: map[string]string{"dsn": "postgres://shop:" + canary + "@db"}},
		"templates and what there was": {source: data("username", "shop", "password", canary), destination: v1alpha1.Destination{KeepSource: true, Templates: map[string]string{"username": "{{upper .Data.username}}"}},
			want: map[string]string{"username": "SHOP", "password": canary}},

		"a certificate and its key": {source: data("tls.crt", of.chain, "tls.key", of.pkcs8, "ca.crt", of.authority), destination: tls, want: map[string]string{"tls.crt": of.chain, "tls.key": of.pkcs8, "ca.crt": of.authority}},
		"a key of SEC 1":            {source: data("tls.crt", of.certificate, "tls.key", of.sec1), destination: tls, want: map[string]string{"tls.crt": of.certificate, "tls.key": of.sec1}},
		"a key of PKCS 1":           {source: data("tls.crt", of.rsaCertificate, "tls.key", of.rsaPKCS1), destination: tls, want: map[string]string{"tls.crt": of.rsaCertificate, "tls.key": of.rsaPKCS1}},
		"a key of Ed25519":          {source: data("tls.crt", of.ed25519Certificate, "tls.key", of.ed25519), destination: tls, want: map[string]string{"tls.crt": of.ed25519Certificate, "tls.key": of.ed25519}},
		"as the PKI engine names it": {source: data("certificate", of.certificate, "private_key", of.pkcs8, "issuing_ca", of.authority, "ca_chain", of.authority, "serial_number", "02"), destination: tls,
			want: map[string]string{"tls.crt": of.chain, "tls.key": of.pkcs8, "ca.crt": of.authority, "serial_number": "02"}},
		"a certificate without a key":      {source: data("tls.crt", of.certificate), destination: tls, reason: secrets.KeyMissing, words: "needs tls.crt and tls.key"},
		"neither":                          {source: data("username", canary), destination: tls, reason: secrets.KeyMissing, words: "it has username"},
		"a key of another certificate":     {source: data("tls.crt", of.certificate, "tls.key", of.other), destination: tls, reason: secrets.Unfit, words: "not the key of", apart: true},
		"a key of another kind":            {source: data("tls.crt", of.certificate, "tls.key", of.ed25519), destination: tls, reason: secrets.Unfit, words: "not the key of", apart: true},
		"a key that is none":               {source: data("tls.crt", of.certificate, "tls.key", canary), destination: tls, reason: secrets.Unfit, words: "no private key", apart: true},
		"a certificate that is none":       {source: data("tls.crt", canary, "tls.key", of.pkcs8), destination: tls, reason: secrets.Unfit, words: "no certificate", apart: true},
		"a certificate that is broken":     {source: data("tls.crt", "-----BEGIN CERTIFICATE-----\nYzRuNHJ5\n-----END CERTIFICATE-----\n", "tls.key", of.pkcs8), destination: tls, reason: secrets.Unfit, words: "cannot be read", apart: true},
		"the private key where all see it": {source: data("tls.crt", of.certificate+of.pkcs8, "tls.key", of.pkcs8), destination: tls, reason: secrets.Unfit, words: "is not a certificate", apart: true},
		"an authority before the leaf":     {source: data("tls.crt", of.authority+of.certificate, "tls.key", of.pkcs8), destination: tls, reason: secrets.Unfit, words: "first certificate", apart: true},

		"a docker config": {source: data(".dockerconfigjson", `{"auths":{"r.example":{"auth":"eDp5"}}}`), destination: docker, want: map[string]string{".dockerconfigjson": `{"auths":{"r.example":{"auth":"eDp5"}}}`}},
		"a login made into one": {source: data("registry", "r.example", "username", "bot", "password", canary+`"<`, "email", "a@b.example", "note", "kept"), destination: docker,
			want: map[string]string{".dockerconfigjson": `{"auths":{"r.example":{"auth":"Ym90OmM0bjRyeS03ZjNhOWMiPA==","email":"a@b.example","password":"` + canary + `\"<","username":"bot"}}}`, "note": "kept"}},
		"a login without a password":   {source: data("registry", "r.example", "username", canary), destination: docker, reason: secrets.KeyMissing, words: "registry, username and password"},
		"a docker config that is none": {source: data(".dockerconfigjson", canary), destination: docker, reason: secrets.Unfit, words: "not a JSON object"},
		"null for a docker config":     {source: data(".dockerconfigjson", "null"), destination: docker, reason: secrets.Unfit, words: "not a JSON object", apart: true},
		"logins that are a list":       {source: data(".dockerconfigjson", `{"auths":["`+canary+`"]}`), destination: docker, reason: secrets.Unfit, words: "auths", apart: true},
		"a user with a colon":          {source: data("registry", "r.example", "username", "a:"+canary, "password", "p"), destination: docker, reason: secrets.Unfit, words: "colon"},

		"a user and a password": {source: data("username", "shop", "password", canary), destination: basic, want: map[string]string{"username": "shop", "password": canary}},
		"only a password":       {source: data("password", canary), destination: basic, want: map[string]string{"password": canary}},
		"neither of the two":    {source: data("user", canary), destination: basic, reason: secrets.KeyMissing, words: "username or password"},

		"a key for SSH":                {source: data("ssh-privatekey", of.pkcs8, "known_hosts", "h"), destination: ssh, want: map[string]string{"ssh-privatekey": of.pkcs8, "known_hosts": "h"}},
		"a key for SSH under its name": {source: data("private_key", of.pkcs8), destination: ssh, want: map[string]string{"ssh-privatekey": of.pkcs8}},
		"no key for SSH":               {source: data("key", canary), destination: ssh, reason: secrets.KeyMissing, words: "ssh-privatekey"},
		"an empty key for SSH":         {source: data("ssh-privatekey", ""), destination: ssh, reason: secrets.Unfit, words: "no private key"},
		"a public key for SSH":         {source: data("ssh-privatekey", of.public), destination: ssh, reason: secrets.Unfit, words: "no private key", apart: true},
		"the type by templates": {source: data("c", of.certificate, "k", of.pkcs8), destination: v1alpha1.Destination{Type: "kubernetes.io/tls", Templates: map[string]string{"tls.crt": "{{.Data.c}}", "tls.key": "{{.Data.k}}"}},
			want: map[string]string{"tls.crt": of.certificate, "tls.key": of.pkcs8}},
	}
}

func TestContentsAreMadeOrRefusedWithTheirReason(t *testing.T) {
	for name, test := range contents() {
		t.Run(name, func(t *testing.T) {
			before := shown(test.source)
			got, err := Make(t.Context(), test.source, &test.destination)
			if !maps.Equal(shown(got), test.want) {
				t.Errorf("got %q, want %q", shown(got), test.want)
			}
			wantFailure(t, err, test.reason, test.words)
			if !maps.Equal(shown(test.source), before) {
				t.Errorf("the source is now %q, was %q", shown(test.source), before)
			}
			test.source.Clear()
			if err == nil && !maps.Equal(shown(got), test.want) {
				t.Error("what was made changes when the source is dropped")
			}
		})
	}
}

func wantFailure(t *testing.T, err error, reason secrets.Reason, words string) {
	t.Helper()
	if reason == "" {
		if err != nil {
			t.Errorf("got the error %v, want none", err)
		}
		return
	}
	var failed *secrets.Error
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want a *secrets.Error with the reason %s", err, reason)
	}
	if failed.Reason != reason || !strings.Contains(failed.Error(), words) || failed.Doing == "" {
		t.Errorf("got %s, %q (doing %q), want %s and %q", failed.Reason, failed.Error(), failed.Doing, reason, words)
	}
	if strings.Contains(failed.Error(), canary) {
		t.Errorf("a value is in the error %q", failed.Error())
	}
}

func TestTypesThatOthersFillInAreNotMade(t *testing.T) {
	for _, kind := range []string{"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "kubernetes.io/dockercfg", "helm.sh/release.v1", "opaque"} {
		destination := &v1alpha1.Destination{Type: kind}
		wantFailure(t, Check(destination), secrets.Misconfigured, kind)
		_, err := Make(t.Context(), data("k", canary), destination)
		wantFailure(t, err, secrets.Misconfigured, "Opaque, kubernetes.io/basic-auth")
	}
}

func TestATypeIsMissedBeforeVaultIsAskedWhereTemplatesCannotMakeIt(t *testing.T) {
	destination := &v1alpha1.Destination{Type: "kubernetes.io/tls", Templates: map[string]string{"tls.crt": "x"}}
	wantFailure(t, Check(destination), secrets.Misconfigured, "tls.crt and tls.key")
	destination.KeepSource = true
	wantFailure(t, Check(destination), "", "")
	destination = &v1alpha1.Destination{Templates: map[string]string{"a/b": "x"}}
	wantFailure(t, Check(destination), secrets.Misconfigured, `"a/b"`)
	destination = &v1alpha1.Destination{Templates: map[string]string{}}
	for i := range MaxTemplates + 1 {
		destination.Templates[strings.Repeat("k", i+1)] = ""
	}
	wantFailure(t, Check(destination), secrets.Misconfigured, "at most 64")
	destination.Templates = map[string]string{}
	for i := range 5 {
		destination.Templates[strings.Repeat("k", i+1)] = strings.Repeat("x", MaxTemplate)
	}
	wantFailure(t, Check(destination), secrets.Misconfigured, "more than 262144 bytes")
	wantFailure(t, Check(&v1alpha1.Destination{Kind: "Deployment"}), secrets.Misconfigured, "Secret or ConfigMap")
}

// A ConfigMap is read by many who may not read Secrets. The schema asks for transit.publicKeys; this is the second lock.
func TestNothingButPublicKeysGoesIntoAConfigMap(t *testing.T) {
	of := identities()
	destination := v1alpha1.Destination{Kind: v1alpha1.KindConfigMap}
	got, err := Make(t.Context(), data("cosign.pem", of.public, "all", of.public+of.public), &destination)
	if want := map[string]string{"cosign.pem": of.public, "all": of.public + of.public}; err != nil || !maps.Equal(shown(got), want) {
		t.Errorf("got %q and %v, want %q", shown(got), err, want)
	}
	templated := destination
	templated.Templates = map[string]string{"keys.yaml": "key: {{quote (index .Data \"cosign.pem\")}}\n"}
	if got, err := Make(t.Context(), data("cosign.pem", of.public), &templated); err != nil || !strings.HasPrefix(shown(got)["keys.yaml"], `key: "-----BEGIN PUBLIC KEY-----\n`) {
		t.Errorf("got %q and %v, want a public key in YAML", shown(got), err)
	}
	headed := strings.Replace(of.public, "-----BEGIN PUBLIC KEY-----\n", "-----BEGIN PUBLIC KEY-----\nNote: "+canary+"\n\n", 1)
	for name, value := range map[string]string{
		"a password": canary, "nothing": "", "a private key": of.pkcs8, "a certificate": of.certificate, "a password before a key": canary + "\n" + of.public,
		"a password after a key": of.public + canary, "a password between keys": of.public + canary + "\n" + of.public, "a password in a header": headed,
		"a password as a key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte(canary)})),
	} {
		for _, destination := range []v1alpha1.Destination{destination, templated} {
			got, err := Make(t.Context(), data("cosign.pem", of.public, "z", value), &destination)
			if got != nil {
				t.Errorf("%s is written to a ConfigMap", name)
			}
			wantFailure(t, err, secrets.Unfit, "z is not a public key")
		}
	}
	destination.Type = "kubernetes.io/tls"
	wantFailure(t, Check(&destination), secrets.Misconfigured, "no type")
}

// external-secrets #1049: an ExternalSecret was Synced though the secret lacked the key that it asked for.
func TestIssue1049NothingIsMadeWhereAKeyIsMissing(t *testing.T) {
	for _, text := range []string{"{{.Data.passwort}}", `{{index .Data "passwort"}}`, `{{with .Data.passwort}}x{{end}}`, `{{if .Data.passwort}}x{{end}}`, `{{default "none" .Data.passwort}}`, `{{.Data.passwort | quote}}`} {
		got, err := Make(t.Context(), data("password", canary), &v1alpha1.Destination{KeepSource: true, Templates: map[string]string{"conf": "user=shop\n" + text}})
		if got != nil {
			t.Errorf("%s makes %q, want nothing", text, shown(got))
		}
		wantFailure(t, err, secrets.KeyMissing, "template conf: line 2: there is no key passwort")
	}
	got, err := Make(t.Context(), data("password", canary), &v1alpha1.Destination{Templates: map[string]string{"conf": `{{if hasKey .Data "passwort"}}{{.Data.passwort}}{{else}}none{{end}}`}})
	if want := "none"; err != nil || shown(got)["conf"] != want {
		t.Errorf("got %q and %v, want %q for one who asks first", shown(got), err, want)
	}
}

// external-secrets #3210: a template that failed made an empty or half a Secret, without a word.
func TestIssue3210ATemplateThatFailsMakesNothingAndSaysSo(t *testing.T) {
	for _, text := range []string{"{{b64dec .Data.password}}", "{{fromJSON .Data.password}}", "{{nil | print}}", "{{.Data}}", "{{.Keys}}", "{{printf \"%d\" .Data.password}}", "{{printf \"%s\"}}",
		"{{index .Keys 7}}", "{{range .Data.password}}{{end}}", "{{.Data.password.inner}}", "{{(fromJSON \"null\")}}", "{{indent 2 3}}", "{{lt 1 \"a\"}}"} {
		got, err := Make(t.Context(), data("password", canary), &v1alpha1.Destination{KeepSource: true, Templates: map[string]string{"a": "good", "b": "begun " + text}})
		if got != nil {
			t.Errorf("%s makes %q, want nothing", text, shown(got))
		}
		wantFailure(t, err, secrets.TemplateFailed, "template b: line 1: ")
	}
}

func TestWhatWasStoppedSaysSo(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := Make(ctx, data("k", canary), &v1alpha1.Destination{Templates: map[string]string{"a": strings.Repeat("{{.Data.k}}", 100)}})
	wantFailure(t, err, secrets.TemplateFailed, "stopped")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it to be a cancelled context's", err)
	}
}

func TestKeysAreNamedInMessagesAndNotTooMany(t *testing.T) {
	many := secrets.Data{}
	for i := range 40 {
		many["key-"+string(rune('a'+i/10))+string(rune('0'+i%10))] = secrets.ValueOf(canary)
	}
	many[strings.Repeat("a", 200)] = secrets.ValueOf(canary)
	_, err := Make(t.Context(), many, &v1alpha1.Destination{Type: "kubernetes.io/basic-auth"})
	wantFailure(t, err, secrets.KeyMissing, "and 29 more")
	if len(err.Error()) > 500 {
		t.Errorf("the message has %d bytes", len(err.Error()))
	}
}

// What is written for docker is what docker reads.
func TestALoginIsWhatDockerReads(t *testing.T) {
	got, err := Make(t.Context(), data("registry", "r.example", "username", "bot", "password", "a:b\u2028"), &v1alpha1.Destination{Type: "kubernetes.io/dockerconfigjson"})
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Auths map[string]struct {
			Username, Password string
			Auth               []byte
		}
	}
	if err := json.Unmarshal(got[".dockerconfigjson"].Reveal(), &config); err != nil {
		t.Fatal(err)
	}
	if login := config.Auths["r.example"]; login.Username != "bot" || login.Password != "a:b\u2028" || !bytes.Equal(login.Auth, []byte("bot:a:b\u2028")) {
		t.Errorf("got %+v, want bot and its password, in both forms", login)
	}
	if keys := got.Keys(); !slices.Equal(keys, []string{".dockerconfigjson"}) {
		t.Errorf("got the keys %q, want one: the others are in it", keys)
	}
}
