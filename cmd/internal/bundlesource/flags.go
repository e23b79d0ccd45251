// Package bundlesource is how the command line is told about bundles that are elsewhere, and whom to believe: the flags
// beside --bundle, and what fetches, verifies and keeps the revision that they name.
//
// What is fetched is verified as in a cluster, by the same code and the same section of a PolicyBundle, each time it is
// used: what is kept of it on disk is believed no more than what comes from the network.
package bundlesource

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Variables of the environment with credentials for Git and web servers. Those of registries are docker's.
const (
	UsernameVariable = "PORTCULLIS_BUNDLE_USERNAME"
	PasswordVariable = "PORTCULLIS_BUNDLE_PASSWORD" //nolint:gosec // the name of a variable
	TokenVariable    = "PORTCULLIS_BUNDLE_TOKEN"    //nolint:gosec // the name of a variable
)

// maxSmallFile is for files of flags: keys, certificates, a verification.
const maxSmallFile = 4 << 20

// Flags are the flags. Register them, then fetch.
type Flags struct {
	// Registries are the flags about registries where the command has them anyway; nil makes Register add them.
	Registries *registryflags.Flags

	verification, root, name      string
	insecure                      bool
	minSerial                     int64
	sshKey, knownHosts, authority string
	cache, kubeconfig             string
}

// Register adds the flags, but for those of registries.
func (f *Flags) Register(flags *pflag.FlagSet) {
	flags.StringVar(&f.verification, "bundle-verification", "", "YAML `file` that says who must have signed a bundle that is elsewhere: the section verification of a PolicyBundle")
	flags.BoolVar(&f.insecure, "bundle-insecure-unsigned", false, "take a bundle from elsewhere whoever wrote it")
	flags.StringVar(&f.root, "bundle-trusted-root", "", "trusted_root.json `file` of Sigstore, for bundles with keyless signatures")
	flags.StringVar(&f.name, "bundle-name", "", "`name` that bundle.yaml must have: a signature binds neither repository nor branch")
	flags.Int64Var(&f.minSerial, "bundle-min-serial", 0, "lowest `serial` that bundle.yaml may have")
	flags.StringVar(&f.sshKey, "bundle-ssh-key", "", "private key `file` for git+ssh://; its passphrase is in "+PasswordVariable)
	flags.StringVar(&f.knownHosts, "bundle-known-hosts", "", "known_hosts `file` for git+ssh:// (default: ~/.ssh/known_hosts)")
	flags.StringVar(&f.authority, "bundle-ca", "", "PEM `file` of the certificate authorities of a Git or web server, instead of the system's")
	flags.StringVar(&f.cache, "bundle-cache", "", "`directory` for bundles that are named by digest or commit (default: portcullis/bundles in the user's cache directory)")
	flags.StringVar(&f.kubeconfig, "bundle-kubeconfig", "", "kubeconfig `file` of the cluster for --bundle cluster (default: that of kubectl)")
}

// RegisterRegistries adds the flags of registries to a command that has none.
func (f *Flags) RegisterRegistries(flags *pflag.FlagSet) {
	f.Registries = &registryflags.Flags{DockerConfig: registryflags.UserDockerConfig()}
	f.Registries.Register(flags)
}

// Name is the one that the bundle must have, "" for any.
func (f *Flags) Name() string { return f.name }

// registry are the options of registries and web servers. Private networks are reached, too: who runs the program names the
// bundle.
func (f *Flags) registry() (registry.Options, error) {
	if f.Registries == nil {
		f.Registries = &registryflags.Flags{DockerConfig: registryflags.UserDockerConfig()}
	}
	options, err := f.Registries.Options()
	if err != nil {
		return options, &UsageError{err}
	}
	options.Allow = append(slices.Clone(options.Allow), registry.PrivateNetworks()...)
	return options, nil
}

// by is who must have signed.
func (f *Flags) by() (v1alpha1.Verification, error) {
	switch {
	case f.verification != "" && f.insecure:
		return v1alpha1.Verification{}, wrong("--bundle-verification and --bundle-insecure-unsigned contradict each other: leave one out")
	case f.insecure:
		return v1alpha1.Verification{InsecureUnsigned: true}, nil
	case f.verification == "":
		return v1alpha1.Verification{}, wrong("opening the bundle: it comes from elsewhere, and nothing says who must have signed it: give --bundle-verification FILE, the section verification of a PolicyBundle (portcullis bundle schema verification shows it), or --bundle-insecure-unsigned to let whoever can write there decide")
	}
	return ReadVerification(f.verification)
}

// ReadVerification reads a file with the section verification of a PolicyBundle.
func ReadVerification(name string) (v1alpha1.Verification, error) {
	var by v1alpha1.Verification
	content, err := read("the verification", name)
	if err != nil {
		return by, err
	}
	if err := yaml.UnmarshalStrict(content, &by); err != nil {
		return by, wrong("reading the verification %s: %w: portcullis bundle schema verification says what it may hold", name, err)
	}
	if by.AllowedSigners == "" && by.PGPKeys == "" && len(by.Authorities) == 0 && !by.InsecureUnsigned {
		return by, wrong("reading the verification %s: it trusts nobody: name allowedSigners or pgpKeys for Git, authorities for registries and tarballs", name)
	}
	return by, nil
}

// read reads a file that a flag names.
func read(what, name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, wrong("reading %s: there is no %s: check the path", what, name)
	case err != nil:
		return nil, wrong("reading %s: %w: make it readable", what, err)
	case !info.Mode().IsRegular():
		return nil, wrong("reading %s: %s is no file: name a file", what, name)
	case info.Size() > maxSmallFile:
		return nil, wrong("reading %s: %s has %d bytes, and the limit is %d: name a smaller file", what, name, info.Size(), maxSmallFile)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, wrong("reading %s: %w: make it readable", what, err)
	}
	return content, nil
}
