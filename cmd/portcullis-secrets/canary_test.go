package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/vaultfront"
)

// canaries are values that must be nowhere but in Secrets, by what they are. What is compared is letters and digits only, which look the same quoted,
// escaped or in a URL.
type canaries map[string]string

// sing adds one, and gives a value around it that looks different where it is escaped.
func (c canaries) sing(what string) string {
	c[what] = "canary" + rand.Text()
	return `"<&` + c[what] + `\é`
}

// sizes of what base64 makes of the middle of something: three letters for four.
const encodedFrom = 3

// forms are all that a value can look like: plain, in hexadecimal, and in base64 wherever in a text it stands.
func forms(value string) []string {
	all := []string{value, hex.EncodeToString([]byte(value)), strings.ToUpper(hex.EncodeToString([]byte(value)))}
	for offset := range encodedFrom {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + value))
		middle := encoded[4*((offset+2)/3) : len(encoded)-4] // what does not depend on what is around
		all = append(all, middle, strings.NewReplacer("+", "-", "/", "_").Replace(middle))
	}
	return all
}

// leaks says which canaries are in texts, by where they are.
func (c canaries) leaks(texts map[string]string) []string {
	var found []string
	for _, what := range slices.Sorted(maps.Keys(c)) {
		for _, form := range forms(c[what]) {
			for where, text := range texts {
				if at := strings.Index(text, form); at >= 0 {
					found = append(found, fmt.Sprintf("%s is in %s as %q: …%.200q", what, where, form, text[max(0, at-100):]))
				}
			}
		}
	}
	return found
}

// TestACanaryIsFoundInEachOfItsForms: a search that finds nothing would prove nothing.
func TestACanaryIsFoundInEachOfItsForms(t *testing.T) {
	c := canaries{}
	value := c.sing("it")
	quoted, err := json.Marshal(value)
	must(t, err)
	for name, text := range map[string]string{
		"plain": value, "as JSON": string(quoted), "as Go": fmt.Sprintf("%q", value), "in hexadecimal": hex.EncodeToString([]byte(value)),
		"as bytes of JSON":      base64.StdEncoding.EncodeToString([]byte(value)),
		"in base64 after one":   base64.StdEncoding.EncodeToString([]byte("a" + value + "b")),
		"in base64 after two":   base64.URLEncoding.EncodeToString([]byte("ab" + value + "bc")),
		"in base64 of its JSON": base64.StdEncoding.EncodeToString(quoted),
	} {
		if len(c.leaks(map[string]string{name: "before " + text + " after"})) == 0 {
			t.Errorf("%s it is not found", name)
		}
	}
	if found := c.leaks(map[string]string{"elsewhere": "nothing of it"}); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}

