package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// step is one part of the tour. It is an error if anything goes otherwise than told.
type step struct {
	title string
	run   func(*tour, context.Context) error
}

// steps are the tour, in order: each builds on those before.
var steps = []step{
	{"A bundle is begun in a Git repository", (*tour).begin},
	{"It is signed, and an unsigned one is refused", (*tour).sign},
	{"A cluster takes it, and judges by it", (*tour).serve},
	{"A policy is changed on a branch", (*tour).change},
	{"The change is tried on what was decided before", (*tour).replay},
	{"It is enforced in one namespace, and then everywhere", (*tour).canary},
	{"A policy is broken, and its own tests keep it out", (*tour).breakTests},
	{"It is broken with its tests, and rolled back by itself", (*tour).breakAll},
}

func (t *tour) begin(ctx context.Context) error {
	if _, err := t.must(ctx, "git", "init", "-q", "--initial-branch=main", bundleName); err != nil {
		return err
	}
	if _, err := t.must(ctx, "portcullis", "bundle", "init"); err != nil {
		return err
	}
	output, err := t.must(ctx, "portcullis", "policy", "test", ".", "--coverage")
	return errors.Join(err, wants(output, "0 failed", "100.0 %"))
}

// remote is the bundle in the repository, as --bundle takes it.
func (t *tour) remote(ref string) string { return "git+" + t.git.URL(bundleName) + "@" + ref }

// verified are the flags that say whom to believe.
func (t *tour) verified() []string {
	return []string{"--bundle-verification", filepath.Join(t.dir, "verification.yaml"), "--bundle-ca", t.authority.File}
}

func (t *tour) sign(ctx context.Context) error {
	key := filepath.Join(t.dir, "ada")
	for _, command := range [][]string{
		{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@example.com", "-f", key},
		{"git", "config", "user.name", "Ada"},
		{"git", "config", "user.email", "ada@example.com"},
		{"git", "config", "gpg.format", "ssh"},
		{"git", "config", "user.signingkey", key + ".pub"},
		{"git", "remote", "add", "origin", t.git.URL(bundleName)},
		{"git", "add", "--all"},
		{"git", "commit", "-q", "-m", "Begin"},
		{"git", "push", "-q", "origin", "main"},
	} {
		if _, err := t.must(ctx, command[0], command[1:]...); err != nil {
			return err
		}
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return err
	}
	verification := fmt.Sprintf("allowedSigners: |\n  ada@example.com namespaces=\"git\" %s", public)
	if err := os.WriteFile(filepath.Join(t.dir, "verification.yaml"), []byte(verification), 0o644); err != nil {
		return err
	}
	t.say("verification.yaml says whose signature counts: Ada's. Nobody has signed yet.")
	output, code, err := t.sh(ctx, "portcullis", append([]string{"bundle", "verify", t.remote("main")}, t.verified()...)...)
	if err := errors.Join(err, wantsCode(code, 1), wants(output, "A cluster would reject it")); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"git", "commit", "-q", "--amend", "-S", "-m", "Begin"},
		{"git", "push", "-q", "--force", "origin", "main"},
	} {
		if _, err := t.must(ctx, command[0], command[1:]...); err != nil {
			return err
		}
	}
	output, err = t.must(ctx, "portcullis", append([]string{"bundle", "verify", t.remote("main")}, t.verified()...)...)
	return errors.Join(err, wants(output, "ada@example.com", "A cluster would activate it"))
}

