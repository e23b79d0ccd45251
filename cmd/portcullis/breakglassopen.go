package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// breakGlassOpenFlags are those of portcullis break-glass open.
type breakGlassOpenFlags struct {
	cluster      clusterFlags
	lasting      time.Duration
	reason, mode string
	wait         time.Duration
}

// minReason is that of the schema.
const minReason = 8

func (p *program) breakGlassOpenCommand() *cobra.Command {
	var f breakGlassOpenFlags
	command := &cobra.Command{
		Use: "open", Short: "Have admission fail open for a while",
		Long: `open creates a BreakGlass and waits until the controller has taken it up. It needs the ClusterRole portcullis-break-glass. No webhook
of Portcullis is asked about it, so it works while none answers; the API server itself checks time and name.` + breakGlassExits,
		Example: `  portcullis break-glass open --for 30m --reason "Webhook pods cannot be scheduled, OPS-1234"
  portcullis break-glass open --for 10m --mode admit --reason "Bundle 2026-11 denies all pods, OPS-1235"`,
		Args: arguments(cobra.NoArgs, "open takes flags only"),
		RunE: func(command *cobra.Command, _ []string) error {
			return p.breakGlassOpen(command.Context(), &f, time.Now())
		},
	}
	f.cluster.register(command.Flags())
	command.Flags().DurationVar(&f.lasting, "for", 0, "`time` until it ends by itself, such as 30m; at most 4h (required)")
	command.Flags().StringVar(&f.reason, "reason", "", "why, in a `sentence` that others will read (required)")
	command.Flags().StringVar(&f.mode, "mode", "ignore", "`mode`: ignore admits what the webhook does not answer; admit takes the webhook away, so that nothing is judged")
	command.Flags().DurationVar(&f.wait, "wait", 30*time.Second, "`time` to wait for the controller; 0 does not")
	complete(command, "mode", "ignore", "admit")
	return command
}

func (f *breakGlassOpenFlags) check() (v1alpha1.BreakGlassMode, error) {
	modes := map[string]v1alpha1.BreakGlassMode{"ignore": v1alpha1.BreakGlassIgnore, "admit": v1alpha1.BreakGlassAdmit}
	mode, known := modes[strings.ToLower(f.mode)]
	switch {
	case f.lasting == 0:
		return "", usagef("--for is missing: say for how long, such as 30m")
	case f.lasting < time.Minute || f.lasting > v1alpha1.MaxBreakGlass:
		return "", usagef("--for is %s: give a minute to 4h; another can be opened later", f.lasting)
	case len(strings.TrimSpace(f.reason)) < minReason:
		return "", usagef("--reason is missing or shorter than %d letters: say why in a sentence, others will read it", minReason)
	case !known:
		return "", usagef("--mode is %q: choose ignore or admit", f.mode)
	case f.wait < 0:
		return "", usagef("--wait is %s: give 0 or more", f.wait)
	}
	return mode, nil
}

func (p *program) breakGlassOpen(ctx context.Context, f *breakGlassOpenFlags, now time.Time) error {
	mode, err := f.check()
	if err != nil {
		return err
	}
	config, err := f.cluster.config()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("reaching the cluster: %w", err)
	}
	who, err := whoAmI(ctx, config)
	if err != nil {
		return err
	}
	of := client.Resource(v1alpha1.BreakGlasses)
	made, err := createBreakGlass(ctx, of, &v1alpha1.BreakGlass{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "BreakGlass"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: "break-glass-"},
		Spec: v1alpha1.BreakGlassSpec{
			Reason: strings.TrimSpace(f.reason), Until: metav1.NewTime(now.Add(f.lasting).UTC().Truncate(time.Second)), Mode: mode, OpenedBy: who,
		},
	})
	if err != nil {
		return err
	}
	effect := "requests that the webhook does not answer are admitted"
	if mode == v1alpha1.BreakGlassAdmit {
		effect = "the webhook is asked about nothing"
	}
	if _, err := fmt.Fprintf(p.stdout, "%s is open until %s, by %s: %s.\n", output.Plain(made.Name), made.Ends().UTC().Format(time.RFC3339), output.Plain(who), effect); err != nil {
		return err
	}
	if f.wait > 0 {
		if err := takenUp(ctx, of, made.Name, f.wait); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.stdout, "To end it before: portcullis break-glass close %s\n", output.Plain(made.Name))
	return err
}

func createBreakGlass(ctx context.Context, of dynamic.ResourceInterface, wanted *v1alpha1.BreakGlass) (*v1alpha1.BreakGlass, error) {
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(wanted)
	if err != nil {
		return nil, err
	}
	delete(content, "status")
	created, err := of.Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, errors.New("opening: the cluster does not know BreakGlasses: apply what portcullis-controller crd prints, or break the glass by kubectl: see portcullis break-glass --help")
	case apierrors.IsForbidden(err) && !apierrors.IsInvalid(err):
		return nil, fmt.Errorf("opening: %w: you need the ClusterRole portcullis-break-glass", err)
	case err != nil:
		return nil, fmt.Errorf("opening: %w", err)
	}
	var made v1alpha1.BreakGlass
	return &made, k8sruntime.DefaultUnstructuredConverter.FromUnstructured(created.Object, &made)
}

// takenUp waits until the controller says that it counts.
func takenUp(ctx context.Context, of dynamic.ResourceInterface, name string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		found, err := of.Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			if phase, _, _ := unstructured.NestedString(found.Object, "status", "phase"); phase == string(v1alpha1.BreakGlassInForce) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the controller: it has not taken %s up in %s: see whether portcullis-controller runs with --webhook-service; without it, break the glass by kubectl: see portcullis break-glass --help", name, patience)
		case <-ticker.C:
		}
	}
}
