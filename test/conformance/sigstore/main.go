// Command sigstore speaks the client protocol of the Sigstore conformance tests
// (https://github.com/sigstore/sigstore-conformance/blob/main/docs/cli_protocol.md), so that these can
// judge the verification that admission relies on:
//
//	verify-bundle --bundle FILE (--certificate-identity ID --certificate-oidc-issuer URL | --key FILE)
//	    [--trusted-root FILE] FILE_OR_DIGEST
//
// It exits with 0 if the bundle is good and with 1 otherwise.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/spf13/pflag"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program. It returns its exit code.
func run(args []string, stdout, stderr io.Writer) int {
	signers, err := verify(args)
	if err != nil {
		fmt.Fprintf(stderr, "%v\n", err)
		return 1
	}
	for _, by := range signers {
		fmt.Fprintf(stdout, "signed by %s%s %s\n", by.Subject, by.Key, by.Time)
	}
	return 0
}

// request is what the protocol can ask for.
type request struct {
	bundle, identity, issuer, key, root, artifact string
}

func parse(args []string) (request, error) {
	var r request
	if len(args) == 0 || args[0] != "verify-bundle" {
		return r, errors.New("the first argument must be verify-bundle")
	}
	flags := pflag.NewFlagSet("verify-bundle", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&r.bundle, "bundle", "", "")
	flags.StringVar(&r.identity, "certificate-identity", "", "")
	flags.StringVar(&r.issuer, "certificate-oidc-issuer", "", "")
	flags.StringVar(&r.key, "key", "", "")
	flags.StringVar(&r.root, "trusted-root", "", "")
	staging := flags.Bool("staging", false, "")
	if err := flags.Parse(args[1:]); err != nil {
		return r, err
	}
	switch {
	case flags.NArg() != 1 || r.bundle == "":
		return r, errors.New("give --bundle and one file or digest")
	case (r.key == "") == (r.identity == "") || (r.identity == "") != (r.issuer == ""):
		return r, errors.New("give --certificate-identity and --certificate-oidc-issuer, or --key")
	case *staging && r.root == "":
		return r, errors.New("give the staging instance's --trusted-root: none is fetched")
	case r.root == "" && r.key == "":
		return r, errors.New("give --trusted-root: none is fetched")
	}
	r.artifact = flags.Arg(0)
	return r, nil
}

func verify(args []string) ([]signer.Signer, error) {
	r, err := parse(args)
	if err != nil {
		return nil, err
	}
	authority, err := r.authority()
	if err != nil {
		return nil, err
	}
	trust, err := signer.Compile(&signer.Trust{Authorities: []signer.Authority{authority}})
	if err != nil {
		return nil, err
	}
	var options cosign.Options
	if r.root != "" {
		if options.Roots, err = cosign.NewRoots(r.root); err != nil {
			return nil, err
		}
	}
	bundle, err := os.ReadFile(r.bundle)
	if err != nil {
		return nil, err
	}
	blob, err := r.blob()
	if err != nil {
		return nil, err
	}
	return cosign.NewVerifier(options).VerifyBlob(bundle, blob, []*signer.CheckedAuthority{trust.Authority(authority.Name)})
}

// authority is the only one that is trusted. The conformance tests expect a log entry for keys, too,
// wherever there is a trusted root to verify it against.
func (r request) authority() (signer.Authority, error) {
	authority := signer.Authority{Name: "expected", Images: []string{"**"}}
	if r.key == "" {
		authority.Identities = []signer.Identity{{Issuer: r.issuer, Subject: r.identity}}
		return authority, nil
	}
	key, err := os.ReadFile(r.key)
	if err != nil {
		return authority, err
	}
	authority.Keys, authority.TransparencyLog = []signer.Key{{PEM: string(key)}}, r.root != ""
	return authority, nil
}

var digestGrammar = regexp.MustCompile(`^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$`)

func (r request) blob() (cosign.Blob, error) {
	if digestGrammar.MatchString(r.artifact) {
		return cosign.Blob{Digest: r.artifact}, nil
	}
	content, err := os.ReadFile(r.artifact)
	return cosign.Blob{Content: content}, err
}
