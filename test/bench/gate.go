package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// bundleText is a bundle that lets images in which somebody known has signed and that have nothing critical.
const bundleText = `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: bench
serial: 1
include: library
trust:
  authorities:
  - {name: release, images: [%q], keys: [{pem: %s}]}
  requirements:
  - {name: all, images: [%[1]q], anyOf: [release]}
profiles:
- name: images
  policies:
  - policy: images/signed
  - policy: images/scanned
  - policy: images/vulnerabilities
    parameters: {severity: critical}
  - policy: images/secrets
defaultProfile: images
`

func (s *site) writeBundle() error {
	public, err := s.key.PublicPEM()
	if err != nil {
		return err
	}
	quoted, err := json.Marshal(public)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.object(), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\n"), 0o600); err != nil {
		return err
	}
	text := fmt.Sprintf(bundleText, s.server.Host()+"/**", quoted)
	return os.WriteFile(filepath.Join(s.bundle(), "bundle.yaml"), []byte(text), 0o600)
}

// nameStart is a run that judges no image.
const nameStart = "start"

// gateStart judges an object that no policy is about: what is left is the program's start and the policies, the whole
// library's, that it compiles.
func (s *site) gateStart(ctx context.Context) (spent, error) {
	needed, _, err := invocation{filepath.Join(s.dir, "portcullis"), []string{"gate", "--bundle=" + s.bundle(), s.object()}, s.home(), nil}.run(ctx)
	return needed, err
}

func (s *site) object() string { return filepath.Join(s.dir, "object.yaml") }

func (s *site) gateCache() string { return filepath.Join(s.dir, "gate") }

// gateRun judges all images in one run. They have to be admitted.
func (s *site) gateRun(ctx context.Context) (spent, error) {
	args := append([]string{
		"gate", "--bundle=" + s.bundle(), "--cache-dir=" + s.gateCache(), "--scan-database=" + s.database(), "--scan-java-database=",
	}, s.registryFlags()...)
	for _, reference := range s.gate {
		args = append(args, "--image="+reference)
	}
	needed, _, err := invocation{filepath.Join(s.dir, "portcullis"), args, s.home(), nil}.run(ctx)
	return needed, err
}

// peersRun scans and verifies each image, one program after the other.
func (s *site) peersRun(ctx context.Context) (total spent, err error) {
	for _, reference := range s.gate {
		for _, program := range []invocation{s.trivy(reference), s.cosign(reference)} {
			needed, _, err := program.run(ctx)
			if err != nil {
				return spent{}, err
			}
			total = total.plus(needed)
		}
	}
	return total, nil
}

// gateRows judge images that share a system and packages, without anything kept of them and once more.
func (s *site) gateRows(ctx context.Context) ([]Row, error) {
	if err := s.writeBundle(); err != nil {
		return nil, err
	}
	if _, err := s.gateRun(ctx); err != nil { // takes the database over
		return nil, err
	}
	ours, theirs := task{name: nameOurs, run: s.gateRun}, task{name: namePeers, run: s.peersRun}
	tasks := []task{ours, {name: nameStart, run: s.gateStart}}
	if s.peers != nil {
		if _, err := s.peersRun(ctx); err != nil {
			return nil, err
		}
		tasks = append(tasks, theirs)
	}
	warm, err := turns(ctx, s.size.Gates, tasks...)
	if err != nil {
		return nil, err
	}
	tasks[0].prepare = s.forgetGate
	if s.peers != nil {
		tasks[2].prepare = s.forgetTrivy
	}
	cold, err := turns(ctx, s.size.Gates, tasks...)
	if err != nil {
		return nil, err
	}
	const peers = "trivy and cosign"
	first := comparedRow(fmt.Sprintf("gate on %d images, nothing kept", len(s.gate)), cold, peers, budgetGate)
	again := comparedRow("  again, with what both have kept", warm, peers, budgetGateWarm)
	if again.Of > 1 {
		again.Note += fmt.Sprintf("; %.0f ms, CPU %.0f ms, go into the start and into compiling the library's policies, whatever is judged",
			millis(warm[nameStart].Mean), millis(warm[nameStart].CPU))
	}
	if s.peers != nil {
		again.Got += fmt.Sprintf("; %.2f x their first run", warm[nameOurs].Ratio(cold[namePeers]))
	}
	return []Row{first, again}, nil
}

// forgetGate removes what the gate has kept of images, and leaves the database.
func (s *site) forgetGate() error {
	return errors.Join(os.RemoveAll(filepath.Join(s.gateCache(), "evidence")), forget(filepath.Join(s.gateCache(), "scanner")))
}
