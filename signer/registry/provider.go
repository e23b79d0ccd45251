package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	credentialprovider "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	"sigs.k8s.io/yaml"
)

const (
	providerAPIVersion = "credentialprovider.kubelet.k8s.io/v1"
	// providerTimeout is the kubelet's.
	providerTimeout = time.Minute
	// maxRemembered answers of one provider.
	maxRemembered = 1024
)

// Providers are credential providers of the kubelet: programs that fetch short-lived
// credentials of a cloud (ECR, Artifact Registry, ACR). The configuration file and the
// protocol are the kubelet's
// (https://kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider/), so
// those of a node can be used as they are. Providers that want a service account token
// are refused: no such token leaves this program.
type Providers struct {
	providers []*provider
}

// ProviderOptions are for tests; the zero value is right otherwise.
type ProviderOptions struct {
	// Now is the clock, Timeout how long a provider may run.
	Now     func() time.Time
	Timeout time.Duration
}

// provider is one program.
type provider struct {
	providerConfig
	program string
	options ProviderOptions

	mu sync.Mutex
	// answers by key: that of an image, a registry, or "" for all.
	answers map[string]answer
	// running has a turn for each image.
	running map[string]chan struct{}
}

type answer struct {
	auth    map[string]credentialprovider.AuthConfig
	expires time.Time
}

// providerFile is kubelet.config.k8s.io/v1 CredentialProviderConfig. It is declared here
// since the kubelet's package brings its logging and tracing along.
type providerFile struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Providers  []providerConfig `json:"providers"`
}

type providerConfig struct {
	Name                 string           `json:"name"`
	MatchImages          []string         `json:"matchImages"`
	DefaultCacheDuration *metav1.Duration `json:"defaultCacheDuration"`
	APIVersion           string           `json:"apiVersion"`
	Args                 []string         `json:"args,omitempty"`
	Env                  []providerEnv    `json:"env,omitempty"`
	TokenAttributes      any              `json:"tokenAttributes,omitempty"`
}

type providerEnv struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ReadProviders reads a CredentialProviderConfig, whose programs are in a directory.
func ReadProviders(file, directory string, options ProviderOptions) (*Providers, error) {
	raw, err := readBounded(file, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("reading the credential providers: %w", err)
	}
	configs, err := parseProviders(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the credential providers in %s: %w", file, err)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	options.Timeout = cmp.Or(options.Timeout, providerTimeout)
	all := &Providers{}
	for _, config := range configs {
		program := filepath.Join(directory, config.Name)
		if info, err := os.Stat(program); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			return nil, fmt.Errorf("reading the credential providers in %s: %s is no program; install the provider there", file, program)
		}
		all.providers = append(all.providers, &provider{providerConfig: config, program: program, options: options, answers: map[string]answer{}, running: map[string]chan struct{}{}})
	}
	return all, nil
}

// parseProviders checks a configuration as the kubelet does.
func parseProviders(raw []byte) ([]providerConfig, error) {
	var file providerFile
	if err := yaml.UnmarshalStrict(raw, &file); err != nil {
		return nil, err
	}
	if file.Kind != "CredentialProviderConfig" || file.APIVersion != "kubelet.config.k8s.io/v1" {
		return nil, errors.New("it is no CredentialProviderConfig of kubelet.config.k8s.io/v1")
	}
	if len(file.Providers) == 0 {
		return nil, errors.New("it names no provider")
	}
	seen := map[string]bool{}
	for i, config := range file.Providers {
		if err := config.check(); err != nil {
			return nil, fmt.Errorf("providers[%d]: %w", i, err)
		}
		if seen[config.Name] {
			return nil, fmt.Errorf("providers[%d]: there are two of the name %s", i, config.Name)
		}
		seen[config.Name] = true
	}
	return file.Providers, nil
}

func (p providerConfig) check() error {
	switch {
	case p.Name == "" || p.Name == "." || p.Name == ".." || strings.ContainsAny(p.Name, "/\\ \x00"):
		return fmt.Errorf("%s is no name of a program", printable(p.Name))
	case p.APIVersion != providerAPIVersion:
		return fmt.Errorf("apiVersion is %s; use %s", printable(p.APIVersion), providerAPIVersion)
	case len(p.MatchImages) == 0:
		return errors.New("matchImages is empty")
	case p.DefaultCacheDuration == nil || p.DefaultCacheDuration.Duration < 0:
		return errors.New("defaultCacheDuration is missing or negative")
	case p.TokenAttributes != nil:
		return errors.New("tokenAttributes asks for service account tokens, which are given to nobody; remove it")
	}
	for _, pattern := range p.MatchImages {
		if _, err := url.Parse("https://" + pattern); err != nil || pattern == "" {
			return fmt.Errorf("matchImages: %s is no pattern", printable(pattern))
		}
	}
	return nil
}

