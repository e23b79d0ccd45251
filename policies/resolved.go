package policies

// Configured are the policies of a profile as they are configured, with what it inherits and without those that are off,
// sorted by name; nil for a profile that there is not.
func (b *Bundle) Configured(profile string) []Instance {
	resolved, err := b.resolveProfiles()
	if err != nil {
		return nil // Load has refused such a bundle
	}
	return resolved[profile]
}
