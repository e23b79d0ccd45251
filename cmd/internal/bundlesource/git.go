package bundlesource

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/git"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// git is a repository.
func (f *Flags) git(named v1alpha1.GitSource, options registry.Options) (source.Source, error) {
	credentials := git.Credentials{Password: os.Getenv(PasswordVariable)}
	var err error
	if strings.HasPrefix(named.URL, "ssh://") {
		credentials, err = f.sshCredentials(credentials)
	} else {
		credentials.Username, credentials.BearerToken = os.Getenv(UsernameVariable), os.Getenv(TokenVariable)
	}
	if err != nil {
		return nil, err
	}
	return git.New(named, git.Options{Credentials: credentials, Allow: options.Allow, Cluster: options.Cluster, PlainHTTP: options.PlainHTTP})
}

// sshCredentials adds the private key and the keys of servers. The password is the passphrase of the key.
func (f *Flags) sshCredentials(credentials git.Credentials) (git.Credentials, error) {
	if f.sshKey == "" {
		return credentials, wrong("fetching over SSH: there is no key to sign in with: give --bundle-ssh-key FILE; its passphrase is taken from %s", PasswordVariable)
	}
	key, err := read("the SSH key", f.sshKey)
	if err != nil {
		return credentials, err
	}
	credentials.Identity = key
	known := f.knownHosts
	if known == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return credentials, wrong("fetching over SSH: the keys of servers cannot be found: %w: give --bundle-known-hosts FILE", err)
		}
		known = filepath.Join(home, ".ssh", "known_hosts")
	}
	hosts, err := read("the keys of SSH servers", known)
	if err != nil {
		return credentials, err
	}
	credentials.KnownHosts = string(hosts)
	return credentials, nil
}
