package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func bundles() Check {
	return Check{
		Name: "bundles", About: "each bundle was fetched lately, its newest revision was accepted, and all replicas judge by the same",
		Why:  "A bundle that is not fetched, or was rejected, goes on judging by old rules; replicas that disagree give two answers to one request.",
		look: lookAtBundles,
	}
}

// Times of a bundle.
const (
	// defaultInterval is that of a PolicyBundle (policies/v1alpha1, Interval).
	defaultInterval = 5 * time.Minute
	// missedLooks may be missed before a bundle counts as old.
	missedLooks = 3
	// silence is after what time a replica that said nothing counts as gone: it writes every 20 s.
	silence = 2 * time.Minute
)

func lookAtBundles(ctx context.Context, p *patient, r *Result) {
	inCluster, known := p.judgesByCluster(ctx)
	list, err := p.bundles(ctx)
	if apierrors.IsNotFound(err) && known && !inCluster {
		r.ok("The webhook judges by the built-in library or a folder; there are no PolicyBundles")
		return
	}
	if r.unread(err, "the PolicyBundles", "list policybundles") {
		return
	}
	if len(list) == 0 {
		if inCluster {
			r.problem("kubectl apply --filename bundle.yaml # docs/bundles.md has examples", "The webhook judges by the cluster's PolicyBundles (--bundle=cluster), and there is none")
			return
		}
		r.ok("There are no PolicyBundles: the webhook judges by the built-in library or a folder")
		return
	}
	for n := range list {
		p.bundle(r, &list[n])
	}
	if !inCluster && known {
		r.warn(fmt.Sprintf("kubectl --namespace %s edit deployment portcullis-webhook # --bundle=cluster", p.Namespace), "There are PolicyBundles, and the webhook does not judge by them: it is started without --bundle=cluster")
		return
	}
	p.agreement(ctx, r, list)
}

// judgesByCluster says whether the webhook is started with --bundle=cluster.
func (p *patient) judgesByCluster(ctx context.Context) (yes, known bool) {
	deployment, err := p.Deployment(ctx, installation.Webhook)
	if err != nil || deployment == nil {
		return false, false
	}
	bundle, _ := installation.Flag(installation.Webhook, &deployment.Spec.Template.Spec, "bundle")
	return bundle == "cluster", true
}

// bundle is about the object itself.
func (p *patient) bundle(r *Result, b *v1alpha1.PolicyBundle) {
	now, describe := p.Now(), "kubectl describe policybundle "+b.Name
	interval := b.Spec.Interval.Duration
	if interval == 0 {
		interval = defaultInterval
	}
	switch {
	case b.Status.Active == nil:
		r.problem(describe, "The bundle %s has no active revision: nothing of it judges%s", b.Name, saying(b, v1alpha1.ConditionAccepted, v1alpha1.ConditionFetched))
	case b.Spec.Suspend:
		r.warn(fmt.Sprintf(`kubectl patch policybundle %s --type merge --patch '{"spec":{"suspend":false}}'`, b.Name), "The bundle %s is suspended: what its source has is not looked at", b.Name)
	case b.Status.LastFetch == nil || now.Sub(b.Status.LastFetch.Time) > missedLooks*interval+time.Minute:
		r.problem(describe, "The source of the bundle %s was last reached %s, and should be every %s%s", b.Name, since(now, b.Status.LastFetch), interval, saying(b, v1alpha1.ConditionFetched))
	default:
		r.ok("The bundle %s judges by revision %d (%.19s), activated %s, fetched %s", b.Name, b.Status.Active.Serial, b.Status.Active.Digest, ago(now, b.Status.Active.Since.Time), since(now, b.Status.LastFetch))
	}
	if c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionAccepted); c != nil && c.Status == metav1.ConditionFalse {
		r.warn(describe+"; then mend the bundle at its source", "What the source of the bundle %s has is rejected, and the last good revision judges: %s", b.Name, c.Message)
	} else if len(b.Status.Rejected) > 0 && now.Sub(b.Status.Rejected[0].Time.Time) < 24*time.Hour {
		r.ok("The bundle %s rejected a revision %s: %s", b.Name, ago(now, b.Status.Rejected[0].Time.Time), b.Status.Rejected[0].Reason)
	}
	if b.Spec.Verification.InsecureUnsigned {
		r.warn("docs/bundles.md says how to sign bundles; then take out spec.verification.insecureUnsigned", "The bundle %s need not be signed: whoever can write to its source decides what the cluster admits", b.Name)
	}
	switch b.Status.Phase {
	case v1alpha1.PhaseRolledBack:
		r.warn(describe, "The last candidate of the bundle %s was rolled back", b.Name)
	case v1alpha1.PhaseCanary, v1alpha1.PhaseShadow, v1alpha1.PhaseStandby:
		r.ok("A revision of the bundle %s is on trial (%s)", b.Name, b.Status.Phase)
	}
}

