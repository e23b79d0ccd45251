package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// secretsSyncFlags are those of portcullis secrets sync.
type secretsSyncFlags struct {
	secretsFlags
	wait    bool
	timeout time.Duration
}

func (p *program) secretsSyncCommand() *cobra.Command {
	var f secretsSyncFlags
	command := &cobra.Command{
		Use:   "sync NAMESPACE/NAME",
		Short: "Ask for a sync now, and say how it went",
		Long: `sync asks portcullis-secrets to look at a VaultSecret (or, with --push, a VaultPush) now, by the annotation ` + v1alpha1.SyncAnnotation + `.
Policies are asked as always. With --wait it says how that went. Exit codes:
  64  usage      wrong flags or arguments, or no such object
  1   denied     policies deny it, or the VaultConnection does not list the namespace
  4   fault      it failed, or nobody answered in time, or the cluster cannot be reached
  3   undecided  policies could not be evaluated
  0   admitted   it is synced; without --wait: it is asked for`,
		Example: `  portcullis secrets sync shop/db --wait
  portcullis secrets sync shop/generated --push --wait --timeout 30s`,
		Args: arguments(cobra.ExactArgs(1), "name one object as NAMESPACE/NAME; secrets list has them"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.secretsSync(command.Context(), &f, args[0])
		},
	}
	f.register(command.Flags())
	command.Flags().BoolVar(&f.wait, "wait", false, "wait until it was done, and say how it went")
	command.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "how `long` to wait")
	return command
}

// syncPoll is how often an object is looked at that is waited for.
const syncPoll = 500 * time.Millisecond

func (p *program) secretsSync(ctx context.Context, f *secretsSyncFlags, argument string) error {
	if f.timeout <= 0 {
		return usagef("--timeout %s: give a duration, as 2m", f.timeout)
	}
	client, err := f.open(argument)
	if err != nil {
		return err
	}
	before, err := f.get(ctx, client, argument)
	if err != nil {
		return err
	}
	if before.suspended() {
		p.code = gate.ExitFault
		_, err := fmt.Fprintf(p.stdout, "%s is suspended: it is not synced until spec.suspend is taken out.\n", output.Plain(before.title()))
		return err
	}
	request := time.Now().UTC().Format(time.RFC3339Nano)
	if err := f.ask(ctx, client, before, request); err != nil {
		return err
	}
	if !f.wait {
		_, err := fmt.Fprintf(p.stdout, "%s will be synced: portcullis secrets show %s%s says how that went.\n", output.Plain(before.title()), output.Plain(before.name()), f.pushFlag())
		return err
	}
	after, err := f.await(ctx, client, before, request)
	if err != nil {
		return err
	}
	return p.syncOutcome(f, after)
}

func (f *secretsFlags) pushFlag() string {
	if f.push {
		return " --push"
	}
	return ""
}

// ask sets the annotation.
func (f *secretsSyncFlags) ask(ctx context.Context, client dynamic.Interface, o *vaultObject, request string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1alpha1.SyncAnnotation: request}}})
	if err != nil {
		return err
	}
	_, err = client.Resource(f.resource()).Namespace(o.object.GetNamespace()).Patch(ctx, o.object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "portcullis"})
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("asking for a sync of %s: %w: you need to be allowed to patch it, as the role portcullis-secrets-editor is", o.title(), err)
	}
	if err != nil {
		return fmt.Errorf("asking for a sync of %s: %w", o.title(), err)
	}
	return nil
}

// await reads the object until its status says that the request was obeyed, or that it was tried since and failed.
func (f *secretsSyncFlags) await(ctx context.Context, client dynamic.Interface, before *vaultObject, request string) (*vaultObject, error) {
	var last *vaultObject
	err := wait.PollUntilContextTimeout(ctx, syncPoll, f.timeout, true, func(context.Context) (bool, error) {
		object, err := f.get(ctx, client, before.name()) // not by what is left of the timeout: an answer that comes late counts
		if err != nil {
			return false, err
		}
		last = object
		return object.requested() == request || object.failures() > before.failures(), nil
	})
	switch {
	case err == nil:
		return last, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case !wait.Interrupted(err):
		return nil, err
	case last != nil && last.exit() != gate.ExitAdmitted && meta.FindStatusCondition(last.conditions(), v1alpha1.ConditionSynced) != nil:
		return last, nil // what it has failed for all along: an outage is not counted with each try
	}
	return nil, fmt.Errorf("waiting for %s: nobody has synced it in %s: see that portcullis-secrets runs, and leads (kubectl get lease --namespace %s %s)", before.title(), f.timeout, v1alpha1.DefaultNamespace, v1alpha1.LeaseName)
}

// syncOutcome says how it went, by exit code too.
func (p *program) syncOutcome(f *secretsSyncFlags, o *vaultObject) error {
	p.code = o.exit()
	if p.code == gate.ExitAdmitted {
		_, path := o.place()
		_, err := fmt.Fprintf(p.stdout, "%s is synced: %s, %s%s\n", output.Plain(o.title()), output.Plain(path), output.Plain(o.end()), output.Plain(versionText(o)))
		return err
	}
	var b page
	b.line("%s is not synced: %s", o.title(), o.state())
	if c := meta.FindStatusCondition(o.conditions(), v1alpha1.ConditionSynced); c != nil {
		b.line("  %s", c.Message)
		if known, ok := reasonOf(c.Reason); ok {
			b.line("  %s. %s", known.meaning, known.next)
		}
	}
	b.line("  portcullis secrets why %s%s says more.", o.name(), f.pushFlag())
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}

func versionText(o *vaultObject) string {
	if v := o.version(); v != "" {
		return ", version " + v
	}
	return ""
}

// exit is the exit code for what an object is like.
func (o *vaultObject) exit() gate.ExitCode {
	c := meta.FindStatusCondition(o.conditions(), v1alpha1.ConditionSynced)
	if c != nil && c.Status == metav1.ConditionTrue {
		return gate.ExitAdmitted
	}
	if c == nil {
		return gate.ExitFault
	}
	switch secrets.Reason(c.Reason) {
	case secrets.Denied, secrets.NamespaceBarred:
		return gate.ExitDenied
	case secrets.Undecided:
		return gate.ExitUndecided
	}
	return gate.ExitFault
}
