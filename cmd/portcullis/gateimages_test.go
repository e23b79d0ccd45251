package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	ggcrname "github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

// testRegistry is a registry for the scripts, started when one needs it.
type testRegistry struct {
	once   sync.Once
	server *httptest.Server
}

func (r *testRegistry) host(t interface{ Cleanup(func()) }) string {
	r.once.Do(func() {
		handler := ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0)))
		r.server = httptest.NewServer(handler)
		t.Cleanup(r.server.Close)
	})
	return strings.TrimPrefix(r.server.URL, "http://")
}

// testImage is an image that differs from others by its user.
func testImage(user string) (v1.Image, error) {
	return mutate.Config(empty.Image, v1.Config{User: user})
}

// imageCommands are commands of scripts that make images:
//
//	database DIR                 write an empty vulnerability database
//	keypair NAME                 write NAME.pem and NAME.pub
//	trusting FILE KEY            let a bundle.yaml trust a public key for all images
//	push NAME USER [KEY]         push an image to $REGISTRY, and sign it with the private key of a file
//	layout DIR USER NAME [KEY]   write an image as an OCI image layout, with its signature
//	archive FILE USER NAME       write an image as docker save does
//	attest FILE NAME TYPE KEY    write an attestation about an image of $REGISTRY
//	predicate FILE OUT           take the predicate out of a statement
//	manifest FILE IMAGE…         write a pod that runs images
//	verifysummary FILE KEY       check the signature of a summary, and print its result
func imageCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"database": databaseCommand, "keypair": keypairCommand, "trusting": trustingCommand, "push": pushCommand, "layout": layoutCommand, "archive": archiveCommand, "attest": attestCommand, "verifysummary": verifySummaryCommand,
		"predicate": predicateCommand, "manifest": manifestCommand,
	}
}

func keypairCommand(ts *testscript.TestScript, _ bool, args []string) {
	private, public, err := cosign.GenerateKeyPair(nil)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), private, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), public, 0o600))
}

func trustingCommand(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	key, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	quoted, err := json.Marshal(string(key))
	ts.Check(err)
	text = fmt.Appendf(text, `trust:
  authorities:
  - {name: release, images: ["**"], keys: [{pem: %s}]}
  requirements:
  - {name: all, images: ["**"], anyOf: [release]}
  scanners: [release]
`, quoted)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

func testClient(host string) (*registry.Client, error) {
	return registry.New(registry.Options{Allow: []string{host}, PlainHTTP: []string{host}})
}

func readKey(ts *testscript.TestScript, file string) *cosign.Key {
	text, err := os.ReadFile(ts.MkAbs(file))
	ts.Check(err)
	key, err := cosign.LoadPrivateKey(text, nil)
	ts.Check(err)
	return key
}

func pushCommand(ts *testscript.TestScript, _ bool, args []string) {
	image, err := testImage(args[1])
	ts.Check(err)
	host := ts.Getenv("REGISTRY")
	client, err := testClient(host)
	ts.Check(err)
	path, tag, _ := strings.Cut(args[0], ":")
	repository := registry.Repository{Registry: host, Path: path}
	pushed, err := client.PushImage(context.Background(), repository, tag, image)
	ts.Check(err)
	if len(args) > 2 {
		_, err = cosign.Sign(context.Background(), client, cosign.Target{Repository: repository, Digest: pushed.Digest}, readKey(ts, args[2]), cosign.SignOptions{})
		ts.Check(err)
	}
}

func layoutCommand(ts *testscript.TestScript, _ bool, args []string) {
	image, err := testImage(args[1])
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	path, err := layout.Write(dir, empty.Index)
	ts.Check(err)
	ts.Check(path.AppendImage(image, layout.WithAnnotations(map[string]string{containerName: args[2]})))
	if len(args) < 4 {
		return
	}
	digest, err := image.Digest()
	ts.Check(err)
	key := readKey(ts, args[3])
	target := cosign.Target{Repository: registry.Repository{Registry: "localhost", Path: "x"}, Digest: digest.String()}
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	// cosign signs in a registry; the signature's manifest is then carried over.
	host := strings.TrimPrefix(server.URL, "http://")
	target.Repository = registry.Repository{Registry: host, Path: "some/app"}
	client, err := testClient(host)
	ts.Check(err)
	_, err = client.PushImage(context.Background(), target.Repository, "1", image)
	ts.Check(err)
	_, err = cosign.Sign(context.Background(), client, target, key, cosign.SignOptions{Format: signer.FormatLegacy})
	ts.Check(err)
	tag := strings.Replace(digest.String(), ":", "-", 1) + ".sig"
	reference, err := ggcrname.NewTag(host+"/some/app:"+tag, ggcrname.Insecure)
	ts.Check(err)
	signature, err := client.Resolve(context.Background(), target.Repository, reference.TagStr())
	ts.Check(err)
	signed, err := client.Image(context.Background(), target.Repository, signature.Digest)
	ts.Check(err)
	ts.Check(path.AppendImage(signed, layout.WithAnnotations(map[string]string{nameOfLayout: tag})))
}

func archiveCommand(ts *testscript.TestScript, _ bool, args []string) {
	image, err := testImage(args[1])
	ts.Check(err)
	tag, err := ggcrname.NewTag(args[2])
	ts.Check(err)
	ts.Check(tarball.WriteToFile(ts.MkAbs(args[0]), tag, image))
}

func attestCommand(ts *testscript.TestScript, _ bool, args []string) {
	host := ts.Getenv("REGISTRY")
	client, err := testClient(host)
	ts.Check(err)
	path, tag, _ := strings.Cut(args[1], ":")
	repository := registry.Repository{Registry: host, Path: path}
	found, err := client.Resolve(context.Background(), repository, tag)
	ts.Check(err)
	target := cosign.Target{Repository: repository, Digest: found.Digest}
	statement, err := cosign.NewStatement(target, args[2], []byte(`{}`))
	ts.Check(err)
	signed, err := cosign.SignStatement(target, readKey(ts, args[3]), statement, signer.FormatBundle)
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o700))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), signed, 0o600))
}

