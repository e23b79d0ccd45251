package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// clientName is whose certificate the webhook asks for.
const clientName = "kube-apiserver"

// loopback is a webhook without a cluster, and somebody who asks it as an API server.
type loopback struct {
	*webhook
	running *programs.Webhook
	options programs.WebhookOptions
	caFile  string
	client  pki.Pair
}

func startLoopback(ctx context.Context, dir string, policies policies) (*loopback, error) {
	authority, err := pki.NewAuthority(dir, "demo-ca")
	if err != nil {
		return nil, err
	}
	options, err := webhookOptions(dir, policies)
	if err != nil {
		return nil, err
	}
	if options.Serving, err = authority.Issue("portcullis-webhook"); err != nil {
		return nil, err
	}
	options.ClientCAFile, options.ClientName = authority.File, clientName
	client, err := authority.Issue(clientName)
	if err != nil {
		return nil, err
	}
	door := &loopback{options: options, caFile: authority.File, client: client}
	if door.running, err = programs.StartWebhook(ctx, options); err != nil {
		return nil, errors.Join(err, door.stop())
	}
	if door.webhook, err = newWebhook(options.Listen, policies.registry, authority.File, client); err != nil {
		return nil, errors.Join(err, door.stop())
	}
	return door, nil
}

// epilogue has nothing to add: nobody stores what a webhook admits.
func (l *loopback) epilogue(context.Context) (string, error) { return "", nil }

func (l *loopback) stop() error { return l.running.Stop() }

// goOn says how to play with it.
func (l *loopback) goOn(manifests string) (string, error) {
	review, err := l.writeReview()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`The webhook goes on serving until you press Ctrl-C. In another terminal:

  curl --cacert %[1]s --cert %[2]s --key %[3]s \
       -H 'Content-Type: application/json' --data @%[10]s https://%[4]s/validate
  curl http://%[5]s/metrics
  %[6]s gate --bundle %[11]s %[7]s %[8]s

Its log is %[9]s.
`, l.caFile, l.client.CertFile, l.client.KeyFile, l.options.Listen, l.options.Probes,
		filepath.Join(l.options.Dir, "portcullis"), strings.Join(l.options.Args, " "), manifests, l.options.LogFile, review, l.options.Bundle), nil
}

// writeReview writes the AdmissionReview of the first case to a file, to be sent again.
func (l *loopback) writeReview() (string, error) {
	request, err := createRequest(cases[0], l.registry)
	if err != nil {
		return "", err
	}
	body, err := encodeReview(request)
	if err != nil {
		return "", err
	}
	file := filepath.Join(l.options.Dir, "review.json")
	return file, os.WriteFile(file, body, 0o644)
}