func (t *tour) serve(ctx context.Context) error {
	for _, what := range []string{"crd", "roles"} {
		printed, err := t.quietly(ctx, "portcullis-controller", what)
		if err != nil {
			return err
		}
		t.say("portcullis-controller %s | kubectl create -f -", what)
		if _, err := t.creator.Create(ctx, printed, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if err := t.createBundle(ctx); err != nil {
		return err
	}
	if err := inOrder(ctx, t.startController, t.waitFor("the bundle is active", func(status v1alpha1.PolicyBundleStatus) bool {
		return status.Phase == v1alpha1.PhaseActive && status.Active != nil
	})); err != nil {
		return err
	}
	if err := t.startWebhook(ctx); err != nil {
		return err
	}
	if err := inOrder(ctx,
		t.wantPod("a privileged pod", pod{namespace: "shop", privileged: true}, "pods/privileged"),
		t.wantPod("a pod with an owner", pod{namespace: "shop", owner: "team-cart"}, ""),
		t.wantPod("a pod without an owner: that only warns", pod{namespace: "shop"}, ""),
	); err != nil {
		return err
	}
	for n := range 10 {
		if err := t.create(ctx, pod{namespace: []string{"shop", "pilot"}[n%2], owner: []string{"team-cart", ""}[n/5]}); err != nil {
			return fmt.Errorf("creating a pod: %w", err)
		}
	}
	t.say("ten more pods, every second one in namespace pilot, half of them without an owner")
	return nil
}

func (t *tour) change(ctx context.Context) error {
	if _, err := t.must(ctx, "git", "switch", "-q", "-c", "stricter"); err != nil {
		return err
	}
	t.say("bundle.yaml: enforcement: warn becomes deny, and the serial is raised")
	if err := t.edit("bundle.yaml", "serial: 1", "serial: 2", "enforcement: warn", "enforcement: deny"); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"git", "commit", "-q", "-a", "-S", "-m", "Demand an owner"},
		{"git", "push", "-q", "origin", "stricter"},
	} {
		if _, err := t.must(ctx, command[0], command[1:]...); err != nil {
			return err
		}
	}
	output, err := t.must(ctx, "portcullis", append([]string{"bundle", "diff", t.remote("main"), t.remote("stricter")}, t.verified()...)...)
	return errors.Join(err, wants(output, "acme/owner-label", "warn", "deny"))
}

func (t *tour) replay(ctx context.Context) error {
	output, code, err := t.sh(ctx, "portcullis", "replay", t.journal(), "--bundle", ".")
	return errors.Join(err, wantsCode(code, 1), wants(output, "acme/owner-label", "shop", "pilot"))
}

func (t *tour) canary(ctx context.Context) error {
	t.say("the PolicyBundle asks for a canary in namespace pilot, for ten seconds and at most 5 new denials")
	if err := t.patchBundle(ctx, `{"spec":{"rollout":{"strategy":"canary","namespaces":["pilot"],"duration":"10s","maxNewDenials":5}}}`); err != nil {
		return err
	}
	if err := t.publish(ctx, "stricter"); err != nil {
		return err
	}
	return inOrder(ctx,
		t.waitFor("the candidate is a canary, and the webhook has it", func(status v1alpha1.PolicyBundleStatus) bool {
			return status.Phase == v1alpha1.PhaseCanary && status.Replicas > 0 && status.ReadyReplicas == status.Replicas
		}),
		t.wantPod("in pilot, a pod without an owner", pod{namespace: "pilot"}, "acme/owner-label"),
		t.wantPod("in shop, the same", pod{namespace: "shop"}, ""),
		t.waitFor("ten seconds have passed: it is promoted", func(status v1alpha1.PolicyBundleStatus) bool {
			return status.Phase == v1alpha1.PhaseActive && status.Active.Serial == 2
		}),
		t.wantPodSoon("in shop, too", pod{namespace: "shop"}, "acme/owner-label"),
		t.wantPod("in shop, a pod with an owner", pod{namespace: "shop", owner: "team-cart"}, ""))
}

