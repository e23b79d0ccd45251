package content

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// FuzzTemplate has any text evaluated. It ends within its bounds, without a panic, quotes no value, and where it makes something, Go's own templates
// make the same.
func FuzzTemplate(f *testing.F) {
	for _, text := range templatesOfCorpus(f) {
		f.Add(text, "user")
	}
	for _, text := range hungry() {
		if len(text) < 4096 {
			f.Add(text, strings.Repeat("a", 100))
		}
	}
	f.Add(`{{index .Data .Data.password}}`, "x")
	f.Add(`{{printf "%+q|% x|%#v" .Data.fuzz .Data.fuzz 1}}`, "\xff\u2028")
	f.Fuzz(func(t *testing.T, text, value string) {
		source := sample()
		source["fuzz"] = secrets.ValueOf(value)
		begun := time.Now()
		got, err := render(t.Context(), text, source)
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("it took %s", took)
		}
		if len(got) > MaxSize {
			t.Errorf("it makes %d bytes", len(got))
		}
		if err != nil {
			wantNoValues(t, err, text)
			return
		}
		want, wantErr := goRender(text, source, goFunctions())
		if wantErr != nil || got != want {
			t.Errorf("%q makes %q, and in Go %q and %v", text, got, want, wantErr)
		}
	})
}

// wantNoValues holds an error to its reasons and to silence about values. What a template says itself may be said of it.
func wantNoValues(t *testing.T, err error, template string) {
	t.Helper()
	var failed *secrets.Error
	if !errors.As(err, &failed) {
		t.Fatalf("got the error %v, want a *secrets.Error", err)
	}
	switch failed.Reason {
	case secrets.Misconfigured, secrets.TemplateFailed, secrets.KeyMissing, secrets.Unfit:
	default:
		t.Errorf("the reason is %s", failed.Reason)
	}
	if strings.Contains(failed.Error(), "7f3a9c") && !strings.Contains(template, "7f3a9c") {
		t.Errorf("a value is in the error %q", failed.Error())
	}
	if len(failed.Error()) > 2048 {
		t.Errorf("the error has %d bytes", len(failed.Error()))
	}
}

// FuzzContent has any values made into any type: what comes out is what an API server takes, and errors quote no value.
func FuzzContent(f *testing.F) {
	of := identities()
	for kind := range secretTypes {
		f.Add(kind, "tls.crt", []byte(of.certificate), "tls.key", []byte(of.pkcs8), false)
		f.Add(kind, "certificate", []byte(of.rsaCertificate), "private_key", []byte(of.rsaPKCS1), true)
		f.Add(kind, ".dockerconfigjson", []byte(`{"auths":{}}`), "registry", []byte("r"), false)
		f.Add(kind, "username", []byte("u"), "password", []byte("p"), true)
	}
	f.Add("", "a b", []byte{0xff}, "..", []byte(of.public), false)
	f.Add("ConfigMap", "a.pem", []byte(of.public), "b.pem", []byte(of.public+"x"), false)
	f.Fuzz(func(t *testing.T, kind, key1 string, value1 []byte, key2 string, value2 []byte, keep bool) {
		source := data(key1, string(value1), key2, string(value2), "registry", canary)
		destination := v1alpha1.Destination{Type: kind, KeepSource: keep}
		if keep {
			destination.Templates = map[string]string{"made": "{{range $k, $v := .Data}}{{$k}}={{b64enc $v}}\n{{end}}"}
		}
		if kind == v1alpha1.KindConfigMap {
			destination.Kind, destination.Type = kind, ""
			delete(source, "registry")
		}
		before := shown(source)
		got, err := Make(context.Background(), source, &destination)
		if !maps.Equal(before, shown(source)) {
			t.Error("the source is not as it was")
		}
		if err != nil {
			if got != nil {
				t.Error("there is a content beside the error")
			}
			if strings.Contains(err.Error(), canary) && !strings.Contains(key1+key2+kind, canary) {
				t.Errorf("a value is in the error %q", err)
			}
			return
		}
		acceptable(t, kind, got)
	})
}

// acceptable is what k8s.io/kubernetes/pkg/apis/core/validation.ValidateSecret asks of a Secret.
func acceptable(t *testing.T, kind string, got secrets.Data) {
	t.Helper()
	size := 0
	for key, value := range got {
		if wrong := validation.IsConfigMapKey(key); len(wrong) > 0 {
			t.Errorf("the key %q: %q", key, wrong)
		}
		size += value.Len()
	}
	if size > MaxSize {
		t.Errorf("it has %d bytes", size)
	}
	_, user := got["username"]
	_, password := got["password"]
	_, certificate := got["tls.crt"]
	_, key := got["tls.key"]
	switch kind {
	case "kubernetes.io/tls":
		if !certificate || !key {
			t.Errorf("it has the keys %q", got.Keys())
		}
	case "kubernetes.io/dockerconfigjson":
		if err := json.Unmarshal(got[".dockerconfigjson"].Reveal(), &map[string]any{}); err != nil {
			t.Errorf(".dockerconfigjson is no JSON: %v", err)
		}
	case "kubernetes.io/basic-auth":
		if !user && !password {
			t.Errorf("it has the keys %q", got.Keys())
		}
	case "kubernetes.io/ssh-auth":
		if got["ssh-privatekey"].Len() == 0 {
			t.Error("it has no key")
		}
	}
}
