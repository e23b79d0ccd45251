package registry

// MatchesImage is exported for the cases of the kubelet.
var MatchesImage = matchesImage

// ParseProviders is exported for fuzzing: the names of the programs.
func ParseProviders(raw []byte) (names []string, err error) {
	configs, err := parseProviders(raw)
	for _, config := range configs {
		names = append(names, config.Name)
	}
	return names, err
}

// ParseChallenge is exported for fuzzing.
func ParseChallenge(header string) (bearer bool, realm, service string, ok bool) {
	c, ok := parseChallenges([]string{header})
	return c.bearer, c.realm, c.service, ok
}

// NextLink is exported for its cases.
func NextLink(header string) string { return nextLink([]string{header}) }