// saying is what conditions that do not hold say, as the end of a sentence.
func saying(b *v1alpha1.PolicyBundle, conditions ...string) string {
	for _, name := range conditions {
		if c := meta.FindStatusCondition(b.Status.Conditions, name); c != nil && c.Status != metav1.ConditionTrue && c.Message != "" {
			return ": " + c.Message
		}
	}
	return ""
}

func since(now time.Time, then *metav1.Time) string {
	if then == nil {
		return "never"
	}
	return ago(now, then.Time)
}

// agreement says whether the replicas have loaded what the bundles say.
func (p *patient) agreement(ctx context.Context, r *Result, list []v1alpha1.PolicyBundle) {
	replicas, err := p.replicas(ctx)
	if r.unread(err, "the PolicyReplicas", "list policyreplicas") {
		return
	}
	var living []v1alpha1.PolicyReplica
	for n := range replicas {
		if p.Now().Sub(replicas[n].Status.Heartbeat.Time) <= silence {
			living = append(living, replicas[n])
		}
	}
	if pods, err := p.PodsOf(ctx, installation.Webhook); err == nil && len(pods) > len(living) {
		r.problem(fmt.Sprintf("kubectl get policyreplicas; kubectl --namespace %s logs --selector app.kubernetes.io/component=webhook --tail 50", p.Namespace),
			"%d of %d webhooks say what they have loaded", len(living), len(pods))
	}
	agreed := true
	for n := range living {
		for _, loaded := range living[n].Status.Bundles {
			at := slices.IndexFunc(list, func(b v1alpha1.PolicyBundle) bool { return b.Name == loaded.Name })
			next := "kubectl get policyreplica " + living[n].Name + " --output yaml"
			switch {
			case loaded.Error != "":
				r.problem(next, "The replica %s could not load the bundle %s: %s", living[n].Name, loaded.Name, loaded.Error)
				agreed = false
			case at >= 0 && list[at].Status.Active != nil && loaded.Active != list[at].Status.Active.Digest:
				r.warn(next, "The replica %s judges by another revision of the bundle %s: %.19s. It should follow within seconds", living[n].Name, loaded.Name, loaded.Active)
				agreed = false
			}
		}
	}
	if agreed && len(living) > 0 {
		r.ok("%s, all with what the bundles say", number(len(living), "replica has", "replicas have"))
	}
}

func (p *patient) replicas(ctx context.Context) ([]v1alpha1.PolicyReplica, error) {
	list, err := p.List(ctx, v1alpha1.Replicas)
	if err != nil {
		return nil, err
	}
	replicas := make([]v1alpha1.PolicyReplica, len(list.Items))
	for n := range list.Items {
		if err := decode(&list.Items[n], &replicas[n]); err != nil {
			return nil, fmt.Errorf("reading the PolicyReplica %s: %w", list.Items[n].GetName(), err)
		}
	}
	slices.SortFunc(replicas, func(a, b v1alpha1.PolicyReplica) int { return strings.Compare(a.Name, b.Name) })
	return replicas, nil
}
