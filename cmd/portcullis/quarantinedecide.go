package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// quarantineDecision is what a person can decide about a quarantine.
type quarantineDecision struct {
	use, short, long, example string
	// done says what becomes of it, with its name.
	done string
	// tell writes the decision down.
	tell func(*quarantine.Store, context.Context, string, v1alpha1.Statement) error
}

const decisionExits = `

You are known by what the API server calls you. Exit codes:
  64  usage      wrong flags or arguments, or no such quarantine
  4   fault      the cluster cannot be reached, or you may not decide
  1   denied     there is nothing to decide
  0   admitted   it is decided`

func (p *program) quarantineReleaseCommand() *cobra.Command {
	return p.quarantineDecisionCommand(quarantineDecision{
		use: "release NAME", short: "End a quarantine: what was done is taken back",
		long: `release has the responder take back what it did. A pod whose controller has replaced it is deleted; another one gets its labels
back; the policy that isolates is removed last. Incidents of it are lifted, evidence stays.

It can be released while it waits for an approval: then nothing is done.` + decisionExits,
		example: `  portcullis quarantine release q-5f1c0d2e9b7a44c1d3e8 --reason "False alarm: planned penetration test SEC-1234"`,
		done:    "%s is being released: portcullis quarantine show %[1]s says how far it is.\n",
		tell:    (*quarantine.Store).Release,
	})
}

func (p *program) quarantineApproveCommand() *cobra.Command {
	return p.quarantineDecisionCommand(quarantineDecision{
		use: "approve NAME", short: "Let a quarantine go on that waits for a person",
		long: `approve lets the responder take the actions that wait for an approval: all of a plan of mode approve, or single ones of another.
portcullis quarantine show says which they are.` + decisionExits,
		example: `  portcullis quarantine approve q-5f1c0d2e9b7a44c1d3e8 --reason "Confirmed with the owner of shop"`,
		done:    "%s goes on: portcullis quarantine show %[1]s says how far it is.\n",
		tell:    (*quarantine.Store).Approve,
	})
}

func (p *program) quarantineDecisionCommand(d quarantineDecision) *cobra.Command {
	var cluster clusterFlags
	var reason string
	command := &cobra.Command{
		Use: d.use, Short: d.short, Long: d.long, Example: d.example,
		Args: arguments(cobra.ExactArgs(1), "name one quarantine; quarantine list has them"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.quarantineDecide(command.Context(), &cluster, &d, args[0], reason)
		},
	}
	cluster.register(command.Flags())
	command.Flags().StringVar(&reason, "reason", "", "why, in a `sentence` that others will read (required)")
	return command
}

func (p *program) quarantineDecide(ctx context.Context, cluster *clusterFlags, d *quarantineDecision, name, reason string) error {
	if strings.TrimSpace(reason) == "" {
		return usagef("--reason is missing: say why, others will read it")
	}
	store, config, err := cluster.store()
	if err != nil {
		return err
	}
	who, err := whoAmI(ctx, config)
	if err != nil {
		return err
	}
	err = d.tell(store, ctx, name, v1alpha1.Statement{By: who, Reason: reason})
	if errors.Is(err, quarantine.ErrOver) || errors.Is(err, quarantine.ErrNothingWaits) {
		p.code = gate.ExitDenied
		_, err = fmt.Fprintf(p.stdout, "Nothing was decided: %s\n", output.Plain(err.Error()))
		return err
	}
	if err != nil {
		return unknownQuarantine(err, name)
	}
	_, err = fmt.Fprintf(p.stdout, d.done, output.Plain(name))
	return err
}

// whoAmI is the name under which the API server knows the caller (KEP-3325).
func whoAmI(ctx context.Context, config *rest.Config) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("reaching the cluster: %w", err)
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking the cluster who you are: %w", err)
	}
	if review.Status.UserInfo.Username == "" {
		return "", errors.New("asking the cluster who you are: it does not say: use credentials with a name")
	}
	return review.Status.UserInfo.Username, nil
}
