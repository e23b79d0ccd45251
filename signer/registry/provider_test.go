package registry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// TestMain is also the programs that the tests run: a credential helper of docker and a
// credential provider of the kubelet.
func TestMain(m *testing.M) {
	switch os.Getenv("REGISTRY_TEST_PROGRAM") {
	case "helper":
		os.Exit(runHelper())
	case "provider":
		os.Exit(runProvider())
	}
	os.Exit(m.Run())
}

func note(line string) {
	file, err := os.OpenFile(os.Getenv("REGISTRY_TEST_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		fmt.Fprintln(file, line)
		file.Close()
	}
}

func runHelper() int {
	host, _ := io.ReadAll(os.Stdin)
	note(strings.Join(os.Args[1:], " ") + " " + string(host))
	switch string(host) {
	case "none.example.com":
		fmt.Println("credentials not found in native keychain")
		return 1
	case "broken.example.com":
		fmt.Fprintln(os.Stderr, "no keychain")
		return 1
	case "token.example.com":
		fmt.Println(`{"ServerURL":"","Username":"<token>","Secret":"secret"}`)
	default:
		fmt.Printf(`{"ServerURL":"","Username":"for %s","Secret":"secret"}`, host)
	}
	return 0
}

func runProvider() int {
	var request struct{ APIVersion, Kind, Image, ServiceAccountToken string }
	raw, _ := io.ReadAll(os.Stdin)
	if err := json.Unmarshal(raw, &request); err != nil || request.Kind != "CredentialProviderRequest" {
		return 2
	}
	note(fmt.Sprintf("%s %s %s token=%q extra=%s", strings.Join(os.Args[1:], ","), request.APIVersion, request.Image, request.ServiceAccountToken, os.Getenv("EXTRA")))
	switch os.Getenv("REGISTRY_TEST_ANSWER") {
	case "slow":
		time.Sleep(time.Minute)
	case "endless":
		for {
			if _, err := fmt.Println(strings.Repeat("x", 1<<16)); err != nil {
				return 1
			}
		}
	case "fails":
		fmt.Fprintln(os.Stderr, "no identity here")
		return 1
	default:
		fmt.Print(os.Getenv("REGISTRY_TEST_ANSWER"))
	}
	return 0
}

const providerConfig = `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: ecr-credential-provider
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["*.dkr.ecr.*.amazonaws.com", "*.azurecr.io", "*-docker.pkg.dev", "127.0.0.1:PORT"]
  defaultCacheDuration: 12h
  args: [get-credentials]
  env: [{name: EXTRA, value: "yes"}]
`

func response(kind, duration, auth string) string {
	if duration != "" {
		duration = `"cacheDuration":"` + duration + `",`
	}
	return `{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse","cacheKeyType":"` + kind + `",` + duration + `"auth":` + auth + `}`
}

// install makes a provider that answers so; runs are the lines that it noted.
func install(t *testing.T, answer string, options registry.ProviderOptions, port string) (providers *registry.Providers, runs func() []string) {
	t.Helper()
	directory := t.TempDir()
	helper(t, directory, "ecr-credential-provider")
	log := filepath.Join(directory, "log")
	t.Setenv("REGISTRY_TEST_PROGRAM", "provider")
	t.Setenv("REGISTRY_TEST_ANSWER", answer)
	t.Setenv("REGISTRY_TEST_LOG", log)
	file := filepath.Join(directory, "config.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(providerConfig, "PORT", port)), 0o600); err != nil {
		t.Fatal(err)
	}
	providers, err := registry.ReadProviders(file, directory, options)
	if err != nil {
		t.Fatal(err)
	}
	return providers, func() []string {
		content, err := os.ReadFile(log)
		if err != nil {
			return nil
		}
		return strings.Split(strings.TrimSpace(string(content)), "\n")
	}
}

var ecr = registry.Repository{Registry: "123.dkr.ecr.eu-west-1.amazonaws.com", Path: "acme/app"}

func TestACredentialProviderSpeaksTheKubeletsProtocol(t *testing.T) {
	auth := `{"123.dkr.ecr.eu-west-1.amazonaws.com":{"username":"AWS","password":"short"},"123.dkr.ecr.eu-west-1.amazonaws.com/acme":{"username":"AWS","password":"long"},"*.dkr.ecr.*.amazonaws.com":{"username":"AWS","password":"glob"},"other.io":{"username":"no","password":"no"}}`
	providers, runs := install(t, response("Image", "", auth), registry.ProviderOptions{}, "1")
	found, err := providers.Credentials(t.Context(), ecr)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range found {
		got = append(got, c.Password)
	}
	if want := "long short glob"; strings.Join(got, " ") != want {
		t.Errorf("got the passwords %q, want %s: the most specific first", got, want)
	}
	want := `get-credentials credentialprovider.kubelet.k8s.io/v1 ` + ecr.String() + ` token="" extra=yes`
	if got := runs(); len(got) != 1 || got[0] != want {
		t.Errorf("the provider was run with %q, want %q", got, want)
	}
}

func TestAnswersOfACredentialProviderAreRememberedForWhatTheyAreGoodFor(t *testing.T) {
	auth := `{"*.dkr.ecr.*.amazonaws.com":{"username":"AWS","password":"p"},"*.azurecr.io":{"username":"ACR","password":"p"}}`
	sibling := registry.Repository{Registry: ecr.Registry, Path: "acme/other"}
	elsewhere := registry.Repository{Registry: "acme.azurecr.io", Path: "app"}
	for name, test := range map[string]struct {
		kind, duration string
		after          time.Duration
		// want are the runs after the image, the image again, a sibling and another registry.
		want [4]int
	}{
		"an image":                  {"Image", "", time.Hour, [4]int{1, 1, 2, 3}},
		"a registry":                {"Registry", "", time.Hour, [4]int{1, 1, 1, 2}},
		"all":                       {"Global", "", time.Hour, [4]int{1, 1, 1, 1}},
		"until the default is over": {"Global", "", 13 * time.Hour, [4]int{1, 2, 2, 2}},
		"until what it said itself": {"Global", "5m", time.Hour, [4]int{1, 2, 2, 2}},
		"not at all":                {"Global", "0s", 0, [4]int{1, 2, 3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			providers, runs := install(t, response(test.kind, test.duration, auth), registry.ProviderOptions{Now: clock.Now}, "1")
			for i, repository := range []registry.Repository{ecr, ecr, sibling, elsewhere} {
				if found, err := providers.Credentials(t.Context(), repository); err != nil || len(found) != 1 {
					t.Fatalf("%s: got %v, %v, want one", repository, found, err)
				}
				if got := len(runs()); got != test.want[i] {
					t.Errorf("after question %d the provider ran %d times, want %d", i+1, got, test.want[i])
				}
				if i == 0 {
					clock.advance(test.after)
				}
			}
		})
	}
}

func TestACredentialProviderIsRunOnceForAllWhoAsk(t *testing.T) {
	providers, runs := install(t, response("Registry", "", `{"*.azurecr.io":{"username":"ACR","password":"p"}}`), registry.ProviderOptions{}, "1")
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if _, err := providers.Credentials(t.Context(), registry.Repository{Registry: "acme.azurecr.io", Path: "app"}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := len(runs()); got != 1 {
		t.Errorf("the provider ran %d times, want once", got)
	}
}

func TestBypass29ACredentialProviderIsAskedOnlyForItsImages(t *testing.T) {
	providers, runs := install(t, response("Global", "", `{"*.azurecr.io":{"username":"ACR","password":"p"}}`), registry.ProviderOptions{}, "1")
	for _, host := range []string{"evil.azurecr.io.attacker.com", "a.b.azurecr.io", "azurecr.io", "acme.azurecr.io:8443", "ghcr.io", "acme-docker.pkg.dev.evil.io"} {
		found, err := providers.Credentials(t.Context(), registry.Repository{Registry: host, Path: "x"})
		if err != nil || len(found) != 0 {
			t.Errorf("%s: got %v, %v, want nothing", host, found, err)
		}
	}
	if got := runs(); len(got) != 0 {
		t.Errorf("the provider was run with %q, want not at all", got)
	}
	// It may answer for an image with what is for another: that is not used either.
	if found, err := providers.Credentials(t.Context(), ecr); err != nil || len(found) != 0 {
		t.Errorf("got %v, %v, want nothing", found, err)
	}
}

func TestACredentialProviderThatMisbehavesIsAFault(t *testing.T) {
	for name, answer := range map[string]string{
		"it fails":                       "fails",
		"it takes too long":              "slow",
		"it never stops":                 "endless",
		"it says nothing":                "",
		"it says another kind":           `{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"Pod","cacheKeyType":"Image"}`,
		"it says another version":        `{"apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1","kind":"CredentialProviderResponse","cacheKeyType":"Image"}`,
		"it says another cache key":      response("Pod", "", `{}`),
		"it says a password and no JSON": `{"auth":{"x":{"password":hunter2}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			timeout := 30 * time.Second
			if answer == "slow" {
				timeout = 100 * time.Millisecond
			}
			providers, _ := install(t, answer, registry.ProviderOptions{Timeout: timeout}, "1")
			_, err := providers.Credentials(t.Context(), ecr)
			if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "ecr-credential-provider") {
				t.Errorf("got %v, want a fault that names the provider and no secret", err)
			}
		})
	}
}

func TestACredentialProviderSignsIn(t *testing.T) {
	for _, shape := range []registrytest.Shape{registrytest.Basic, registrytest.Bearer} {
		t.Run(string(shape), func(t *testing.T) {
			server := start(t, shape)
			p := push(t, newClient(t, server.Options()), server.Repository("acme/app"))
			_, port, _ := strings.Cut(server.Host(), ":")
			auth := fmt.Sprintf(`{%q:{"username":%q,"password":%q}}`, server.Host(), registrytest.Username, registrytest.Password)
			providers, _ := install(t, response("Registry", "", auth), registry.ProviderOptions{}, port)
			options := server.Options()
			options.Credentials = providers
			if _, err := newClient(t, options).Resolve(t.Context(), p.repository, "v1"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConfigurationsOfCredentialProvidersAreStrict(t *testing.T) {
	directory := t.TempDir()
	helper(t, directory, "ecr-credential-provider")
	for name, change := range map[string][2]string{
		"an unknown field":            {"args:", "arguments:"},
		"a path as a name":            {"name: ecr-credential-provider", "name: ../sh"},
		"another version":             {"apiVersion: credentialprovider.kubelet.k8s.io/v1", "apiVersion: credentialprovider.kubelet.k8s.io/v1beta1"},
		"another kind":                {"kind: CredentialProviderConfig", "kind: KubeletConfiguration"},
		"no images":                   {`matchImages: ["*.dkr.ecr.*.amazonaws.com", "*.azurecr.io", "*-docker.pkg.dev", "127.0.0.1:PORT"]`, "matchImages: []"},
		"no duration":                 {"defaultCacheDuration: 12h", ""},
		"a negative duration":         {"defaultCacheDuration: 12h", "defaultCacheDuration: -1h"},
		"a service account token":     {"defaultCacheDuration: 12h", "defaultCacheDuration: 12h\n  tokenAttributes: {serviceAccountTokenAudience: x}"},
		"a program that is not there": {"name: ecr-credential-provider", "name: missing"},
	} {
		t.Run(name, func(t *testing.T) {
			content := strings.Replace(providerConfig, change[0], change[1], 1)
			if content == providerConfig {
				t.Fatal("the change changes nothing")
			}
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(content, "PORT", "1")), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := registry.ReadProviders(file, directory, registry.ProviderOptions{}); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

// The first part are the cases of TestURLsMatch in k8s.io/kubernetes/pkg/credentialprovider
// (Apache-2.0); the path is a prefix of characters there, and so here.
func TestImagesAreMatchedAsTheKubeletDoesIt(t *testing.T) {
	for _, test := range []struct {
		pattern, image string
		want           bool
	}{
		{"*.kubernetes.io", "prefix.kubernetes.io", true},
		{"prefix.*.io", "prefix.kubernetes.io", true},
		{"prefix.kubernetes.*", "prefix.kubernetes.io", true},
		{"*-good.kubernetes.io", "prefix-good.kubernetes.io", true},
		{"*.kubernetes.io/blah", "prefix.kubernetes.io/blah", true},
		{"prefix.*.io/foo", "prefix.kubernetes.io/foo/bar", true},
		{"*.kubernetes.io:1111/blah", "prefix.kubernetes.io:1111/blah", true},
		{"prefix.*.io:1111/foo", "prefix.kubernetes.io:1111/foo/bar", true},
		{"*.kubernetes.io", "kubernetes.io", false},
		{"*.*.kubernetes.io", "prefix.kubernetes.io", false},
		{"*.*.kubernetes.io", "kubernetes.io", false},
		{"*kubernetes.io", "a.kubernetes.io", false},
		{"*kubernetes.io", "kubernetes.io", true},
		{"*.*.*.kubernetes.io", "a.b.c.kubernetes.io", true},
		{"kubernetes.io", "kubernetes.com", false},
		{"k*.io", "quay.io", false},
		{"*.kubernetes.io:1234/blah", "prefix.kubernetes.io:1111/blah", false},
		{"prefix.*.io/foo", "prefix.kubernetes.io:1111/foo/bar", false},
		{"*.azurecr.io", "evil.azurecr.io.attacker.com/app", false},
		{"gcr.io/acme", "gcr.io/acme-evil/x", true},
		{"gcr.io/acme", "gcr.io/other/x", false},
		{"k8s.*", "k8s.io/x", true},
		{"app*.k8s.io", "app1.k8s.io/x", true},
		{"*", "localhost/x", true},
		{"*", "a.io/x", false},
		{"x[.io", "xa.io/x", false},
		{"x[ab].io", "xa.io/x", false},
		{"docker.io/library", "docker.io/library/nginx", true},
	} {
		if got := registry.MatchesImage(test.pattern, test.image); got != test.want {
			t.Errorf("%s and %s: got %t, want %t", test.pattern, test.image, got, test.want)
		}
	}
}
