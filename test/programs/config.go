package programs

import (
	"context"
	"path/filepath"
)

// ConfigOptions say which configurations to print.
type ConfigOptions struct {
	// Dir is where [Build] put the program.
	Dir string
	// Form is "" for objects to apply, "manifests" for manifest-based admission control.
	Form string
	// Name of the configurations.
	Name            string
	Bundle, Profile string
	// URL is where the API server reaches the webhook, CAFile who signed its certificate.
	URL, CAFile string
	// OwnNamespace is where the webhook runs, "" outside the cluster.
	OwnNamespace string
	// Args are further flags, as the webhook has them: with --queue-scans it writes.
	Args []string
}

// PrintConfig returns what portcullis-webhook --print-config prints.
func PrintConfig(ctx context.Context, options ConfigOptions) ([]byte, error) {
	return run(ctx, filepath.Join(options.Dir, "portcullis-webhook"), options.flags()...)
}

func (o ConfigOptions) flags() []string {
	flags := append(bundleFlags(o.Bundle, o.Profile), "--print-config", "--name="+o.Name, "--url="+o.URL, "--ca-file="+o.CAFile)
	if o.Form != "" {
		flags = append(flags, "--print-config="+o.Form)
	}
	if o.OwnNamespace != "" {
		flags = append(flags, "--own-namespace="+o.OwnNamespace)
	}
	return append(flags, o.Args...)
}
