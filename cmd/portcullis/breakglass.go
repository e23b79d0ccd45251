package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

func (p *program) breakGlassCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "break-glass",
		Aliases: []string{"bg"},
		Short:   "Have admission fail open for a while, with a trace; end it; list who did",
		Long: `break-glass is for the hour in which the webhook stands in the way of mending things. While a BreakGlass is open, requests
that the webhook does not answer are admitted, or, with --mode admit, it is asked about nothing. It ends by itself, after at most
four hours. Each one is an Event, a line of the controller's journal and a metric that alarms.

If the controller does not run either, kubectl is enough:

  until=$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)
  kubectl annotate --overwrite validatingwebhookconfiguration,mutatingwebhookconfiguration portcullis \
    policy.portcullis.dev/break-glass-until=$until
  kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration portcullis

Without the annotation a controller that runs puts them back at once.`,
		Args: knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("break-glass needs to know what to do: use break-glass open, close or list")
		},
	}
	command.AddCommand(p.breakGlassOpenCommand(), p.breakGlassCloseCommand(), p.breakGlassListCommand())
	return command
}

// breakGlasses reaches those of a cluster.
func (f *clusterFlags) breakGlasses() (dynamic.ResourceInterface, dynamic.Interface, error) {
	config, err := f.config()
	if err != nil {
		return nil, nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	return client.Resource(v1alpha1.BreakGlasses), client, nil
}

// listBreakGlasses reads all, the newest first.
func listBreakGlasses(ctx context.Context, of dynamic.ResourceInterface) ([]v1alpha1.BreakGlass, error) {
	list, err := of.List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("listing the BreakGlasses: the cluster does not know them: apply what portcullis-controller crd prints")
	}
	if err != nil {
		return nil, fmt.Errorf("listing the BreakGlasses: %w", err)
	}
	all := make([]v1alpha1.BreakGlass, len(list.Items))
	for n := range list.Items {
		if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(list.Items[n].Object, &all[n]); err != nil {
			return nil, fmt.Errorf("reading the BreakGlass %s: %w", list.Items[n].GetName(), err)
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.BreakGlass) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return all, nil
}

const breakGlassExits = `

Exit codes:
  64  usage      wrong flags or arguments, or no such BreakGlass
  4   fault      the cluster cannot be reached, or you may not
  0   admitted   it is done`

func (p *program) breakGlassCloseCommand() *cobra.Command {
	var cluster clusterFlags
	command := &cobra.Command{
		Use: "close [NAME]...", Short: "End it before its time: all that are open, or those that are named",
		Long: `close deletes BreakGlasses. The controller has admission fail closed again within seconds. What was said of them stays in Events and
in the journal.` + breakGlassExits,
		Example: `  portcullis break-glass close`,
		RunE: func(command *cobra.Command, args []string) error {
			return p.breakGlassClose(command.Context(), &cluster, args, time.Now())
		},
	}
	cluster.register(command.Flags())
	return command
}

func (p *program) breakGlassClose(ctx context.Context, cluster *clusterFlags, names []string, now time.Time) error {
	of, _, err := cluster.breakGlasses()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		all, err := listBreakGlasses(ctx, of)
		if err != nil {
			return err
		}
		for n := range all {
			if all[n].Open(now) {
				names = append(names, all[n].Name)
			}
		}
		if len(names) == 0 {
			_, err := fmt.Fprintln(p.stdout, "None is open: there is nothing to close.")
			return err
		}
	}
	for _, name := range names {
		err := of.Delete(ctx, name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return usagef("there is no BreakGlass %s: portcullis break-glass list has those that there are", name)
		}
		if err != nil {
			return fmt.Errorf("closing %s: %w", name, err)
		}
		if _, err := fmt.Fprintf(p.stdout, "%s is closed.\n", output.Plain(name)); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) breakGlassListCommand() *cobra.Command {
	var cluster clusterFlags
	command := &cobra.Command{
		Use: "list", Short: "List who has broken the glass, and until when",
		Long:    `list shows the BreakGlasses of a cluster, the newest first, those that are over, too.` + breakGlassExits,
		Example: `  portcullis break-glass list`,
		Args:    arguments(cobra.NoArgs, "list takes no arguments"),
		RunE: func(command *cobra.Command, _ []string) error {
			return p.breakGlassList(command.Context(), &cluster, time.Now())
		},
	}
	cluster.register(command.Flags())
	return command
}

func (p *program) breakGlassList(ctx context.Context, cluster *clusterFlags, now time.Time) error {
	of, _, err := cluster.breakGlasses()
	if err != nil {
		return err
	}
	all, err := listBreakGlasses(ctx, of)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(p.stdout, "Nobody has broken the glass.")
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tMODE\tUNTIL\tBY\tREASON")
	for n := range all {
		g := &all[n]
		state := "over"
		if g.Open(now) {
			state = "open, not taken up"
			if g.Status.Phase == v1alpha1.BreakGlassInForce {
				state = "open"
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", output.Plain(g.Name), state, strings.ToLower(string(g.Wants())), g.Ends().UTC().Format(time.RFC3339), output.Plain(g.Spec.OpenedBy), output.Plain(g.Spec.Reason))
	}
	return table.Flush()
}
