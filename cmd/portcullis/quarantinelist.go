package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// quarantineListFlags are those of portcullis quarantine list.
type quarantineListFlags struct {
	cluster   clusterFlags
	namespace string
	all       bool
	format    string
}

func (p *program) quarantineListCommand() *cobra.Command {
	var f quarantineListFlags
	command := &cobra.Command{
		Use:   "list",
		Short: "List the quarantines of a cluster, the newest first",
		Long: `list shows the quarantines that are not over. With --all it shows those, too, that were released, refused (over a limit, or of
what is protected) or only written down (audit).

It exits with 0, whatever there is; 4 if the cluster cannot be read.`,
		Example: `  portcullis quarantine list
  portcullis quarantine list --namespace shop --all
  portcullis quarantine list --format json | jq '.items[] | select(.status.verdict != "Isolated") | .metadata.name'`,
		Args: arguments(cobra.NoArgs, "list takes no arguments"),
		RunE: func(command *cobra.Command, _ []string) error {
			return p.quarantineList(command.Context(), &f)
		},
	}
	f.cluster.register(command.Flags())
	command.Flags().StringVarP(&f.namespace, "namespace", "n", "", "only those of pods of this `namespace`")
	command.Flags().BoolVar(&f.all, "all", false, "those that are over, too")
	command.Flags().StringVar(&f.format, "format", "text", "`format`: text or json")
	complete(command, "format", "text", "json")
	return command
}

// store opens the quarantines of a cluster.
func (f *clusterFlags) store() (*quarantine.Store, *rest.Config, error) {
	config, err := f.config()
	if err != nil {
		return nil, nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	return quarantine.NewStore(client, quarantine.StoreOptions{}), config, nil
}

// quarantineItems is the list as JSON.
type quarantineItems struct {
	Items []v1alpha1.Quarantine `json:"items"`
}

func (p *program) quarantineList(ctx context.Context, f *quarantineListFlags) error {
	if err := checkFormat(f.format); err != nil {
		return err
	}
	store, _, err := f.cluster.store()
	if err != nil {
		return err
	}
	all, err := store.List(ctx)
	if err != nil {
		return fmt.Errorf("%w: see that the custom resources are installed and that you may list them", err)
	}
	chosen := quarantineItems{Items: []v1alpha1.Quarantine{}}
	over := 0
	for _, q := range all {
		switch {
		case f.namespace != "" && q.Spec.Pod.Namespace != f.namespace:
		case !f.all && q.Status.Phase.Over():
			over++
		default:
			chosen.Items = append(chosen.Items, q)
		}
	}
	if f.format == "json" {
		return writeDocument(p.stdout, &chosen)
	}
	if len(chosen.Items) == 0 {
		_, err := fmt.Fprintf(p.stdout, "No quarantines%s.\n", overText(over))
		return err
	}
	return writeQuarantines(p.stdout, chosen.Items, time.Now())
}

func overText(over int) string {
	if over == 0 {
		return ""
	}
	return fmt.Sprintf(" but %d that are over: --all shows them", over)
}

func writeQuarantines(w io.Writer, items []v1alpha1.Quarantine, now time.Time) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tPOD\tPHASE\tVERDICT\tPOLICY\tAGE")
	for n := range items {
		q := &items[n]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", output.Plain(q.Name), output.Plain(q.Spec.Pod.Namespace+"/"+q.Spec.Pod.Name), phaseText(q), verdictText(q),
			output.Plain(strings.Join(policiesOf(q), ",")), duration.HumanDuration(now.Sub(q.CreationTimestamp.Time)))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, cutLines(text.String(), style(w).Width))
	return err
}

func phaseText(q *v1alpha1.Quarantine) string {
	if q.Status.Phase == "" {
		return string(v1alpha1.PhasePending)
	}
	return output.Plain(string(q.Status.Phase))
}

func verdictText(q *v1alpha1.Quarantine) string {
	switch {
	case q.Status.PodGone:
		return "the pod is gone"
	case q.Status.Verdict == "":
		return "-"
	}
	return output.Plain(q.Status.Verdict)
}

// policiesOf are the policies behind a quarantine, each once.
func policiesOf(q *v1alpha1.Quarantine) []string {
	var names []string
	seen := map[string]bool{}
	for _, trigger := range q.Spec.Triggers {
		if !seen[trigger.Policy] {
			seen[trigger.Policy] = true
			names = append(names, trigger.Policy)
		}
	}
	return names
}
