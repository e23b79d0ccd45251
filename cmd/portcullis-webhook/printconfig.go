package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies"
	"k8s.io/client-go/rest"
)

// printConfig prints what the API server must be told.
func printConfig(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	if f.printConfig != printAPI && f.printConfig != printStatic {
		return usagef("--print-config is %q: choose %s or %s", f.printConfig, printAPI, printStatic)
	}
	options, err := f.configuration()
	if err != nil {
		return err
	}
	if len(options.CABundle) == 0 {
		fmt.Fprintln(stderr, "No CA bundle: the API server will trust only what its host trusts. Give --ca-file if the webhook's certificate is signed by another CA.")
	}
	interests, err := f.interests(ctx)
	if err != nil {
		return err
	}
	var printed []byte
	if f.printConfig == printStatic {
		static, err := configuration.ComputeStatic(interests, options)
		if err != nil {
			return usageError{err}
		}
		printed, err = static.YAML()
		if err != nil {
			return err
		}
	} else {
		configurations, err := configuration.Compute(interests, options)
		if err != nil {
			return usageError{err}
		}
		if printed, err = configurations.YAML(); err != nil {
			return err
		}
	}
	_, err = stdout.Write(printed)
	return err
}

// interests are what the policies are about.
func (f *flags) interests(ctx context.Context) ([]policies.Interest, error) {
	if err := f.checkBundle(); err != nil {
		return nil, err
	}
	var config *rest.Config
	if f.fromCluster() {
		var err error
		if config, err = f.cluster(); err != nil {
			return nil, err
		}
	}
	images, err := f.images.open(nil)
	if err != nil {
		return nil, err
	}
	first, err := f.load(ctx, images)
	if err != nil {
		return nil, err
	}
	lineup, err := f.lineup(ctx, first, config, images)
	if err != nil {
		return nil, err
	}
	if first != nil && f.profile == "" {
		// Also profiles that are assigned to nothing: they may be tomorrow, with the same configuration.
		all, err := policies.NewEngine(first.Bundle)
		if err != nil {
			return nil, err
		}
		judges := &lineup.Members[0].Active.Judges
		*judges = append([]admission.Judge{all}, *judges...)
	}
	reviewer := admission.NewLineupReviewer(lineup, nil, time.Now)
	reviewer.Pin(f.profile)
	return reviewer.Interests(), nil
}

func (f *flags) configuration() (configuration.Options, error) {
	options := configuration.Options{
		Name: f.name, URL: f.url, TimeoutSeconds: f.timeoutSeconds, Writes: f.images.queueScans || f.events,
		Recovery: configuration.Recovery{Namespace: f.ownSpace, NodeNamespaces: f.nodeNamespaces},
	}
	mode, err := webhook.ParseCallerMode(f.caller)
	if err != nil {
		return options, usageError{err}
	}
	if mode == webhook.CallerSecretPath && f.secretFile == "" {
		return options, errNoSecret
	}
	if options.Service, err = f.parseService(); err != nil {
		return options, err
	}
	if options.SecretPath, err = f.secret(); err != nil {
		return options, err
	}
	options.CABundle, err = f.caBundle()
	return options, err
}

// caBundle is from --ca-file, or from the directory of an authority of the webhook's
// own. Printing makes none: it may be a slip in the name, and nobody would serve with it.
func (f *flags) caBundle() ([]byte, error) {
	if f.caFile != "" {
		bundle, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, correct("--ca-file", fmt.Errorf("reading the CA bundle: %w", err))
		}
		if !x509.NewCertPool().AppendCertsFromPEM(bundle) {
			return nil, fmt.Errorf("reading the CA bundle: %s holds no certificate in PEM", f.caFile)
		}
		return bytes.TrimSpace(bundle), nil
	}
	if f.certificateDir == "" {
		return nil, nil
	}
	bundle, err := os.ReadFile(filepath.Join(f.certificateDir, certificate.BundleFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the CA bundle: there is no %s in %s: start the webhook with this folder first, or give --ca-file", certificate.BundleFile, f.certificateDir)
	}
	if err != nil {
		return nil, correct("--certificate-dir", fmt.Errorf("reading the CA bundle: %w", err))
	}
	return bundle, nil
}