// Credentials implements [Credentials].
func (p *Providers) Credentials(ctx context.Context, repository Repository) ([]Credential, error) {
	var all Chain
	for _, one := range p.providers {
		all = append(all, one)
	}
	return all.Credentials(ctx, repository)
}

// Credentials asks one provider, if the image is one of its.
func (p *provider) Credentials(ctx context.Context, repository Repository) ([]Credential, error) {
	image := repository.String()
	if !slices.ContainsFunc(p.MatchImages, func(pattern string) bool { return matchesImage(pattern, image) }) {
		return nil, nil
	}
	auth, err := p.once(ctx, repository)
	if err != nil {
		return nil, fmt.Errorf("running the credential provider %s for %s: %w", p.Name, image, err)
	}
	return choose(auth, image), nil
}

// choose takes what matches the image, the most specific first: backwards by name.
func choose(auth map[string]credentialprovider.AuthConfig, image string) []Credential {
	var keys []string
	for key := range auth {
		if matchesImage(strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://"), image) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	slices.Reverse(keys)
	var all []Credential
	for _, key := range keys {
		if c := (Credential{Username: auth[key].Username, Password: auth[key].Password}); c != (Credential{}) {
			all = append(all, c)
		}
	}
	return all
}

// once answers from memory, or runs the provider for all who ask for the image meanwhile.
func (p *provider) once(ctx context.Context, repository Repository) (map[string]credentialprovider.AuthConfig, error) {
	image := repository.String()
	p.mu.Lock()
	turn := p.running[image]
	if turn == nil {
		if len(p.running) >= maxRemembered {
			clear(p.running)
		}
		turn = make(chan struct{}, 1)
		p.running[image] = turn
	}
	p.mu.Unlock()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if auth, ok := p.remembered(repository); ok {
		return auth, nil
	}
	response, err := p.exec(ctx, image)
	if err != nil {
		return nil, err
	}
	return response.Auth, p.remember(repository, response)
}

func (p *provider) remembered(repository Repository) (map[string]credentialprovider.AuthConfig, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range []string{repository.String(), repository.Registry, ""} {
		if a, ok := p.answers[key]; ok && p.options.Now().Before(a.expires) {
			return a.auth, true
		}
	}
	return nil, false
}

// remember keeps an answer as long as it says, for what it says it is good for.
func (p *provider) remember(repository Repository, response *credentialprovider.CredentialProviderResponse) error {
	lasts := p.DefaultCacheDuration.Duration
	if response.CacheDuration != nil {
		lasts = response.CacheDuration.Duration
	}
	var key string
	switch response.CacheKeyType {
	case credentialprovider.ImagePluginCacheKeyType:
		key = repository.String()
	case credentialprovider.RegistryPluginCacheKeyType:
		key = repository.Registry
	case credentialprovider.GlobalPluginCacheKeyType:
	default:
		return fmt.Errorf("its cacheKeyType is %s; it must be Image, Registry or Global", printable(string(response.CacheKeyType)))
	}
	if lasts <= 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answers) >= maxRemembered {
		clear(p.answers)
	}
	p.answers[key] = answer{auth: response.Auth, expires: p.options.Now().Add(lasts)}
	return nil
}

// exec runs the program: the request on its standard input, the answer on its output.
func (p *provider) exec(ctx context.Context, image string) (*credentialprovider.CredentialProviderResponse, error) {
	request, err := json.Marshal(map[string]string{"apiVersion": providerAPIVersion, "kind": "CredentialProviderRequest", "image": image})
	if err != nil {
		return nil, err
	}
	environment := os.Environ()
	for _, variable := range p.Env {
		environment = append(environment, variable.Name+"="+variable.Value)
	}
	out, err := runProgram(ctx, p.options.Timeout, p.program, p.Args, environment, request)
	if err != nil {
		return nil, err
	}
	var response credentialprovider.CredentialProviderResponse
	if err := json.Unmarshal(out, &response); err != nil {
		return nil, errors.New("its answer is not JSON") // the decoder's error could quote a password
	}
	if response.APIVersion != providerAPIVersion || response.Kind != "CredentialProviderResponse" {
		return nil, fmt.Errorf("its answer is a %s of %s and not a CredentialProviderResponse of %s", printable(response.Kind), printable(response.APIVersion), providerAPIVersion)
	}
	return &response, nil
}
