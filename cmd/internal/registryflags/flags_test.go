package registryflags_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

func parse(t *testing.T, flags *registryflags.Flags, args ...string) (registry.Options, error) {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Register(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags.Options()
}

func TestFlagsBecomeOptions(t *testing.T) {
	options, err := parse(t, &registryflags.Flags{}, "--registry-mirror=docker.io=mirror.example.com/hub", "--registry-mirror=docker.io=other.example.com",
		"--allow-registry=registry.corp:5000", "--plain-http-registry=registry.corp:5000", "--registry-ca=/ca.pem", "--registry-ca=registry.corp:5000=/corp.pem", "--cluster-network=10.0.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(options.Mirrors["docker.io"], " "); got != "mirror.example.com/hub other.example.com" {
		t.Errorf("got mirrors %q, want both in order", got)
	}
	if want := []registry.Authority{{File: "/ca.pem"}, {Host: "registry.corp:5000", File: "/corp.pem"}}; !reflect.DeepEqual(options.Authorities, want) {
		t.Errorf("got authorities %+v, want one for all and one for its host", options.Authorities)
	}
	if options.Allow[0] != "registry.corp:5000" || options.PlainHTTP[0] != "registry.corp:5000" || options.Cluster[0] != "10.0.0.0/16" {
		t.Errorf("got %+v", options)
	}
}

func TestMistakesInFlagsAreNamed(t *testing.T) {
	for name, test := range map[string]struct{ flag, want string }{
		"a mirror of nothing":         {"--registry-mirror=mirror.example.com", "REGISTRY=HOST"},
		"a realm of nothing":          {"--registry-realm=auth.example.com", "REGISTRY=HOST"},
		"providers without programs":  {"--credential-provider-config=/c.yaml", "belong together"},
		"a docker config that is not": {"--registry-config=/does/not/exist", "--registry-config"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, &registryflags.Flags{}, test.flag)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
}

func TestTheUsersDockerConfigIsReadWhereThereIsOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	flags := &registryflags.Flags{DockerConfig: file}
	options, err := parse(t, flags)
	if err != nil || options.Credentials != nil {
		t.Errorf("got %v and error %v without a file, want neither", options.Credentials, err)
	}
	if err := os.WriteFile(file, []byte(`{"auths":{"registry.corp":{"auth":"YTpi"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err = parse(t, &registryflags.Flags{DockerConfig: file})
	if err != nil || options.Credentials == nil {
		t.Fatalf("got %v and error %v, want credentials", options.Credentials, err)
	}
	got, err := options.Credentials.Credentials(t.Context(), registry.Repository{Registry: "registry.corp", Path: "a"})
	if err != nil || len(got) != 1 {
		t.Errorf("got %v and error %v, want those of registry.corp", got, err)
	}
	got, err = options.Credentials.Credentials(t.Context(), registry.Repository{Registry: "registry.corp.evil.example", Path: "a"})
	if err != nil || len(got) != 0 {
		t.Errorf("got %v and error %v for another host, want none", got, err)
	}
}
