package soak

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/test/images"
)

const (
	// imageEvery is the pause between two images.
	imageEvery = time.Second
	// pushTimeout bounds pushing one: while the registry fails, earlier ones are used.
	pushTimeout = 3 * time.Second
)

// image is one that is in the registry.
type image struct {
	reference string // by digest
	signed    bool
}

// imageLoad pushes images, signs every second one, and wants pods of them admitted.
type imageLoad struct {
	*soak
	transport *http.Transport // trusts the registry
	pushed    []image
	checked   atomic.Int64 // counts checks
}

func newImageLoad(s *soak) *imageLoad { return &imageLoad{soak: s} }

func (l *imageLoad) run(ctx context.Context) {
	for n := 0; l.sleep(ctx, imageEvery) == nil; n++ {
		one, err := l.push(ctx, fmt.Sprint(n), n%2 == 0)
		if err != nil {
			if len(l.pushed) == 0 {
				continue
			}
			one = l.pushed[n%len(l.pushed)]
		} else {
			l.pushed = append(l.pushed, one)
		}
		pod := podNamed(imageNamespace, fmt.Sprintf("image-%d", n), one.reference)
		began, faulty := time.Now(), l.faulty.Load()
		_, err = l.Client.CoreV1().Pods(imageNamespace).Create(ctx, pod, dryRun)
		if ctx.Err() == nil {
			l.report.image(one.reference, !one.signed, err, time.Since(began), faulty || l.faulty.Load())
		}
	}
}

// prepare makes the client of who pushes.
func (l *imageLoad) prepare() error {
	authority, err := os.ReadFile(l.registry.AuthorityFile())
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	l.transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return nil
}

// works says whether an image that was never seen gets in where it is signed, and is refused where it is not.
func (l *imageLoad) works(ctx context.Context) error {
	n := l.checked.Add(1)
	create := func(name string, signed bool) error {
		one, err := l.push(ctx, name, signed)
		if err != nil {
			return fmt.Errorf("pushing an image: %w", err)
		}
		_, err = l.Client.CoreV1().Pods(imageNamespace).Create(ctx, podNamed(imageNamespace, name, one.reference), dryRun)
		if !signed {
			l.report.probe("an unsigned image", err)
			if outcomeOf(err) != denied {
				return fmt.Errorf("an unsigned image is not refused by images/signed: %w", err)
			}
			return nil
		}
		return err
	}
	if err := create(fmt.Sprintf("signed-%d", n), true); err != nil {
		return fmt.Errorf("a signed image: %w", err)
	}
	return create(fmt.Sprintf("unsigned-%d", n), false)
}

// push pushes an image that no other is like, and signs it if it is to be.
func (l *imageLoad) push(ctx context.Context, label string, signed bool) (image, error) {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	made, err := images.New(images.Options{Label: label})
	if err != nil {
		return image{}, err
	}
	reference, err := images.Push(ctx, fmt.Sprintf("%s/soak/app:%s", l.registry.Host(), label), made, remote.WithTransport(l.transport))
	if err != nil {
		return image{}, err
	}
	one := image{reference: reference, signed: signed}
	if !one.signed {
		return one, nil
	}
	_, digest, _ := strings.Cut(reference, "@")
	_, err = cosign.Sign(ctx, l.client, cosign.Target{Repository: l.registry.Repository("soak/app"), Digest: digest}, l.release, cosign.SignOptions{})
	return one, err
}
