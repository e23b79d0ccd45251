package registry

import (
	"context"
	"errors"
)

// Credential is what to sign in with. The zero value signs in as nobody.
type Credential struct {
	Username, Password string
	// IdentityToken is an OAuth 2 refresh token, in place of a password.
	IdentityToken string
	// RegistryToken is a bearer token that is sent as it is.
	RegistryToken string
}

// Credentials finds what to sign in with.
type Credentials interface {
	// Credentials for a repository, the best first, none where there are none for exactly
	// this host. The registry of a mirror's repository is the mirror.
	Credentials(ctx context.Context, repository Repository) ([]Credential, error)
}

// Static are credentials by host, written as in [Repository].
type Static map[string]Credential

// Credentials implements [Credentials].
func (s Static) Credentials(_ context.Context, repository Repository) ([]Credential, error) {
	if credential, ok := s[repository.Registry]; ok {
		return []Credential{credential}, nil
	}
	return nil, nil
}

// Chain is several sources: their credentials one after the other. One that fails is
// reported only if the others have none.
type Chain []Credentials

// Credentials implements [Credentials].
func (c Chain) Credentials(ctx context.Context, repository Repository) ([]Credential, error) {
	var all []Credential
	var problems []error
	for _, source := range c {
		if source == nil {
			continue
		}
		found, err := source.Credentials(ctx, repository)
		all = append(all, found...)
		problems = append(problems, err)
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, errors.Join(problems...)
}