// TestNothingOfAValueIsAnywhereButInItsSecret has everything go wrong that can, at the most talkative level of logging, and then looks for what should be
// nowhere.
func TestNothingOfAValueIsAnywhereButInItsSecret(t *testing.T) {
	s := newScene(t)
	c := canaries{}
	write := func(path string, data map[string]any) {
		must(t, s.vault.WriteKV2(t.Context(), "secret", "shop/"+path, data))
	}
	kept := c.sing("a value of KV")
	write("kept", map[string]any{"password": kept, "other": c.sing("a key that nobody asked for")})
	inErrors := c.sing("a value that Vault's errors quote")
	write("faulty", map[string]any{"password": inErrors})
	write("broken", map[string]any{"password": c.sing("a value that templates choke on")})
	write("unfit", map[string]any{"tls.crt": c.sing("what is no certificate"), "tls.key": c.sing("what is no key"), ".dockerconfigjson": c.sing("what is no JSON")})
	write("panics", map[string]any{"password": c.sing("a value of a pass that panics")})
	_, err := s.vault.Write(t.Context(), "database/creds/shop", map[string]any{"username": "v-shop", "password": c.sing("a dynamic password"), "ttl": "6s"})
	must(t, err)
	_, err = s.kube.CoreV1().Secrets("shop").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pushed"}, StringData: map[string]string{"password": c.sing("a value of a Secret that is pushed")}}, metav1.CreateOptions{})
	must(t, err)
	_, err = s.kube.CoreV1().Secrets("shop").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "foreign"}, StringData: map[string]string{"password": c.sing("a value of somebody else's Secret")}}, metav1.CreateOptions{})
	must(t, err)

	one := s.replica(t, "one", panicking+"="+inErrors)
	leads(t, one)
	secret := func(name, source, more string) string {
		return fmt.Sprintf("\napiVersion: secrets.portcullis.dev/v1alpha1\nkind: VaultSecret\nmetadata: {name: %s, namespace: shop}\nspec:\n  auth: vault\n  source: %s\n  refresh: {interval: 10s}\n%s---", name, source, more)
	}
	kv := func(path string) string { return "{kv: {mount: secret, path: shop/" + path + "}}" }
	templated := func(name, template string) string {
		return secret(name, kv("broken"), "  destination: {templates: {made: '"+template+"'}}\n")
	}
	s.apply(t, secret("kept", kv("kept"), "  destination: {templates: {url: 'postgres://{{ .Data.password }}@db'}, keepSource: true}\n")+
		secret("some", "{kv: {mount: secret, path: shop/kept, keys: [password]}}", "  destination: {}\n")+
		secret("keyless", "{kv: {mount: secret, path: shop/kept, keys: [none]}}", "  destination: {}\n")+
		secret("credentials", "{dynamic: {mount: database, path: creds/shop}}", "  destination: {}\n")+
		secret("certificate", "{pki: {mount: pki, role: shop, commonName: shop.example}}", "  destination: {type: kubernetes.io/tls}\n")+
		secret("secret-id", "{appRoleSecretID: {role: shop}}", "  destination: {}\n")+
		secret("faulty", kv("faulty"), "  destination: {}\n")+
		templated("decoded", "{{ b64dec .Data.password }}")+templated("parsed", "{{ fromJSON .Data.password }}")+templated("indexed", "{{ index .Data.password .Data.password }}")+
		templated("formatted", "{{ printf .Data.password 1 2 }}")+templated("compared", "{{ lt .Data.password 3 }}")+templated("sliced", "{{ slice .Data.password 1000 2000 }}")+
		secret("no-certificate", kv("unfit"), "  destination: {type: kubernetes.io/tls}\n")+
		secret("no-login", kv("unfit"), "  destination: {type: kubernetes.io/dockerconfigjson}\n")+
		secret("foreign", kv("kept"), "  destination: {}\n")+
		secret("panics", kv("panics"), "  destination: {}\n")+
		"\napiVersion: secrets.portcullis.dev/v1alpha1\nkind: VaultPush\nmetadata: {name: pushed, namespace: shop}\nspec: {auth: vault, destination: {mount: secret, path: shop/pushed}, secret: {name: pushed}, refresh: {interval: 10s}}\n---"+
		"\napiVersion: secrets.portcullis.dev/v1alpha1\nkind: VaultPush\nmetadata: {name: made, namespace: shop}\nspec: {auth: vault, destination: {mount: secret, path: shop/made}, generate: {password: {}}, refresh: {interval: 10s}}\n")
	// Of this one the Role does not know.
	s.create(t, secret("roleless", kv("kept"), "  destination: {}\n"))

	for name, want := range map[string]string{
		"kept": "", "some": "", "credentials": "", "certificate": "", "secret-id": "", "faulty": "", "keyless": "KeyMissing", "no-certificate": "Unfit", "no-login": "Unfit", "decoded": "TemplateFailed", "parsed": "TemplateFailed",
		"indexed": "TemplateFailed", "formatted": "TemplateFailed", "compared": "TemplateFailed", "sliced": "TemplateFailed", "foreign": "NotOurs", "roleless": "ClusterForbidden",
	} {
		clustertest.Eventually(t, "VaultSecret "+name+" "+want, func() error {
			if _, got := s.reasonOf(t, name); got != want {
				return fmt.Errorf("the reason is %q", got)
			}
			return nil
		})
	}
	s.push(t, "pushed", "")
	s.push(t, "made", "")
	c.learn(t, s)

	t.Run("faults", func(t *testing.T) {
		echo := func(status int) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
				text, _ := json.Marshal([]string{"failed on " + inErrors + " and " + string(body) + " with " + r.Header.Get("X-Vault-Token")})
				w.Header().Set("X-Value", c["a value that Vault's errors quote"])
				vaultfront.Answer(status, `{"errors":`+string(text)+`,"warnings":`+string(text)+`}`)(w, r)
			}
		}
		typed, err := json.Marshal(inErrors)
		must(t, err)
		for _, fault := range []struct {
			doing, reason string
			fault         vaultfront.Fault
		}{
			{"403 that quotes", "Forbidden", vaultfront.Fault{Do: echo(http.StatusForbidden)}},
			{"400 that says why", "Refused", vaultfront.Fault{Do: vaultfront.Answer(http.StatusBadRequest, `{"errors":["unsupported path"]}`)}},
			{"400 that quotes", "Refused", vaultfront.Fault{Do: echo(http.StatusBadRequest)}},
			{"404 that quotes", "NotFound", vaultfront.Fault{Do: echo(http.StatusNotFound)}},
			{"429 that quotes", "RateLimited", vaultfront.Fault{Do: echo(http.StatusTooManyRequests)}},
			{"412 that quotes", "Behind", vaultfront.Fault{Do: echo(http.StatusPreconditionFailed)}},
			{"500 that quotes", "Failed", vaultfront.Fault{Do: echo(http.StatusInternalServerError)}},
			{"half an answer", "Truncated", vaultfront.Fault{Change: vaultfront.Half}},
			{"JSON that breaks off in a value", "", vaultfront.Fault{Do: vaultfront.Answer(200, `{"data":{"data":{"password":`+string(typed)+`,`)}},
			{"a value in the place of an object", "", vaultfront.Fault{Do: vaultfront.Answer(200, `{"data":{"data":`+string(typed)+`,"metadata":{"version":1}}}`)}},
			{"a value in the place of a number", "", vaultfront.Fault{Do: vaultfront.Answer(200, `{"data":{"data":{"a":"b"},"metadata":{"version":`+string(typed)+`}}}`)}},
			{"a redirect to a value", "", vaultfront.Fault{Do: vaultfront.Redirect("https://127.0.0.1:1/" + c["a value that Vault's errors quote"])}},
		} {
			fault.fault.Path = "secret/data/shop/faulty"
			s.front.Fail(fault.fault)
			s.annotate(t, v1alpha1.VaultSecrets, "faulty")
			clustertest.Eventually(t, fault.doing, func() error {
				if _, got := s.reasonOf(t, "faulty"); got == "" || fault.reason != "" && got != fault.reason {
					return fmt.Errorf("the reason is %q", got)
				}
				return nil
			})
			s.front.Heal()
			s.annotate(t, v1alpha1.VaultSecrets, "faulty")
			s.secret(t, "faulty", "")
		}
		// Logins, pushes, renewals and revocations that are quoted back.
		s.front.Fail(vaultfront.Fault{Path: "secret/data/shop/pushed", Method: http.MethodPut, Do: echo(http.StatusBadRequest)})
		must(t, s.kube.CoreV1().Secrets("shop").Delete(t.Context(), "pushed", metav1.DeleteOptions{}))
		_, err = s.kube.CoreV1().Secrets("shop").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pushed"}, StringData: map[string]string{"password": c.sing("a value whose push fails")}}, metav1.CreateOptions{})
		must(t, err)
		s.annotate(t, v1alpha1.VaultPushes, "pushed")
		s.push(t, "pushed", "Refused")
		s.front.Heal()
		s.front.Fail(vaultfront.Fault{Path: "sys/leases", Do: echo(http.StatusForbidden)})
		s.front.Fail(vaultfront.Fault{Path: "auth/token", Do: echo(http.StatusBadRequest)})
		s.front.Fail(vaultfront.Fault{Path: "transit/", Do: echo(http.StatusBadRequest)})
		clustertest.Eventually(t, "a lease that cannot be renewed", func() error {
			if _, got := s.reasonOf(t, "credentials"); got == "" {
				return fmt.Errorf("it is")
			}
			return nil
		})
		s.front.Heal()
		// A new process has to log in.
		one.Kill()
		s.front.Fail(vaultfront.Fault{Path: "auth/kubernetes/login", Do: echo(http.StatusBadRequest)})
		must(t, one.Start(t.Context()))
		leads(t, one)
		clustertest.Eventually(t, "a login that is refused", func() error {
			if s.front.Count("", "auth/kubernetes/login") == 0 {
				return fmt.Errorf("nobody logs in")
			}
			_, got := s.reasonOf(t, "kept")
			if got == "" {
				s.annotate(t, v1alpha1.VaultSecrets, "kept")
				return fmt.Errorf("it is not needed")
			}
			return nil
		})
		s.front.Heal()
		last := time.Time{}
		clustertest.Eventually(t, "a login", func() error { // a login that was refused is not tried at once
			_, got := s.reasonOf(t, "kept")
			if got == "" {
				return nil
			}
			if time.Since(last) > time.Second {
				last = time.Now()
				s.annotate(t, v1alpha1.VaultSecrets, "kept")
			}
			return fmt.Errorf("the reason is %q", got)
		})
	})
	t.Run("conflicts and drift", func(t *testing.T) {
		changed := s.held(t, "kept")
		changed.Data["password"] = []byte(c.sing("a value that somebody wrote into the Secret"))
		_, err := s.kube.CoreV1().Secrets("shop").Update(t.Context(), changed, metav1.UpdateOptions{})
		must(t, err)
		clustertest.Until(t, "the repair", func() bool { return string(s.held(t, "kept").Data["password"]) == kept })
		write("made", map[string]any{"password": c.sing("a value that somebody wrote into Vault")})
		s.annotate(t, v1alpha1.VaultPushes, "made")
		clustertest.Until(t, "the other repair", func() bool { _, version := s.kv(t, "made"); return version == 3 })
	})
	metrics, err := one.Metrics(t.Context())
	must(t, err)
	ready, err := http.Get("http://" + s.probes["one"] + "/readyz")
	must(t, err)
	defer ready.Body.Close()
	readiness, err := io.ReadAll(ready.Body)
	must(t, err)
	// What Go writes where a program is killed so that it says what it does.
	must(t, syscall.Kill(one.PID(), syscall.SIGQUIT))
	clustertest.Eventually(t, "the stacks of the program", func() error {
		log, err := os.ReadFile(s.log("one"))
		if err == nil && !strings.Contains(string(log), "SIGQUIT: quit") {
			err = fmt.Errorf("they are not there")
		}
		return err
	})
	one.Kill()

	texts := s.texts(t)
	texts["/metrics"], texts["/readyz"] = metrics, string(readiness)
	for where, what := range map[string]string{"the log": "a defect of portcullis-secrets", "events": "TemplateFailed", "vaultsecrets": "KeyMissing", "/metrics": "portcullis_secrets_sync_total"} {
		if !strings.Contains(texts[where], what) {
			t.Errorf("%s says nothing of %q: nothing would be proved", where, what)
		}
	}
	if len(texts) < 10 {
		t.Errorf("there are %d texts only: %v", len(texts), slices.Sorted(maps.Keys(texts)))
	}
	for _, leak := range c.leaks(texts) {
		t.Error(leak)
	}
	for where, text := range texts {
		for _, token := range []string{"hvs.", "hvb.", "eyJhbGciOi", "BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY"} {
			if at := strings.Index(text, token); at >= 0 {
				t.Errorf("%s holds a token or a key: …%.80q", where, text[max(0, at-60):])
			}
		}
	}
	// And the search finds what is there.
	delete(c, "a value of a Secret that is pushed") // it was replaced
	for _, what := range []string{"a value of KV", "a dynamic password", "a private key", "a secret id", "a value of somebody else's Secret"} {
		only := canaries{what: c[what]}
		list, err := s.kube.CoreV1().Secrets("shop").List(t.Context(), metav1.ListOptions{})
		must(t, err)
		raw, err := json.Marshal(list)
		must(t, err)
		if c[what] == "" || len(only.leaks(map[string]string{"Secrets": string(raw)})) == 0 {
			t.Errorf("%s is not found in the Secret that holds it", what)
		}
	}
}

