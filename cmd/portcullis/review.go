package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/spf13/cobra"
)

// reviewFlags are those of portcullis review.
type reviewFlags struct {
	bundle bundleFlags
	source sourceFlags
	images imageFlags
	mutate bool
}

func (p *program) reviewCommand() *cobra.Command {
	var f reviewFlags
	command := &cobra.Command{
		Use:   "review FILE|-",
		Short: "Answer a recorded AdmissionReview",
		Long: `review reads one AdmissionReview (admission.k8s.io/v1, JSON) with a request and writes
the AdmissionReview with the response that the webhook would send.

Facts about the cluster come from --context; without it a policy that needs some denies,
as the webhook does when it cannot have them. What policies read of images is asked of
their registries; nothing is scanned.

It exits with 0 whenever it wrote a response, whatever the verdict.`,
		Example: `  portcullis review request.json
  portcullis review request.json --mutate --profile restricted
  portcullis review - --context ~/.kube/config < request.json`,
		Args: arguments(cobra.ExactArgs(1), "name one file, or - for standard input"),
		RunE: func(command *cobra.Command, args []string) error { return p.review(command.Context(), &f, args[0]) },
	}
	f.bundle.register(command, &f.images.registries)
	f.source.registerContext(command.Flags())
	f.images.registerEvidence(command.Flags())
	command.Flags().BoolVar(&f.mutate, "mutate", false, "answer as the mutating webhook")
	complete(command, "profile", "baseline", "restricted", "hardened")
	return command
}

func (p *program) review(ctx context.Context, f *reviewFlags, name string) error {
	body, err := p.read(name)
	if err != nil {
		return err
	}
	lineup, err := f.bundle.lineup(ctx)
	if err != nil {
		return err
	}
	cluster, err := f.source.cluster(ctx)
	if err != nil {
		return err
	}
	images, err := f.images.open(ctx, lineup, p.stderr)
	if err != nil {
		return err
	}
	defer images.close()
	reviewer := admission.NewLineupReviewer(lineup, gate.NewFacts(cluster, images.facts), time.Now)
	reviewer.Pin(f.bundle.profile)
	response, err := answer(ctx, reviewer, body, f.mutate)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", bytes.TrimSpace(response))
	return err
}

// read reads a whole review, no more than the webhook would take.
func (p *program) read(name string) ([]byte, error) {
	reader := p.stdin
	if name != "-" {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, usagef("opening the review: there is no %s: check the path", name)
		}
		if err != nil {
			return nil, fmt.Errorf("opening the review: %w: make it readable", err)
		}
		defer f.Close()
		reader = f
	}
	body, err := io.ReadAll(io.LimitReader(reader, webhook.DefaultMaxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the review: %w: name a file that holds one AdmissionReview", err)
	case len(bytes.TrimSpace(body)) == 0:
		return nil, fmt.Errorf("reading the review: %s is empty: it must hold one AdmissionReview with a request", name)
	}
	return body, nil
}

// answer asks the webhook's own handler, so that a recorded request gets the very
// answer the API server got.
func answer(ctx context.Context, reviewer webhook.Reviewer, body []byte, mutate bool) ([]byte, error) {
	handler, err := webhook.NewHandler(webhook.Options{Reviewer: reviewer, Callers: &webhook.Callers{Mode: webhook.CallerOpen}})
	if err != nil {
		return nil, err
	}
	path := webhook.ValidatePath
	if mutate {
		path = webhook.MutatePath
	}
	response, err := handler.Answer(ctx, path, body)
	if err != nil {
		return nil, fmt.Errorf("%w: give one AdmissionReview of admission.k8s.io/v1 with a request, as JSON", err)
	}
	return response, nil
}
