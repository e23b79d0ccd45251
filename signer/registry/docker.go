package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	// maxConfig is the most that a Secret can hold (1 MiB), and more than any docker config has.
	maxConfig = 1 << 20
	// helperTimeout is how long a credential helper may run: many ask a service.
	helperTimeout = 10 * time.Second
	// dockerHub is how docker writes Docker Hub in its config.
	dockerHub = "index.docker.io"
)

// DockerConfig is the content of a docker config file (~/.docker/config.json) or a pull secret.
type DockerConfig struct {
	entries []dockerEntry
	// globs in host names are obeyed, as the kubelet does for pull secrets.
	globs bool
	// helpers by host, "" for all the others; run is nil where they are not to be run.
	helpers map[string]string
	run     func(ctx context.Context, program string, stdin []byte) ([]byte, error)
}

// dockerEntry is a credential for a host and the repositories below a path.
type dockerEntry struct {
	host, path string
	credential Credential
}

// DockerOptions say what a docker config may do.
type DockerOptions struct {
	// Helpers allows to run docker-credential-NAME, as the config says. Without it, a
	// config that names one for a host gives nothing for that host.
	Helpers bool
}

type dockerFile struct {
	Auths       map[string]dockerAuth `json:"auths"`
	CredHelpers map[string]string     `json:"credHelpers"`
	CredsStore  string                `json:"credsStore"`
}

type dockerAuth struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// DockerConfigFile is a docker config that is read again when it changes: a mounted
// Secret is renewed before its passwords expire.
type DockerConfigFile struct {
	file    string
	options DockerOptions

	mu      sync.Mutex
	config  *DockerConfig
	changed time.Time
	size    int64
}

// ReadDockerConfig reads a file in the format of ~/.docker/config.json, which must be
// good to begin with. Later, a file that is broken is not used: the content before it goes on being.
func ReadDockerConfig(file string, options DockerOptions) (*DockerConfigFile, error) {
	d := &DockerConfigFile{file: file, options: options}
	if err := d.reload(); err != nil {
		return nil, err
	}
	return d, nil
}

// reload reads the file if it is another than before.
func (d *DockerConfigFile) reload() error {
	info, err := os.Stat(d.file)
	if err != nil {
		return fmt.Errorf("reading the docker config: %w", err)
	}
	if d.config != nil && info.ModTime().Equal(d.changed) && info.Size() == d.size {
		return nil
	}
	raw, err := readBounded(d.file, maxConfig)
	if err != nil {
		return fmt.Errorf("reading the docker config: %w", err)
	}
	config, err := ParseDockerConfig(raw, d.options)
	if err != nil {
		return fmt.Errorf("reading the docker config %s: %w", d.file, err)
	}
	d.config, d.changed, d.size = config, info.ModTime(), info.Size()
	return nil
}

// Credentials implements [Credentials].
func (d *DockerConfigFile) Credentials(ctx context.Context, repository Repository) ([]Credential, error) {
	d.mu.Lock()
	problem := d.reload()
	config := d.config
	d.mu.Unlock()
	found, err := config.Credentials(ctx, repository)
	if len(found) == 0 {
		err = errors.Join(err, problem)
	}
	return found, err
}

func readBounded(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", file, limit)
	}
	return raw, err
}

// ParseDockerConfig reads the content of a docker config. Its entries are for the
// exact host and port that they name, and the repositories below their path if they have one.
func ParseDockerConfig(raw []byte, options DockerOptions) (*DockerConfig, error) {
	var file dockerFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, errors.New("it is not JSON as docker writes it") // the decoder's error could quote a password
	}
	config := &DockerConfig{helpers: map[string]string{}}
	if err := config.add(file.Auths); err != nil {
		return nil, err
	}
	for key, helper := range file.CredHelpers {
		host, _, err := dockerKey(key, false)
		if err != nil {
			return nil, fmt.Errorf("credHelpers: %w", err)
		}
		config.helpers[host] = helper
	}
	if file.CredsStore != "" {
		config.helpers[""] = file.CredsStore
	}
	for _, helper := range config.helpers {
		if helper != "" && strings.Trim(helper, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
			return nil, fmt.Errorf("%s is no name of a credential helper", printable(helper))
		}
	}
	if options.Helpers {
		config.run = runHelper
	}
	return config, nil
}