func (t *tour) breakTests(ctx context.Context) error {
	if _, err := t.must(ctx, "git", "switch", "-q", "-c", "hasty"); err != nil {
		return err
	}
	t.say("owner-label/policy.rego: the line `not has_owner` is gone, so that every pod is refused")
	if err := errors.Join(
		t.edit("owner-label/policy.rego", "\tnot has_owner\n", ""),
		t.edit("bundle.yaml", "serial: 2", "serial: 3"),
	); err != nil {
		return err
	}
	output, code, err := t.sh(ctx, "portcullis", "policy", "test", ".")
	if err := errors.Join(err, wantsCode(code, 1), wants(output, "FAIL")); err != nil {
		return err
	}
	t.say("it is published all the same")
	if _, err := t.must(ctx, "git", "commit", "-q", "-a", "-S", "-m", "Be quick"); err != nil {
		return err
	}
	if err := t.publish(ctx, "hasty"); err != nil {
		return err
	}
	return inOrder(ctx, t.waitFor("it is rejected, and serial 2 stays", func(status v1alpha1.PolicyBundleStatus) bool {
		return status.Active.Serial == 2 && len(status.Rejected) > 0 && strings.Contains(status.Rejected[0].Reason, "test")
	}), t.wantPod("a pod with an owner", pod{namespace: "shop", owner: "team-cart"}, ""))
}

func (t *tour) breakAll(ctx context.Context) error {
	for _, command := range [][]string{
		{"git", "rm", "-q", "-r", "owner-label/policy_test.rego", "owner-label/testdata"},
		{"git", "commit", "-q", "-S", "-m", "Do without tests"},
	} {
		if _, err := t.must(ctx, command[0], command[1:]...); err != nil {
			return err
		}
	}
	t.say("the PolicyBundle asks for ten minutes, so that the canary is not promoted before its denials are counted")
	if err := t.patchBundle(ctx, `{"spec":{"rollout":{"duration":"10m"}}}`); err != nil {
		return err
	}
	if err := t.publish(ctx, "hasty"); err != nil {
		return err
	}
	good := pod{namespace: "pilot", owner: "team-cart"}
	return inOrder(ctx,
		t.waitFor("nothing speaks against it: it is a canary in pilot", func(status v1alpha1.PolicyBundleStatus) bool {
			return status.Phase == v1alpha1.PhaseCanary && status.ReadyReplicas == status.Replicas
		}),
		t.wantPod("in pilot, a pod with an owner", good, "acme/owner-label"),
		t.wantPod("another one", good, "acme/owner-label"),
		t.wantPod("a third one", good, "acme/owner-label"),
		t.wantPod("a fourth one", good, "acme/owner-label"),
		t.wantPod("a fifth one", good, "acme/owner-label"),
		t.wantPod("a sixth one", good, "acme/owner-label"),
		t.waitFor("that is more than 5: it is rolled back", func(status v1alpha1.PolicyBundleStatus) bool {
			return status.Phase == v1alpha1.PhaseRolledBack && status.Active.Serial == 2 && status.Candidate == nil
		}),
		t.wantPodSoon("in pilot, a pod with an owner", good, ""),
		t.showHistory)
}

// part is a part of a step.
type part func(context.Context) error

// inOrder does the parts of a step until one fails.
func inOrder(ctx context.Context, parts ...part) error {
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// publish makes a branch the one that the cluster takes.
func (t *tour) publish(ctx context.Context, branch string) error {
	_, err := t.must(ctx, "git", "push", "-q", "origin", branch+":main")
	return err
}

// edit replaces texts in a file, each of which must be there.
func (t *tour) edit(name string, oldNew ...string) error {
	file := filepath.Join(t.work, name)
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := string(content)
	for n := 0; n < len(oldNew); n += 2 {
		if !strings.Contains(text, oldNew[n]) {
			return fmt.Errorf("editing %s: there is no %q in it", name, oldNew[n])
		}
		text = strings.Replace(text, oldNew[n], oldNew[n+1], 1)
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

func wants(output string, texts ...string) error {
	var problems []error
	for _, text := range texts {
		if !strings.Contains(output, text) {
			problems = append(problems, fmt.Errorf("got output without %q", text))
		}
	}
	return errors.Join(problems...)
}

func wantsCode(got, want int) error {
	if got != want {
		return fmt.Errorf("got exit code %d, want %d", got, want)
	}
	return nil
}
