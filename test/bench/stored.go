package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// stored is a revision as the cluster keeps it, and who may have signed it.
type stored struct {
	encoded []byte
	digest  string
	by      v1alpha1.Verification
}

// newStored pushes the built-in library to a registry, signs it, fetches it with its proof, and encodes that.
func newStored(ctx context.Context) (s *stored, err error) {
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	client, err := server.Client()
	if err != nil {
		return nil, err
	}
	tree, err := archive.Read(library.FS())
	if err != nil {
		return nil, err
	}
	repository := server.Repository("acme/policies")
	digest, err := oci.Push(ctx, client, repository, "stable", tree)
	if err != nil {
		return nil, err
	}
	authority, err := signRevision(ctx, client, cosign.Target{Repository: repository, Digest: digest})
	if err != nil {
		return nil, err
	}
	from, err := oci.New(v1alpha1.OCISource{Repository: repository.String(), Digest: digest}, oci.Options{From: client})
	if err != nil {
		return nil, err
	}
	fetched, err := from.Fetch(ctx, "")
	if err != nil {
		return nil, err
	}
	encoded, err := source.Encode(fetched)
	return &stored{encoded: encoded, digest: tree.Digest(), by: v1alpha1.Verification{Authorities: []signer.Authority{authority}}}, err
}

// signRevision signs by a key of its own, and gives the authority that this makes.
func signRevision(ctx context.Context, client *registry.Client, target cosign.Target) (signer.Authority, error) {
	private, _, err := cosign.GenerateKeyPair(nil)
	if err != nil {
		return signer.Authority{}, err
	}
	key, err := cosign.LoadPrivateKey(private, nil)
	if err != nil {
		return signer.Authority{}, err
	}
	if _, err := cosign.Sign(ctx, client, target, key, cosign.SignOptions{}); err != nil {
		return signer.Authority{}, err
	}
	public, err := key.PublicPEM()
	return signer.Authority{Name: "release", Images: []string{"**"}, Keys: []signer.Key{{PEM: public}}}, err
}

// read decodes the revision, and verifies whose it is.
func (s *stored) read(ctx context.Context) (*source.Revision, error) {
	decoded, err := source.Decode(s.encoded)
	if err != nil {
		return nil, err
	}
	if got := decoded.Tree.Digest(); got != s.digest {
		return nil, fmt.Errorf("got the files %s, want %s", got, s.digest)
	}
	signers, err := source.NewVerifier(source.VerifierOptions{}).Verify(ctx, decoded, s.by)
	if err != nil {
		return nil, err
	}
	if len(signers) == 0 {
		return nil, errors.New("got a revision that nobody has signed")
	}
	return decoded, nil
}

// storedRows load a revision as a webhook does that follows the cluster: decode, verify, compile.
func storedRows(ctx context.Context, size Size, _ string) ([]Row, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the webhook has it
	s, err := newStored(ctx)
	if err != nil {
		return nil, err
	}
	var reads, compiles []time.Duration
	policies := 0
	for range size.Loads {
		began := time.Now()
		decoded, err := s.read(ctx)
		if err != nil {
			return nil, err
		}
		read := time.Now()
		loaded, err := revision.Load(decoded.Tree, revision.Options{})
		if err != nil {
			return nil, err
		}
		reads, compiles = append(reads, read.Sub(began)), append(compiles, time.Since(read))
		policies = loaded.Policies
	}
	identity := func(d time.Duration) time.Duration { return d }
	read, compile := median(reads, identity), median(compiles, identity)
	row := durationRow(fmt.Sprintf("load of a stored revision of %d policies, %d KB with its signature", policies, len(s.encoded)/1000), read+compile, budgetReady)
	row.Got += fmt.Sprintf(": to decode and verify %.1f ms, to compile %.0f ms", read.Seconds()*1000, compile.Seconds()*1000)
	return []Row{row}, nil
}
