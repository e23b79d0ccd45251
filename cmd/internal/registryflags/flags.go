// Package registryflags is how the programs of Portcullis are told about registries: the same flags, with the
// same meaning, for the webhook, the command line and the scanner.
package registryflags

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Flags are the flags. Register them, then ask for a client.
type Flags struct {
	// DockerConfig is read by default if it exists: the user's own, for programs that people run.
	DockerConfig string

	config           string
	helpers          bool
	authorities      []string
	mirrors          []string
	allow            []string
	plainHTTP        []string
	realms           []string
	cluster          []string
	providers        string
	providerPrograms string
}

// Register adds the flags.
func (f *Flags) Register(flags *pflag.FlagSet) {
	flags.StringVar(&f.config, "registry-config", "", "docker config `file` with credentials of registries")
	flags.BoolVar(&f.helpers, "registry-config-helpers", false, "run the credential helpers that the docker config names")
	flags.StringArrayVar(&f.authorities, "registry-ca", nil, "PEM `file` of certificate authorities that registries are verified with besides the system's, or HOST=FILE for one registry; may be repeated")
	flags.StringArrayVar(&f.mirrors, "registry-mirror", nil, "read from a mirror before a registry, as `REGISTRY=HOST[/PREFIX]`; may be repeated")
	flags.StringArrayVar(&f.allow, "allow-registry", nil, "`host` that may be at a private or loopback address, or network that may be connected to, as 10.1.0.0/16; may be repeated")
	flags.StringArrayVar(&f.plainHTTP, "plain-http-registry", nil, "`host` that is spoken to without TLS; may be repeated")
	flags.StringArrayVar(&f.realms, "registry-realm", nil, "token server of another domain that may be sent a registry's credentials, as `REGISTRY=HOST`; may be repeated")
	flags.StringArrayVar(&f.cluster, "cluster-network", nil, "`network` of pods or services, which no image may make this program connect to; may be repeated")
	flags.StringVar(&f.providers, "credential-provider-config", "", "CredentialProviderConfig `file`, as the kubelet takes it, for the registries of clouds")
	flags.StringVar(&f.providerPrograms, "credential-provider-bin-dir", "", "`directory` of the programs that the CredentialProviderConfig names")
}

// Options are what the flags say.
func (f *Flags) Options() (registry.Options, error) {
	options := registry.Options{Allow: f.allow, PlainHTTP: f.plainHTTP, Cluster: f.cluster}
	for _, given := range f.authorities {
		authority := registry.Authority{File: given}
		if host, file, found := strings.Cut(given, "="); found {
			authority = registry.Authority{Host: host, File: file}
		}
		options.Authorities = append(options.Authorities, authority)
	}
	var err error
	if options.Mirrors, err = pairs("registry-mirror", f.mirrors); err != nil {
		return options, err
	}
	if options.Realms, err = pairs("registry-realm", f.realms); err != nil {
		return options, err
	}
	options.Credentials, err = f.credentials()
	return options, err
}

// Client is a client of all registries.
func (f *Flags) Client() (*registry.Client, error) {
	options, err := f.Options()
	if err != nil {
		return nil, err
	}
	return registry.New(options)
}

// pairs reads REGISTRY=HOST.
func pairs(flag string, given []string) (map[string][]string, error) {
	var read map[string][]string
	for _, text := range given {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" || value == "" {
			return nil, fmt.Errorf("--%s is %q: write it as REGISTRY=HOST", flag, text)
		}
		if read == nil {
			read = map[string][]string{}
		}
		read[name] = append(read[name], value)
	}
	return read, nil
}

func (f *Flags) credentials() (registry.Credentials, error) {
	var chain registry.Chain
	docker, err := f.docker()
	if err != nil {
		return nil, err
	}
	if docker != nil {
		chain = append(chain, docker)
	}
	switch {
	case (f.providers == "") != (f.providerPrograms == ""):
		return nil, errors.New("--credential-provider-config and --credential-provider-bin-dir belong together: give both or neither")
	case f.providers != "":
		providers, err := registry.ReadProviders(f.providers, f.providerPrograms, registry.ProviderOptions{})
		if err != nil {
			return nil, fmt.Errorf("%w: correct --credential-provider-config", err)
		}
		chain = append(chain, providers)
	}
	if len(chain) == 0 {
		return nil, nil
	}
	return chain, nil
}

// docker is the docker config that is named, or the default one where there is one.
func (f *Flags) docker() (*registry.DockerConfigFile, error) {
	options := registry.DockerOptions{Helpers: f.helpers}
	if f.config != "" {
		config, err := registry.ReadDockerConfig(f.config, options)
		if err != nil {
			return nil, fmt.Errorf("%w: correct --registry-config", err)
		}
		return config, nil
	}
	if f.DockerConfig == "" {
		return nil, nil
	}
	config, err := registry.ReadDockerConfig(f.DockerConfig, options)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return config, err
}

// UserDockerConfig is where docker keeps the user's credentials, "" where nobody can tell.
func UserDockerConfig() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker", "config.json")
}
