package judging

import (
	"time"

	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Of are the flags of a program that has read its own: from is "cluster", "library" for the built-in one, or a folder, which is looked at
// again every ten seconds; profile is "" for the bundle's choice.
func Of(from, profile string) *BundleFlags {
	if from == bundleLibrary {
		from = ""
	}
	return &BundleFlags{bundle: from, profile: profile, interval: folderInterval}
}

const (
	bundleLibrary  = "library"
	folderInterval = 10 * time.Second
)

// With are the images of a program that has read its flags itself. roots may be nil.
func With(options registry.Options, roots *cosign.Roots) (*Images, error) {
	client, err := registry.New(options)
	if err != nil {
		return nil, err
	}
	return &Images{flags: &ImageFlags{}, options: options, registry: client, roots: roots}, nil
}
