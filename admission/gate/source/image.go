package source

// Image is an image that is judged without a manifest.
type Image struct {
	// Argument is what the user named: a reference, oci:DIR or tar:FILE.
	Argument string `json:"argument"`
	// Ref is the canonical reference it is judged as.
	Ref string `json:"ref"`
}
