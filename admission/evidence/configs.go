package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"golang.org/x/sync/errgroup"
)

// Limits of configurations.
const (
	// The official images have a dozen platforms at most. An index with more is not cut: what policies did not
	// see might be what runs.
	maxPlatforms = 16
	// An index may list indexes; containerd follows them, too.
	maxIndexDepth = 2
	// Configurations have some KB; the history of each step is in them.
	maxConfig = 4 << 20
	// Texts of one configuration that policies see.
	maxConfigTexts = 4096
	// Manifests and configurations that are read at once.
	parallelConfigs = 4
)

// imageConfigs is the configuration of the image, for each platform. It says why when it is not known.
func (g *gathering) imageConfigs(ctx context.Context, s subject, shared *manifests) ([]policies.ImageConfig, string) {
	of := func([]policies.ImageConfig) lifetime { return lifetime{age: g.options.Age, refresh: g.options.Age} } // a digest's never change
	configs, err := known(ctx, g, g.configs, s.key(), of, func(from reader) fetch[[]policies.ImageConfig] {
		k := s.key()
		k.scope = from.scope
		return func(ctx context.Context, _ bool) (answer[[]policies.ImageConfig], error) {
			return g.configsAnew(ctx, k, shared.through(from))
		}
	})
	if err != nil {
		return nil, g.reason("the configuration of "+s.image.Ref, s.repository, err)
	}
	return configs, ""
}

func (g *gathering) configsAnew(ctx context.Context, k key, from Registry) (answer[[]policies.ImageConfig], error) {
	if kept := g.store.get(partConfigs, k); kept != nil {
		if configs, err := readConfigs(ctx, play(kept), k.repository, k.subject); err == nil {
			g.options.Metrics.looked(partConfigs, lookDisk)
			return answer[[]policies.ImageConfig]{value: configs, fetched: kept.Fetched, size: sizeOfConfigs(configs)}, nil
		}
	}
	began := g.options.Now()
	recorder := record(from, k.repository, maxTranscript)
	configs, err := readConfigs(ctx, recorder, k.repository, k.subject)
	if err != nil {
		return answer[[]policies.ImageConfig]{}, err
	}
	return answer[[]policies.ImageConfig]{
		value: configs, fetched: began, size: sizeOfConfigs(configs),
		after: func() { g.keep(partConfigs, k, recorder, began, true) },
	}, nil
}

