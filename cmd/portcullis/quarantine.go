package main

import (
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
)

func (p *program) quarantineCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "quarantine",
		Short: "Say what isolates a pod and prove it; list, show, approve and release quarantines",
		Long: `quarantine is about pods that are, or may be, taken off the network because of what they do.

plan says beforehand what a quarantine of a pod would do, and proves what traffic would remain possible: in a
cluster, or offline for a folder of manifests. The others look at the quarantines of a cluster, and decide.`,
		Args: knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("quarantine needs to know what to do: use quarantine plan, list, show, approve or release")
		},
	}
	command.AddCommand(p.quarantinePlanCommand(), p.quarantineListCommand(), p.quarantineShowCommand(), p.quarantineApproveCommand(), p.quarantineReleaseCommand())
	return command
}

// namedPod reads NAMESPACE/POD.
func namedPod(argument string) (namespace, name string, err error) {
	namespace, name, _ = strings.Cut(argument, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return "", "", usagef("%q names no pod: write NAMESPACE/POD", argument)
	}
	return namespace, name, nil
}