// learn adds what was issued and made.
func (c canaries) learn(t *testing.T, s *scene) {
	t.Helper()
	key := strings.Split(string(s.held(t, "certificate").Data["tls.key"]), "\n")
	c["a private key"] = key[1][:60]
	c["a secret id"] = string(s.held(t, "secret-id").Data["secret_id"])
	made, _ := s.kv(t, "made")
	c["a generated password"] = fmt.Sprint(made["password"])
	for what, value := range c {
		if len(value) < 16 {
			t.Fatalf("%s is %q: too short to be looked for", what, value)
		}
	}
}

// reasonOf is the reason of a VaultSecret now.
func (s *scene) reasonOf(t *testing.T, name string) (*v1alpha1.VaultSecret, string) {
	t.Helper()
	found, err := read[v1alpha1.VaultSecret](t.Context(), s, v1alpha1.VaultSecrets, name)
	must(t, err)
	return found, reason(found.Status.Conditions, 0, 0)
}

// texts are all that the program has written but Secrets.
func (s *scene) texts(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, resource := range []schema.GroupVersionResource{
		v1alpha1.VaultConnections, v1alpha1.VaultAuths, v1alpha1.VaultSecrets, v1alpha1.VaultPushes, v1alpha1.VaultLeases, runtimev1alpha1.Quarantines,
		corev1.SchemeGroupVersion.WithResource("events"), corev1.SchemeGroupVersion.WithResource("configmaps"), {Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
	} {
		list, err := s.api.Resource(resource).List(t.Context(), metav1.ListOptions{})
		must(t, err)
		raw, err := list.MarshalJSON()
		must(t, err)
		texts[resource.Resource] = string(raw)
	}
	log, err := os.ReadFile(s.log("one"))
	must(t, err)
	texts["the log"] = string(log)
	must(t, filepath.WalkDir(s.journal("one"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Base(path) == "key" {
			return err
		}
		content, err := os.ReadFile(path)
		texts["journal/"+filepath.Base(path)] = string(content)
		return err
	}))
	audit, err := os.ReadFile(s.control.AuditLog)
	must(t, err)
	texts["the audit log"] = string(audit)
	return texts
}
