package source

import (
	"encoding/json"
	"fmt"

	"github.com/portcullis-dev/portcullis/admission/manifest"
)

// ImageVersion is the API version that images have in reports, which show them as objects.
const ImageVersion = "portcullis.dev/v1"

// Image is an image that is judged without a manifest.
type Image struct {
	// Argument is what the user named: a reference, oci:DIR or tar:FILE.
	Argument string `json:"argument"`
	// Ref is the canonical reference it is judged as.
	Ref string `json:"ref"`
	// Digest is what Ref stood for; "" until it is known.
	Digest string `json:"digest,omitempty"`
}

// FromImage makes the document that an image is judged as: a pod that does nothing but run
// it. Everything in it is at one place, the argument.
func FromImage(image Image) (Document, error) {
	type object = map[string]any
	raw, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "image"},
		"spec": object{"containers": []any{object{"name": "image", "image": image.Ref}}},
	})
	if err != nil {
		return Document{}, fmt.Errorf("making a pod of the image %s: %w", image.Ref, err)
	}
	return Document{
		Document: manifest.Document{File: image.Argument, JSON: raw, APIVersion: "v1", Kind: "Pod", Name: "image"},
		Image:    &image,
		locate:   func(string) Location { return Location{File: image.Argument} },
	}, nil
}
