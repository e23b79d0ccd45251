package soak

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
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
	pushed []image
}

func newImageLoad(s *soak) *imageLoad { return &imageLoad{soak: s} }

func (l *imageLoad) run(ctx context.Context) {
	transport, err := l.transport()
	if err != nil {
		l.report.problem(fmt.Errorf("pushing images: %w", err))
		return
	}
	for n := 0; l.sleep(ctx, imageEvery) == nil; n++ {
		one, err := l.push(ctx, transport, n)
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

// transport trusts the registry.
func (l *imageLoad) transport() (http.RoundTripper, error) {
	authority, err := os.ReadFile(l.registry.AuthorityFile())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}, nil
}

func (l *imageLoad) push(ctx context.Context, transport http.RoundTripper, n int) (image, error) {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	made, err := images.New(images.Options{Label: fmt.Sprint(n)})
	if err != nil {
		return image{}, err
	}
	reference, err := images.Push(ctx, fmt.Sprintf("%s/soak/app:%d", l.registry.Host(), n), made, remote.WithTransport(transport))
	if err != nil {
		return image{}, err
	}
	one := image{reference: reference, signed: n%2 == 0}
	if !one.signed {
		return one, nil
	}
	_, digest, _ := strings.Cut(reference, "@")
	_, err = cosign.Sign(ctx, l.client, cosign.Target{Repository: l.registry.Repository("soak/app"), Digest: digest}, l.release, cosign.SignOptions{})
	return one, err
}
