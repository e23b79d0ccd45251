package notify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another"}, NotBefore: noon, NotAfter: noon.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestMistakesInTheConfigurationAreSaid(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for name, test := range map[string]struct {
		config string
		want   []string
	}{
		"nothing":                        {``, []string{"there are no receivers"}},
		"no receivers":                   {`receivers: []`, []string{"there are no receivers"}},
		"an unknown field":               {`{receivers: [{name: a, slack: {urlEnv: HOOK, channel: x}}]}`, []string{"channel"}},
		"a field in another case":        {`{Receivers: [{name: a, events: {}}]}`, []string{"Receivers"}},
		"a field that is there twice":    {"receivers: []\nreceivers: [{name: a, events: {}}]", []string{"receivers"}},
		"no receiver of an entry":        {`receivers: [{name: a}]`, []string{"receivers[0]: 0 of events, alertmanager, slack and cloudEvents are there: give one"}},
		"two receivers in an entry":      {`receivers: [{name: a, events: {}, slack: {urlEnv: HOOK}}]`, []string{"2 of events"}},
		"a name twice":                   {`receivers: [{name: a, events: {}}, {name: a, events: {}}]`, []string{`receivers[1]: the name "a" is taken`}},
		"no name":                        {`receivers: [{events: {}}]`, []string{"use lower-case letters"}},
		"a name for a terminal":          {`receivers: [{name: "a\e[31m", events: {}}]`, []string{"use lower-case letters"}},
		"an unknown severity":            {`receivers: [{name: a, events: {}, severity: apocalyptic}]`, []string{"use one of critical, high, medium, low"}},
		"an unknown kind":                {`receivers: [{name: a, events: {}, kinds: [Contained, Exploded]}]`, []string{`there is no "Exploded"`}},
		"a label that is none":           {`receivers: [{name: a, alertmanager: {url: "https://x", labels: {"a-b": c}}}]`, []string{`"a-b" is no name of a label`}},
		"an unknown mode":                {`receivers: [{name: a, cloudEvents: {url: "https://x", mode: batch}}]`, []string{"use structured or binary"}},
		"url and urls":                   {`receivers: [{name: a, alertmanager: {url: "https://x", urls: ["https://y"]}}]`, []string{"urls and url contradict"}},
		"several mistakes, all of them":  {`receivers: [{name: A, severity: x, kinds: [z]}]`, []string{"name", "severity", "kinds", "give one"}},
		"no address":                     {`receivers: [{name: a, slack: {}}]`, []string{"the receiver a of notifications", "give url, urlFile or urlEnv"}},
		"an address in two ways":         {`receivers: [{name: a, slack: {url: "https://x", urlEnv: HOOK}}]`, []string{"url is given in several ways"}},
		"what is no address":             {`receivers: [{name: a, slack: {url: "ftp://x"}}]`, []string{"url is no address"}},
		"an address that cannot be read": {`receivers: [{name: a, slack: {url: "https://x y/%"}}]`, []string{"url is no address"}},
		"without encryption":             {`receivers: [{name: a, slack: {url: "http://x"}}]`, []string{"url is not encrypted", "plainHTTP"}},
		"a password in the address":      {`receivers: [{name: a, slack: {url: "https://ann:hunter2@x"}}]`, []string{"url has a user"}},
		"a variable that is not set":     {`receivers: [{name: a, slack: {urlEnv: NOWHERE}}]`, []string{"the variable NOWHERE is not set", "urlFile"}},
		"a file that is not there":       {`receivers: [{name: a, slack: {urlFile: "` + missing + `"}}]`, []string{"reading url", "missing"}},
		"a username alone":               {`receivers: [{name: a, slack: {url: "https://x", username: ann}}]`, []string{"username and a password belong together"}},
		"a certificate without its key":  {`receivers: [{name: a, slack: {url: "https://x", certFile: c.pem}}]`, []string{"certFile and keyFile belong together"}},
		"a token and a password":         {`receivers: [{name: a, slack: {url: "https://x", username: ann, passwordEnv: HOOK, tokenEnv: HOOK}}]`, []string{"a token and a password contradict"}},
		"authorities that are not there": {`receivers: [{name: a, slack: {url: "https://x", caFile: "` + missing + `"}}]`, []string{"reading caFile"}},
		"an inline token":                {`receivers: [{name: a, slack: {url: "https://x", token: s3cr3t}}]`, []string{"token"}},
		"Events without a cluster":       {`receivers: [{name: a, events: {}}]`, []string{"events needs a cluster"}},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := ReadConfig([]byte(test.config))
			if err == nil {
				_, err = config.Routes(Surroundings{Environment: func(name string) (string, bool) { return "https://hook.example", name == "HOOK" }})
			}
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("got %v, which says a secret", err)
			}
		})
	}
}

func TestTheExampleOfTheGuideIsOne(t *testing.T) {
	content, err := os.ReadFile("../../docs/notify/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config, err := ReadConfig(content)
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Receivers) != 4 {
		t.Errorf("got %d receivers, want one of each kind", len(config.Receivers))
	}
}

func FuzzReadConfig(f *testing.F) {
	for _, seed := range []string{
		"receivers: [{name: a, events: {}}]", "cluster: c\nreceivers:\n  - name: b\n    severity: high\n    kinds: [Released]\n    slack: {urlEnv: HOOK}\n",
		`receivers: [{name: a, alertmanager: {urls: ["https://x"], labels: {a: b}}}]`, "receivers: &a [*a]", "{", "receivers: [{name: a, cloudEvents: {url: 'https://x', mode: binary}}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		config, err := ReadConfig(content)
		if err != nil {
			return
		}
		for _, r := range config.Receivers {
			if !receiverName.MatchString(r.Name) {
				t.Errorf("got the name %q", r.Name)
			}
		}
	})
}
