package source_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// A revision is stored with its proof, and verified by whoever loads it.
func Example() {
	tree, err := archive.New(map[string][]byte{"bundle.yaml": []byte("name: acme\nserial: 7\n")})
	if err != nil {
		fmt.Println(err)
		return
	}
	encoded, err := source.Encode(&source.Revision{Tree: tree, Origin: "/srv/acme", Version: tree.Digest()})
	if err != nil {
		fmt.Println(err)
		return
	}

	loaded, err := source.Decode(encoded)
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier := source.NewVerifier(source.VerifierOptions{})
	_, err = verifier.Verify(context.Background(), loaded, v1alpha1.Verification{})
	var refused *source.VerificationError
	fmt.Println(errors.As(err, &refused), refused.Cause)
	_, err = verifier.Verify(context.Background(), loaded, v1alpha1.Verification{InsecureUnsigned: true})
	fmt.Println(err, loaded.Tree.Names())
	// Output:
	// true not signed
	// <nil> [bundle.yaml]
}

// ExamplePoller_Run looks at a source, and again when somebody calls.
func ExamplePoller_Run() {
	soon := func(time.Duration) <-chan time.Time { // in place of time.After
		fire := make(chan time.Time, 1)
		fire <- time.Time{}
		return fire
	}
	poller := source.NewPoller(source.PollerOptions{Schedule: source.Schedule{Interval: source.DefaultInterval}, After: soon})
	ctx, cancel := context.WithCancel(context.Background())
	looks := 0
	poller.Nudge()
	poller.Run(ctx, func(context.Context) error {
		if looks++; looks == 2 {
			cancel()
		}
		return source.ErrUnchanged
	})
	fmt.Println(looks, "looks")
	// Output: 2 looks
}
