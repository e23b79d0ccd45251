package evidence

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

var configsOnly = policies.ImageSections{Configs: true}

// content is a registry of manifests and blobs that a test makes.
type content map[string][]byte

func (c content) add(raw string) (digest string) {
	digest = registry.DigestOf([]byte(raw))
	c[digest] = []byte(raw)
	return digest
}

func (c content) registry() *fakeRegistry {
	return &fakeRegistry{
		manifest: func(digest string) (registry.Manifest, error) {
			if raw, ok := c[digest]; ok {
				return registry.ParseManifest(raw)
			}
			return registry.Manifest{}, notFound(digest)
		},
		blob: func(digest string) ([]byte, error) {
			if raw, ok := c[digest]; ok {
				return raw, nil
			}
			return nil, notFound(digest)
		},
	}
}

func (c content) image(config string) (digest string) {
	return c.add(fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[]}`, c.add(config), len(config)))
}

type child struct{ digest, mediaType, platform string }

func (c content) index(children ...child) (digest string) {
	var list []map[string]any
	for _, one := range children {
		entry := map[string]any{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": one.digest, "size": len(c[one.digest])}
		if one.mediaType != "" {
			entry["mediaType"] = one.mediaType
		}
		if os, rest, ok := strings.Cut(one.platform, "/"); ok {
			architecture, variant, _ := strings.Cut(rest, "/")
			entry["platform"] = map[string]any{"os": os, "architecture": architecture, "variant": variant}
		}
		list = append(list, entry)
	}
	raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": list})
	if err != nil {
		panic(err)
	}
	return c.add(string(raw))
}

const indexType = "application/vnd.oci.image.index.v1+json"

func platformConfig(architecture string) string {
	return fmt.Sprintf(`{"os":"linux","architecture":%q,"config":{"User":"app"},"rootfs":{"type":"layers","diff_ids":[]}}`, architecture)
}

func TestConfigurations(t *testing.T) {
	c := content{}
	amd, arm := c.image(platformConfig("amd64")), c.image(platformConfig("arm64"))
	attestation := c.add(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"sha256:broken"},"layers":[]}`)
	many := make([]child, 0, maxPlatforms+1)
	for n := range maxPlatforms + 1 {
		many = append(many, child{digest: c.image(platformConfig(fmt.Sprint("arch", n))), platform: fmt.Sprint("linux/arch", n)})
	}
	nested := c.index(child{digest: arm, platform: "linux/arm64"})
	deep := c.index(child{digest: c.index(child{digest: nested, mediaType: indexType}), mediaType: indexType})
	for name, test := range map[string]struct {
		digest  string
		want    string // platform of each
		unknown string
	}{
		"one manifest":                           {amd, "linux/amd64", ""},
		"an index, in its order":                 {c.index(child{digest: arm, platform: "linux/arm64"}, child{digest: amd, platform: "linux/amd64"}), "linux/arm64 linux/amd64", ""},
		"attestation manifests are none":         {c.index(child{digest: amd, platform: "linux/amd64"}, child{digest: attestation, platform: "unknown/unknown"}), "linux/amd64", ""},
		"a manifest without platform counts":     {c.index(child{digest: amd}), "linux/amd64", ""},
		"the index says for whom, not the image": {c.index(child{digest: c.image(`{"os":"unknown","architecture":"unknown","config":{"User":"0"}}`), platform: "linux/amd64"}, child{digest: c.image(`{"os":"windows","architecture":"amd64"}`), platform: "linux/arm64"}), "linux/amd64 linux/arm64", ""},
		"an image that says it is for Windows":   {c.image(`{"os":"windows","architecture":"amd64"}`), "", ""},
		"no operating system in the index":       {c.index(child{digest: c.image(`{"os":"unknown","architecture":"unknown"}`), platform: "/amd64"}), "", ""},
		"an index in an index":                   {c.index(child{digest: amd, platform: "linux/amd64"}, child{digest: nested, mediaType: indexType}), "linux/amd64 linux/arm64", ""},
		"as many platforms as are read":          {c.index(many[1:]...), strings.Join(platformsOf(many[1:]), " "), ""},
		"one platform more is not cut":           {c.index(many...), "", "more than 16 platforms"},
		"an index in an index in an index":       {deep, "", "flatten it"},
		"an index that is listed as a manifest":  {c.index(child{digest: nested, platform: "linux/amd64"}), "", "listed as a manifest"},
		"a child that is not there":              {c.index(child{digest: amd}, child{digest: digestOf("gone"), platform: "linux/s390x"}), "", "not found"},
		"no configuration":                       {c.add(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}`), "", "no configuration"},
		"a configuration that is no JSON":        {c.image(`{"config":`), "", "build the image again"},
		"a user that is no text":                 {c.image(`{"config":{"User":0}}`), "", "build the image again"},
		"an artifact with an empty one":          {c.image(`{}`), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			facts := start(t, Options{Registry: c.registry(), Verifier: signedBy("release")})
			got := gatherOne(t, facts, needing(t, configsOnly, "ghcr.io/acme/app@"+test.digest))
			if !strings.Contains(got.Unknown.Configs, test.unknown) || (test.unknown == "") != (got.Unknown.Configs == "") {
				t.Fatalf("unknown because %q, want %q", got.Unknown.Configs, test.unknown)
			}
			var platforms []string
			for _, config := range got.Configs {
				platforms = append(platforms, config.Platform)
			}
			if got := strings.Join(platforms, " "); got != test.want {
				t.Errorf("platforms %q, want %q", got, test.want)
			}
		})
	}
}

func platformsOf(children []child) (platforms []string) {
	for _, one := range children {
		platforms = append(platforms, one.platform)
	}
	return platforms
}

func TestWhatIsReadOfAConfiguration(t *testing.T) {
	c := content{}
	digest := c.image(`{"os":"linux","architecture":"arm","variant":"v7","created":"2026-01-02T03:04:05Z",
		"config":{"User":"1000:1000","ExposedPorts":{"8443/tcp":{},"80/tcp":{}},"Volumes":{"/data":{}},"Entrypoint":["/app"],"Cmd":["serve"],"Labels":{"b":"2","a":"1"}},
		"rootfs":{"type":"layers","diff_ids":["sha256:1","sha256:2"]}}`)
	facts := start(t, Options{Registry: c.registry(), Verifier: signedBy("release")})
	got := gatherOne(t, facts, needing(t, configsOnly, "ghcr.io/acme/app@"+digest)).Configs
	want := []policies.ImageConfig{{
		Digest: digest, Platform: "linux/arm/v7", User: "1000:1000", ExposedPorts: []string{"80/tcp", "8443/tcp"}, Volumes: []string{"/data"},
		Entrypoint: []string{"/app"}, Cmd: []string{"serve"}, Labels: []policies.Label{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}},
		Layers: []string{"sha256:1", "sha256:2"}, Created: "2026-01-02T03:04:05Z",
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestTheUserIsTheOneThatTheRuntimeSees: container runtimes read configurations with encoding/json.
func TestTheUserIsTheOneThatTheRuntimeSees(t *testing.T) {
	for name, test := range map[string]struct{ config, want string }{
		"twice, the last one counts":         {`{"config":{"User":"app","User":"root"}}`, "root"},
		"in another case":                    {`{"config":{"user":"root"}}`, "root"},
		"in both cases, the last one counts": {`{"config":{"User":"app","user":"root"}}`, "root"},
		"the whole section twice":            {`{"config":{"User":"app"},"Config":{"User":"root"}}`, "root"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := parseConfig([]byte(test.config))
			if err != nil || config.User != test.want {
				t.Errorf("got user %q, error %v, want %q", config.User, err, test.want)
			}
		})
	}
}

func TestAConfigurationIsReadOnceForADigest(t *testing.T) {
	c := content{}
	digest := c.image(platformConfig("amd64"))
	from := c.registry()
	facts := start(t, Options{Registry: from, Verifier: signedBy("release")})
	for range 3 {
		gatherOne(t, facts, needing(t, configsOnly, "ghcr.io/acme/app@"+digest))
	}
	if got, want := from.asked(), "manifest, blob"; got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

// TestAManifestIsFetchedOnce although its tag is resolved and its configuration read.
func TestAManifestIsFetchedOnce(t *testing.T) {
	c := content{}
	digest := c.image(platformConfig("amd64"))
	from := c.registry()
	from.resolve = func(string) (registry.Manifest, error) { return registry.ParseManifest(c[digest]) }
	facts := start(t, Options{Registry: from, Verifier: signedBy("release")})
	got := gatherOne(t, facts, needing(t, configsOnly, "ghcr.io/acme/app:1"))
	if asked := from.asked(); asked != "resolve 1, blob" || len(got.Configs) != 1 {
		t.Errorf("asked for %q, %d configurations, want a resolution and a blob, one configuration", asked, len(got.Configs))
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(platformConfig("amd64")))
	f.Add([]byte(`{"config":{"Labels":null,"ExposedPorts":{"80/tcp":{}}},"rootfs":{"diff_ids":["sha256:1"]}}`))
	f.Add([]byte(`{"config":{"User":"a","USER":"b"}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		config, err := parseConfig(content)
		if err == nil && sizeOfConfigs([]policies.ImageConfig{config}) > 512+64*maxConfigTexts+10*len(content) {
			t.Errorf("%d bytes became %+v", len(content), config)
		}
	})
}
