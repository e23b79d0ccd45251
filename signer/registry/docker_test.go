package registry_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

func auth(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
}

func TestDockerConfigsAreForTheHostsTheyName(t *testing.T) {
	config := `{"auths":{
		"https://index.docker.io/v1/":{"auth":"` + auth("hub", "p") + `"},
		"ghcr.io":{"auth":"` + auth("github", "p:with:colons") + `"},
		"https://registry.example.com:5000/v2/":{"username":"port","password":"p"},
		"quay.io":{"username":"all","password":"p"},
		"quay.io/acme":{"username":"acme","password":"p"},
		"*.example.net":{"username":"glob","password":"p"},
		"nothing.example.com":{},
		"acr.example.com":{"auth":"` + auth("00000000-0000-0000-0000-000000000000", "") + `","identitytoken":"t"}
	}}`
	exact := strings.Replace(config, `"*.example.net":{"username":"glob","password":"p"},`, "", 1)
	docker, err := registry.ParseDockerConfig([]byte(exact), registry.DockerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := registry.ParsePullSecret("kubernetes.io/dockerconfigjson", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := registry.ParsePullSecret("kubernetes.io/dockercfg", []byte(strings.TrimSuffix(strings.TrimPrefix(config, `{"auths":`), "}")))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		registry, path, want string
		globs                bool
	}{
		{"docker.io", "library/nginx", "hub", false},
		{"ghcr.io", "a/b", "github", false},
		{"registry.example.com:5000", "a/b", "port", false},
		{"registry.example.com", "a/b", "", false},
		{"quay.io", "acme/x", "acme all", false},
		{"quay.io", "acme-evil/x", "all", false},
		{"a.example.net", "x", "glob", true},
		{"a.b.example.net", "x", "", true},
		{"a.example.net.evil.com", "x", "", true},
		{"nothing.example.com", "x", "", false},
		{"acr.example.com", "x", "00000000-0000-0000-0000-000000000000", false},
	}
	for _, test := range tests {
		t.Run(test.registry+"/"+test.path, func(t *testing.T) {
			sources := map[string]registry.Credentials{"secret": secret, "legacy secret": legacy}
			if !test.globs {
				sources["docker"] = docker
			}
			for name, source := range sources {
				found, err := source.Credentials(t.Context(), registry.Repository{Registry: test.registry, Path: test.path})
				var got []string
				for _, c := range found {
					got = append(got, c.Username)
				}
				if err != nil || strings.Join(got, " ") != test.want {
					t.Errorf("%s: got %q, %v, want %q", name, got, err, test.want)
				}
			}
		})
	}
	if found, _ := docker.Credentials(t.Context(), registry.Repository{Registry: "ghcr.io", Path: "x"}); len(found) != 1 || found[0].Password != "p:with:colons" {
		t.Errorf("got %v, want the password with its colons", found)
	}
}

func TestDockerConfigsThatAreWrongNameNoSecret(t *testing.T) {
	for _, text := range []string{
		`{"auths":{"ghcr.io":{"auth":"hunter2hunter2"}}}`,
		`{"auths":{"ghcr.io":{"password":hunter2}}}`,
		`{"auths":{"bad host":{"username":"hunter2"}}}`,
		`{"credsStore":"../../bin/hunter"}`,
		`{"credHelpers":{"ghcr.io":"a;b"}}`,
	} {
		_, err := registry.ParseDockerConfig([]byte(text), registry.DockerOptions{Helpers: true})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want a fault without the secret", text, err)
		}
	}
	for kind, text := range map[string]string{"Opaque": "{}", "kubernetes.io/dockerconfigjson": "[]", "kubernetes.io/dockercfg": "1"} {
		if _, err := registry.ParsePullSecret(kind, []byte(text)); err == nil {
			t.Errorf("%s of %s was taken", text, kind)
		}
	}
}

// helper installs this test program as a program of another name.
func helper(t *testing.T, directory, name string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(directory, name)); err != nil {
		t.Fatal(err)
	}
}

func TestCredentialHelpersRunOnlyWhereAllowed(t *testing.T) {
	directory := t.TempDir()
	helper(t, directory, "docker-credential-fake")
	t.Setenv("PATH", directory)
	t.Setenv("REGISTRY_TEST_PROGRAM", "helper")
	log := filepath.Join(directory, "log")
	t.Setenv("REGISTRY_TEST_LOG", log)
	file := filepath.Join(directory, "config.json")
	if err := os.WriteFile(file, []byte(`{"credHelpers":{"ghcr.io":"fake"},"credsStore":"fake"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	refused, err := registry.ReadDockerConfig(file, registry.DockerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := refused.Credentials(t.Context(), registry.Repository{Registry: "ghcr.io", Path: "a"})
	if err != nil || len(found) != 0 {
		t.Errorf("got %v, %v, want nothing", found, err)
	}
	if _, err := os.Stat(log); err == nil {
		t.Error("the helper ran though that is not allowed")
	}
	allowed, err := registry.ReadDockerConfig(file, registry.DockerOptions{Helpers: true})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]registry.Credential{
		"ghcr.io": {Username: "for ghcr.io", Password: "secret"}, "docker.io": {Username: "for https://index.docker.io/v1/", Password: "secret"},
		"token.example.com": {IdentityToken: "secret"}, "none.example.com": {},
	} {
		found, err := allowed.Credentials(t.Context(), registry.Repository{Registry: host, Path: "a"})
		if err != nil {
			t.Fatal(err)
		}
		var got registry.Credential
		if len(found) > 0 {
			got = found[0]
		}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", host, got, want)
		}
	}
	if _, err := allowed.Credentials(t.Context(), registry.Repository{Registry: "broken.example.com", Path: "a"}); err == nil {
		t.Error("a helper that fails is no fault")
	}
}

func TestADockerConfigFileIsReadAgainWhenItChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	write := func(content string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"auths":{"ghcr.io":{"username":"u","password":"old"}}}`, 3*time.Hour)
	config, err := registry.ReadDockerConfig(file, registry.DockerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := func(password string) {
		t.Helper()
		found, err := config.Credentials(t.Context(), registry.Repository{Registry: "ghcr.io", Path: "x"})
		if err != nil || len(found) != 1 || found[0].Password != password {
			t.Errorf("got %v, %v, want the password %s", found, err, password)
		}
	}
	want("old")
	write(`{"auths":{"ghcr.io":{"username":"u","password":"new"}}}`, 2*time.Hour)
	want("new")
	write(`{"auths":`, time.Hour)
	want("new")
	// Where nothing is found, the broken file may be why.
	if _, err := config.Credentials(t.Context(), registry.Repository{Registry: "quay.io", Path: "x"}); err == nil {
		t.Error("got no fault for a host that the broken file may have")
	}
	if _, err := registry.ReadDockerConfig(file, registry.DockerOptions{}); err == nil {
		t.Error("a broken file was taken to begin with")
	}
}