// ParsePullSecret reads a pull secret: the value of ".dockerconfigjson" of a Secret of type
// kubernetes.io/dockerconfigjson, or of ".dockercfg" of the older kubernetes.io/dockercfg.
// Hosts may have globs, as the kubelet allows them. What it says of helpers is not obeyed:
// whoever may create a Secret must not choose programs.
func ParsePullSecret(kind string, raw []byte) (*DockerConfig, error) {
	if len(raw) > maxConfig {
		return nil, fmt.Errorf("reading a pull secret: it has more than %d bytes", maxConfig)
	}
	var auths map[string]dockerAuth
	var err error
	switch kind {
	case "kubernetes.io/dockerconfigjson":
		var file dockerFile
		err = json.Unmarshal(raw, &file)
		auths = file.Auths
	case "kubernetes.io/dockercfg":
		err = json.Unmarshal(raw, &auths)
	default:
		return nil, fmt.Errorf("reading a pull secret: its type is %s; use kubernetes.io/dockerconfigjson", printable(kind))
	}
	if err != nil {
		return nil, errors.New("reading a pull secret: it is not JSON as docker writes it")
	}
	config := &DockerConfig{globs: true}
	if err := config.add(auths); err != nil {
		return nil, fmt.Errorf("reading a pull secret: %w", err)
	}
	return config, nil
}

func (d *DockerConfig) add(auths map[string]dockerAuth) error {
	for key, auth := range auths {
		host, path, err := dockerKey(key, d.globs)
		if err != nil {
			return fmt.Errorf("auths: %w", err)
		}
		credential, err := auth.credential()
		if err != nil {
			return fmt.Errorf("auths: %s: %w", printable(key), err)
		}
		if credential != (Credential{}) {
			d.entries = append(d.entries, dockerEntry{host: host, path: path, credential: credential})
		}
	}
	// The most specific comes first: the order of the kubelet, backwards by name.
	sort.Slice(d.entries, func(i, j int) bool {
		return d.entries[i].host+d.entries[i].path > d.entries[j].host+d.entries[j].path
	})
	return nil
}

func (a dockerAuth) credential() (Credential, error) {
	credential := Credential{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
	if a.Auth == "" {
		return credential, nil
	}
	pair, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		pair, err = base64.RawStdEncoding.DecodeString(a.Auth)
	}
	name, password, ok := strings.Cut(string(pair), ":")
	if err != nil || !ok {
		return Credential{}, errors.New("auth is not the base64 of NAME:PASSWORD")
	}
	credential.Username, credential.Password = name, strings.TrimRight(password, "\x00")
	return credential, nil
}

// dockerKey reads "https://index.docker.io/v1/", "ghcr.io" or "registry.example.com/path".
func dockerKey(key string, globs bool) (host, path string, err error) {
	rest := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, path, _ = strings.Cut(rest, "/")
	path = strings.Trim(path, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	path = strings.TrimPrefix(strings.TrimPrefix(path, "v1/"), "v2/")
	if !globs || !strings.ContainsAny(host, "*?[") {
		if host, err = canonicalHost(host); err != nil {
			return "", "", err
		}
	}
	switch host {
	case dockerHub, hubEndpoint:
		host = hub
	}
	return host, path, nil
}

// Credentials implements [Credentials].
func (d *DockerConfig) Credentials(ctx context.Context, repository Repository) ([]Credential, error) {
	var found []Credential
	for _, entry := range d.entries {
		if entry.matches(repository, d.globs) && !slices.Contains(found, entry.credential) {
			found = append(found, entry.credential)
		}
	}
	helper, ok := d.helpers[repository.Registry]
	if !ok {
		helper = d.helpers[""]
	}
	if helper == "" || d.run == nil {
		return found, nil
	}
	credential, err := d.ask(ctx, helper, repository.Registry)
	if err == nil && credential != (Credential{}) {
		found = append([]Credential{credential}, found...)
	}
	return found, err
}

// matches by exact host, and by whole segments of the path.
func (e dockerEntry) matches(repository Repository, globs bool) bool {
	if globs && strings.ContainsAny(e.host, "*?[") {
		return matchesImage(e.host, repository.Registry) && below(repository.Path, e.path)
	}
	return e.host == repository.Registry && below(repository.Path, e.path)
}

func below(path, prefix string) bool {
	return prefix == "" || path == prefix || strings.HasPrefix(path, prefix+"/")
}

// ask runs a credential helper (https://github.com/docker/docker-credential-helpers).
func (d *DockerConfig) ask(ctx context.Context, helper, host string) (Credential, error) {
	server := host
	if host == hub {
		server = "https://index.docker.io/v1/"
	}
	out, err := d.run(ctx, "docker-credential-"+helper, []byte(server))
	// A helper that has nothing says so and fails.
	if bytes.Contains(out, []byte("credentials not found")) {
		return Credential{}, nil
	}
	if err != nil {
		return Credential{}, fmt.Errorf("running docker-credential-%s: %w", helper, err)
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return Credential{}, fmt.Errorf("running docker-credential-%s: its answer is not JSON", helper)
	}
	if answer.Username == "<token>" {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

func runHelper(ctx context.Context, program string, stdin []byte) ([]byte, error) {
	return runProgram(ctx, helperTimeout, program, []string{"get"}, os.Environ(), stdin)
}
