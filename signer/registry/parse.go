package registry

// ParseManifest describes the bytes of a manifest or index that lie elsewhere than in a registry, as
// [Client.Manifest] would.
func ParseManifest(raw []byte) (Manifest, error) {
	manifest, err := newManifest(DigestOf(raw), raw)
	if err != nil {
		return Manifest{}, &Error{Kind: Malformed, What: "reading a manifest", Err: err}
	}
	return manifest, nil
}