func predicateCommand(ts *testscript.TestScript, _ bool, args []string) {
	content, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	var statement struct {
		Predicate json.RawMessage `json:"predicate"`
	}
	ts.Check(json.Unmarshal(content, &statement))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), statement.Predicate, 0o600))
}

func manifestCommand(ts *testscript.TestScript, _ bool, args []string) {
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec:\n  containers:\n"
	for n, image := range args[1:] {
		text += fmt.Sprintf("  - name: c%d\n    image: %s\n", n, image)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// verifySummaryCommand verifies as admission would: through an authority with the key.
func verifySummaryCommand(ts *testscript.TestScript, _ bool, args []string) {
	content, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	text, err := readKey(ts, args[1]).PublicPEM()
	ts.Check(err)
	trust, err := signer.Compile(&signer.Trust{Authorities: []signer.Authority{{Name: "gate", Images: []string{"**"}, Keys: []signer.Key{{PEM: text}}}}})
	ts.Check(err)
	for line := range bytes.Lines(bytes.TrimSpace(content)) {
		digest := summaryDigest(ts, line)
		attestations, rejections := cosign.NewVerifier(cosign.Options{}).VerifyEnvelope(context.Background(), line, digest, registry.Repository{Registry: "ghcr.io", Path: "acme/app"}, trust)
		if len(attestations) != 1 {
			ts.Fatalf("got %d attestations, refused %v, want one", len(attestations), rejections)
		}
		var predicate struct {
			Result string `json:"verificationResult"`
		}
		ts.Check(json.Unmarshal(attestations[0].Predicate, &predicate))
		fmt.Fprintln(ts.Stdout(), attestations[0].PredicateType, digest[:14], predicate.Result)
	}
}

// summaryDigest is the subject of a signed statement, read without verifying it.
func summaryDigest(ts *testscript.TestScript, line []byte) string {
	var bundle struct {
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	ts.Check(json.Unmarshal(line, &bundle))
	var statement struct {
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	ts.Check(json.Unmarshal(bundle.Envelope.Payload, &statement))
	return "sha256:" + statement.Subject[0].Digest["sha256"]
}
