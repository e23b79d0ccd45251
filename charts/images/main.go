// Command images builds the container images of Portcullis that the chart runs, without a container daemon: each program
// alone, on nothing but certificate authorities and an account that is not root, for several platforms, as an OCI image
// layout or pushed to a registry.
//
// The same commit, Go version and --version give the same digests: programs are built without paths, layers and
// configurations carry the time of the commit, and nothing of the machine enters. Beside each image go an SBOM (CycloneDX
// 1.6, from what the Go linker recorded in the program) and a provenance (SLSA v1); with --key both are attested, and the
// image is signed, by the portcullis command line of the same build.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