// readConfigs reads the configurations that a digest stands for: one, or that of each platform of an index.
func readConfigs(ctx context.Context, from Registry, repository registry.Repository, digest string) ([]policies.ImageConfig, error) {
	manifest, err := from.Manifest(ctx, repository, digest)
	if err != nil {
		return nil, err
	}
	leaves, err := platforms(ctx, from, repository, manifest, "", 0)
	if err != nil {
		return nil, err
	}
	configs := make([]policies.ImageConfig, len(leaves))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelConfigs)
	for n, one := range leaves {
		group.Go(func() (err error) {
			configs[n], err = one.read(ctx, from, repository)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return configs, nil
}

// leaf is a manifest of an image, with the platform that the index gives. Its manifest is read already where it is no child.
type leaf struct {
	digest, platform string
	manifest         *registry.Manifest
}

// platforms are the manifests below one, in its order. Attestation manifests (of no platform: "unknown/unknown", which no runtime
// asks for) are left out.
func platforms(ctx context.Context, from Registry, repository registry.Repository, manifest registry.Manifest, platform string, depth int) ([]leaf, error) {
	if !manifest.IsIndex() {
		return []leaf{{manifest.Digest, platform, &manifest}}, nil
	}
	if depth == maxIndexDepth {
		return nil, fmt.Errorf("%s is an index in an index in an index: flatten it", manifest.Digest)
	}
	children, err := manifest.Children()
	if err != nil {
		return nil, fmt.Errorf("reading the index %s: %w", manifest.Digest, err)
	}
	var leaves []leaf
	for _, child := range children {
		switch {
		case child.Platform == "unknown/unknown":
			continue
		case isIndexType(child.MediaType):
			below, err := from.Manifest(ctx, repository, child.Digest)
			if err != nil {
				return nil, err
			}
			more, err := platforms(ctx, from, repository, below, child.Platform, depth+1)
			if err != nil {
				return nil, err
			}
			leaves = append(leaves, more...)
		default:
			leaves = append(leaves, leaf{child.Digest, child.Platform, nil})
		}
		if len(leaves) > maxPlatforms {
			return nil, fmt.Errorf("the index %s has more than %d platforms: name the manifest of one platform by its digest", manifest.Digest, maxPlatforms)
		}
	}
	return leaves, nil
}

func (l leaf) read(ctx context.Context, from Registry, repository registry.Repository) (policies.ImageConfig, error) {
	if l.manifest == nil {
		manifest, err := from.Manifest(ctx, repository, l.digest)
		if err != nil {
			return policies.ImageConfig{}, err
		}
		l.manifest = &manifest
	}
	if l.manifest.IsIndex() {
		return policies.ImageConfig{}, fmt.Errorf("%s is an index, and listed as a manifest", l.digest)
	}
	var fields struct {
		Config *struct {
			Digest string `json:"digest"`
			Size   int64  `json:"size"`
		} `json:"config"`
	}
	if err := json.Unmarshal(l.manifest.Raw, &fields); err != nil {
		return policies.ImageConfig{}, fmt.Errorf("reading the manifest %s: %w", l.digest, err)
	}
	if fields.Config == nil {
		return policies.ImageConfig{}, fmt.Errorf("the manifest %s has no configuration: it is no image that a node can run", l.digest)
	}
	content, err := from.Blob(ctx, repository, fields.Config.Digest, maxConfig)
	if err != nil {
		return policies.ImageConfig{}, err
	}
	config, err := parseConfig(content)
	if err != nil {
		return policies.ImageConfig{}, fmt.Errorf("reading the configuration %s: %w: build the image again", fields.Config.Digest, err)
	}
	config.Digest, config.Platform = l.digest, l.runsOn(config.Platform)
	return config, nil
}

// runsOn is the platform whose nodes take the image: a node goes by the index and, where that says nothing, runs what it is given.
// What an image says of itself is then only believed if it is Linux: else an image that calls itself one for Windows, or for
// no platform, would be left out by policies about what runs on Linux, and run there. "" is that nobody can tell.
func (l leaf) runsOn(itself string) string {
	if l.platform != "" || !strings.HasPrefix(itself, "linux/") {
		return l.platform
	}
	return itself
}

// configFields are those of an image's configuration that policies see (OCI image specification, "image configuration").
type configFields struct {
	Created      string `json:"created"`
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant"`
	Config       struct {
		User         string              `json:"User"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts"`
		Volumes      map[string]struct{} `json:"Volumes"`
		Entrypoint   []string            `json:"Entrypoint"`
		Cmd          []string            `json:"Cmd"`
		Labels       map[string]string   `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// parseConfig reads a configuration as container runtimes do, with encoding/json: field names in any case, and the last of
// two counts. Another reader could see another user than the one that the container runs as.
func parseConfig(content []byte) (policies.ImageConfig, error) {
	var fields configFields
	if err := json.Unmarshal(content, &fields); err != nil {
		return policies.ImageConfig{}, err
	}
	c := &fields.Config
	if len(c.ExposedPorts)+len(c.Volumes)+len(c.Entrypoint)+len(c.Cmd)+len(c.Labels)+len(fields.RootFS.DiffIDs) > maxConfigTexts {
		return policies.ImageConfig{}, errors.New("it lists thousands of things")
	}
	config := policies.ImageConfig{
		User: c.User, ExposedPorts: sortedKeys(c.ExposedPorts), Volumes: sortedKeys(c.Volumes),
		Entrypoint: c.Entrypoint, Cmd: c.Cmd, Labels: []policies.Label{},
		Layers: fields.RootFS.DiffIDs, Created: fields.Created,
	}
	if fields.OS != "" && fields.Architecture != "" {
		config.Platform = fields.OS + "/" + fields.Architecture
		if fields.Variant != "" {
			config.Platform += "/" + fields.Variant
		}
	}
	for _, name := range sortedKeys(c.Labels) {
		config.Labels = append(config.Labels, policies.Label{Key: name, Value: c.Labels[name]})
	}
	return config, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func sizeOfConfigs(configs []policies.ImageConfig) int {
	size := 0
	for _, c := range configs {
		size += 512 + len(c.User) + len(c.Created)
		for _, texts := range [][]string{c.ExposedPorts, c.Volumes, c.Entrypoint, c.Cmd, c.Layers} {
			for _, text := range texts {
				size += len(text) + 16
			}
		}
		for _, label := range c.Labels {
			size += len(label.Key) + len(label.Value) + 32
		}
	}
	return size
}

// isIndexType knows the media types of indexes (OCI image specification, "media types", and Docker's manifest list).
func isIndexType(mediaType string) bool {
	return registry.Manifest{Descriptor: registry.Descriptor{MediaType: mediaType}}.IsIndex()
}
