package judging

import (
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// OfCluster are the flags of a program that judges by the PolicyBundles of the cluster, and has no choice.
func OfCluster() *BundleFlags { return &BundleFlags{bundle: bundleCluster} }

// With are the images of a program that has read its flags itself. roots may be nil.
func With(options registry.Options, roots *cosign.Roots) (*Images, error) {
	client, err := registry.New(options)
	if err != nil {
		return nil, err
	}
	return &Images{flags: &ImageFlags{}, options: options, registry: client, roots: roots}, nil
}
