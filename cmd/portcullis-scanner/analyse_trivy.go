//go:build goexperiment.jsonv2

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/child"
	"github.com/portcullis-dev/portcullis/scanner/trivy"
)

// serveChild is a child's life.
func serveChild(ctx context.Context, in io.Reader, out io.Writer) error {
	err := child.Serve(ctx, in, out, scanner.Tool{Name: "trivy", Version: trivy.Version}, analyse)
	return errors.Join(err, trivy.Cleanup())
}

// analyse answers a request with Trivy.
func analyse(ctx context.Context, request child.Request) (child.Result, error) {
	switch request.Kind {
	case child.SelfTest:
		return child.Result{}, trivy.SelfTest(ctx, request.Database)
	case child.Analyse:
	default:
		return child.Result{}, fmt.Errorf("there is no request %q: use programs of one release", request.Kind)
	}
	image, err := trivy.OpenLayout(request.Layout, request.Digest)
	if err != nil {
		return child.Result{}, err
	}
	result, err := trivy.Analyse(ctx, image, trivy.Options{
		Name: request.Name, Digest: request.Digest,
		Database: request.Database, DatabaseDigest: request.DatabaseDigest, JavaDatabase: request.JavaDatabase, Cache: request.Cache,
		NoSecrets: !request.Secrets, NoSBOM: !request.SBOM, NoLicenses: !request.SBOM,
	})
	if err != nil {
		return child.Result{}, err
	}
	return child.Result{Report: result.Report, CycloneDX: result.CycloneDX, SPDX: result.SPDX}, nil
}
