//go:build !goexperiment.jsonv2

package main

import (
	"context"
	"errors"
	"io"
)

// serveChild cannot do without Trivy, which cannot be compiled without an experiment of Go.
func serveChild(context.Context, io.Reader, io.Writer) error {
	return errors.New("this program was built without its scanner: build it with GOEXPERIMENT=jsonv2 go build ./cmd/portcullis-scanner, or with make build")
}
