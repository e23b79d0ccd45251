package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
	"github.com/package-url/packageurl-go"
)

// bomName is the file of the SBOM for a platform, in the folder of an image.
func bomName(platform string) string {
	return "sbom-" + strings.ReplaceAll(platform, "/", "-") + ".cdx.json"
}

func sha256Of(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// newBOM is the CycloneDX 1.6 bill of materials of a program: the modules that the linker recorded, with the checksums of
// go.sum, and Go's own library. A program of Go holds nothing else, and neither do these images.
func newBOM(program, version, file string, content []byte, from checkout) ([]byte, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading what %s is made of: %w", program, err)
	}
	main := component(cyclonedx.ComponentTypeApplication, info.Main.Path, version, "")
	main.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: sha256Of(content)}}
	parts := []cyclonedx.Component{component(cyclonedx.ComponentTypeLibrary, "stdlib", strings.TrimPrefix(info.GoVersion, "go"), "")}
	for _, module := range info.Deps {
		used := module
		if module.Replace != nil {
			used = module.Replace
		}
		parts = append(parts, component(cyclonedx.ComponentTypeLibrary, used.Path, used.Version, used.Sum))
	}
	slices.SortFunc(parts, func(a, b cyclonedx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	references := make([]string, len(parts))
	for i, part := range parts {
		references[i] = part.BOMRef
	}
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://portcullis.dev/sbom/"+sha256Of(content))).URN()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: from.time.Format(time.RFC3339), Component: &main,
		Properties: properties(info),
	}
	bom.Components = &parts
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &references}}
	var out bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("writing what %s is made of: %w", program, err)
	}
	return out.Bytes(), nil
}

// component is one module. sum is as go.sum has it, which is no digest of a file and so a property.
func component(kind cyclonedx.ComponentType, path, version, sum string) cyclonedx.Component {
	namespace, last := "", path
	if i := strings.LastIndex(path, "/"); i >= 0 {
		namespace, last = path[:i], path[i+1:]
	}
	url := packageurl.NewPackageURL(packageurl.TypeGolang, namespace, last, version, nil, "").ToString()
	c := cyclonedx.Component{BOMRef: url, Type: kind, Name: path, Version: version, PackageURL: url}
	if sum != "" {
		c.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}

// properties are the settings that the program was built with.
func properties(info *debug.BuildInfo) *[]cyclonedx.Property {
	all := []cyclonedx.Property{{Name: "go:version", Value: info.GoVersion}}
	for _, setting := range info.Settings {
		if setting.Key != "-ldflags" {
			all = append(all, cyclonedx.Property{Name: "go:" + strings.TrimPrefix(setting.Key, "-"), Value: setting.Value})
		}
	}
	return &all
}
