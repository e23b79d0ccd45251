package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// secretsListFlags are those of portcullis secrets list.
type secretsListFlags struct {
	secretsFlags
	namespace string
	all       bool
	format    string
}

func (p *program) secretsListCommand() *cobra.Command {
	var f secretsListFlags
	command := &cobra.Command{
		Use:   "list",
		Short: "List what is kept of Vault, with its state, version, age and what is due next",
		Long: `list shows the VaultSecrets of a namespace, or of all with --all-namespaces. AGE is that of what is kept: since it was written to Vault, or issued;
NEXT when it is looked at again, LEASE when what was issued ends. STATE is Synced, Pending, Suspended or the reason why it is not synced: why says more.

It exits with 0, whatever there is; 4 if the cluster cannot be read.`,
		Example: `  portcullis secrets list
  portcullis secrets list --all-namespaces
  portcullis secrets list -n shop --push
  portcullis secrets list -A --format json | jq -r '.items[] | select(any(.status.conditions[]?; .type == "Synced" and .status != "True")) | .metadata.name'`,
		Args: arguments(cobra.NoArgs, "list takes no arguments: name a namespace by --namespace"),
		RunE: func(command *cobra.Command, _ []string) error {
			return p.secretsList(command.Context(), &f)
		},
	}
	f.register(command.Flags())
	command.Flags().StringVarP(&f.namespace, "namespace", "n", "", "those of this `namespace` (default: that of the current context)")
	command.Flags().BoolVarP(&f.all, "all-namespaces", "A", false, "those of all namespaces")
	command.Flags().StringVar(&f.format, "format", "text", "`format`: text or json")
	complete(command, "format", "text", "json")
	return command
}

// secretItems is the list as JSON: the objects as they are. They hold no value.
type secretItems struct {
	Items []any `json:"items"`
}

func (p *program) secretsList(ctx context.Context, f *secretsListFlags) error {
	if err := checkFormat(f.format); err != nil {
		return err
	}
	if f.all && f.namespace != "" {
		return usagef("--namespace %s and --all-namespaces: use one of them", f.namespace)
	}
	client, err := f.cluster.dynamic()
	if err != nil {
		return err
	}
	namespace := f.namespace
	if namespace == "" && !f.all {
		if namespace, err = f.cluster.currentNamespace(); err != nil {
			return err
		}
	}
	list, err := client.Resource(f.resource()).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return f.unlisted(err, namespace)
	}
	var objects []*vaultObject
	items := secretItems{Items: []any{}}
	for n := range list.Items {
		object, err := newVaultObject(&list.Items[n])
		if err != nil {
			return err
		}
		objects, items.Items = append(objects, object), append(items.Items, list.Items[n].Object)
	}
	if f.format == "json" {
		return writeDocument(p.stdout, &items)
	}
	if len(objects) == 0 {
		_, err := fmt.Fprintf(p.stdout, "No %s%s.\n", plural(f.kind()), inNamespace(namespace))
		return err
	}
	return writeSecrets(p.stdout, objects, time.Now())
}

func plural(kind string) string {
	if strings.HasSuffix(kind, "sh") {
		return kind + "es"
	}
	return kind + "s"
}

func inNamespace(namespace string) string {
	if namespace == "" {
		return ""
	}
	return " in " + output.Plain(namespace)
}

// unlisted says why there is no list.
func (f *secretsListFlags) unlisted(err error, namespace string) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("listing %s: the cluster does not serve %s: install the custom resources; portcullis-secrets crd prints them", plural(f.kind()), v1alpha1.GroupVersion)
	case apierrors.IsForbidden(err) && namespace == "":
		return fmt.Errorf("listing %s: %w: name a namespace that you may read by --namespace, or be given the role portcullis-secrets-viewer in all of them", plural(f.kind()), err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("listing %s: %w: you need the role portcullis-secrets-viewer there", plural(f.kind()), err)
	}
	return fmt.Errorf("listing %s: %w", plural(f.kind()), err)
}

func writeSecrets(w io.Writer, objects []*vaultObject, now time.Time) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAMESPACE\tNAME\tENGINE\tPATH\tDESTINATION\tSTATE\tVERSION\tAGE\tNEXT\tLEASE")
	for _, o := range objects {
		engine, path := o.place()
		_, next := o.times()
		cells := []string{o.object.GetNamespace(), o.object.GetName(), engine, path, o.end(), o.state(), o.version(), ageText(o.born(), now), dueText(next, now), leaseText(o.lease(), now)}
		for n := range cells {
			cells[n] = cmp.Or(output.Plain(cells[n]), "-")
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, cutLines(text.String(), style(w).Width))
	return err
}

// The states beside reasons.
const (
	stateSynced    = "Synced"
	statePending   = "Pending"
	stateSuspended = "Suspended"
)

// state is a word for what the object is like. What was said about an earlier generation of it is not said about this one.
func (o *vaultObject) state() string {
	condition := meta.FindStatusCondition(o.conditions(), v1alpha1.ConditionSynced)
	switch {
	case o.suspended():
		return stateSuspended
	case condition == nil, o.observed() < o.object.GetGeneration():
		return statePending
	case condition.Status == metav1.ConditionTrue:
		return stateSynced
	}
	return cmp.Or(condition.Reason, statePending)
}

func ageText(since *metav1.Time, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return duration.HumanDuration(now.Sub(since.Time))
}

// dueText is how long it is until then.
func dueText(at *metav1.Time, now time.Time) string {
	switch {
	case at.IsZero():
		return ""
	case !at.After(now):
		return "now"
	}
	return "in " + duration.HumanDuration(at.Sub(now))
}

func leaseText(lease *v1alpha1.LeaseStatus, now time.Time) string {
	switch {
	case lease == nil || lease.Expires.IsZero():
		return ""
	case !lease.Expires.After(now):
		return "ended"
	}
	return "in " + duration.HumanDuration(lease.Expires.Sub(now))
}
