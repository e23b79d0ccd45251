package supportbundle

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestNothingOfAnObjectTellsASecret(t *testing.T) {
	for name, object := range map[string]string{
		"a variable, whatever it is called":   `{"kind":"Pod","spec":{"containers":[{"env":[{"name":"COLOUR","value":"canary-1234"}]}]}}`,
		"a variable in a template":            `{"kind":"Deployment","spec":{"template":{"spec":{"initContainers":[{"env":[{"name":"DB_PASSWORD","value":"canary-1234"}]}]}}}}`,
		"an annotation":                       `{"kind":"Pod","metadata":{"annotations":{"example.com/note":"canary-1234"}}}`,
		"what kubectl apply has left":         `{"kind":"Pod","metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"password\":\"canary-1234\"}"}}}`,
		"an annotation of a template":         `{"kind":"Deployment","spec":{"template":{"metadata":{"annotations":{"vault.example.com/token":"canary-1234"}}}}}`,
		"data, as Secrets have it":            `{"kind":"Secret","data":{"key":"canary-1234"},"stringData":{"k":"canary-1234"}}`,
		"a flag of a command":                 `{"kind":"Pod","spec":{"containers":[{"args":["--password","canary-1234"]}]}}`,
		"a flag with its value":               `{"kind":"Pod","spec":{"containers":[{"command":["app","--api-token=canary-1234"]}]}}`,
		"a message of a status":               `{"kind":"VaultSecret","status":{"conditions":[{"message":"login failed: password=canary-1234"}]}}`,
		"a bearer token in an event":          `{"kind":"Event","message":"GET failed: Authorization: Bearer canary-1234-abcdef"}`,
		"a password in a URL":                 `{"kind":"PolicyBundle","spec":{"source":{"git":{"url":"https://ann:canary-1234@git.example.com/p"}}}}`,
		"the secret path of the webhook":      `{"kind":"ValidatingWebhookConfiguration","webhooks":[{"clientConfig":{"service":{"name":"w","namespace":"n","path":"/canary-1234/validate"}}}]}`,
		"the secret path in a URL":            `{"kind":"MutatingWebhookConfiguration","webhooks":[{"clientConfig":{"url":"https://w.example:8443/canary-1234/mutate"}}],"message":"POST https://w.example:8443/canary-1234/mutate failed"}`,
		"managed fields":                      `{"kind":"Pod","metadata":{"managedFields":[{"fieldsV1":{"canary-1234":{}}}]}}`,
		"the data of a revision of a bundle":  `{"kind":"PolicyRevision","spec":{"data":"canary-1234"}}`,
		"a variable said again in a message":  `{"kind":"Pod","spec":{"containers":[{"env":[{"name":"API_KEY","value":"canary-1234"}]}]},"status":{"message":"cannot use canary-1234"}}`,
		"a variable said again, with a quote": `{"kind":"Pod","spec":{"containers":[{"env":[{"name":"API_KEY","value":"canary-1234\"x"}]}]},"status":{"message":"cannot use canary-1234\"x"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var value map[string]any
			if err := json.Unmarshal([]byte(object), &value); err != nil {
				t.Fatal(err)
			}
			c := &cleaner{}
			written, err := c.document(c.object(value))
			if err != nil {
				t.Fatal(err)
			}
			if written = c.scrub(written); strings.Contains(string(written), "canary-1234") {
				t.Errorf("it is still there:\n%s", written)
			}
			if strings.Contains(object, "managedFields") || strings.Contains(object, "PolicyRevision") {
				return // left out, not replaced
			}
			if c.replaced == 0 {
				t.Error("got nothing replaced, want it counted")
			}
		})
	}
}

func TestWhatHelpsStays(t *testing.T) {
	object := `{"kind":"Deployment","metadata":{"name":"web","annotations":{"deployment.kubernetes.io/revision":"7"}},"spec":{"replicas":2,"template":{"spec":{"containers":[{"image":"ghcr.io/acme/web:1","args":["--probes=:8081"],"env":[{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"name":"db","key":"password"}}}]}]}}}}`
	var value map[string]any
	if err := json.Unmarshal([]byte(object), &value); err != nil {
		t.Fatal(err)
	}
	c := &cleaner{}
	written, err := c.document(c.object(value))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"deployment.kubernetes.io/revision": "7"`, `"replicas": 2`, `"ghcr.io/acme/web:1"`, `"--probes=:8081"`, `"secretKeyRef"`, `"name": "db"`} {
		if !strings.Contains(string(written), want) {
			t.Errorf("got no %s in:\n%s", want, written)
		}
	}
}

func TestTooMuchIsCutAndSaidToBe(t *testing.T) {
	for name, newest := range map[string]bool{"a log keeps its end": true, "another file keeps its beginning": false} {
		t.Run(name, func(t *testing.T) {
			content := append([]byte("first"), make([]byte, MaxFile)...)
			content = append(content, "last"...)
			got := string(bounded(content, newest))
			if len(got) != MaxFile || strings.HasSuffix(got, "last") != newest || strings.HasPrefix(got, "first") == newest {
				t.Errorf("got %d bytes from %q to %q", len(got), got[:5], got[len(got)-4:])
			}
		})
	}
}
