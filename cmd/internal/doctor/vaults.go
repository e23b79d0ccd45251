package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func vaults() Check {
	return Check{
		Name: "vault", About: "Vault answers, is unsealed, takes our logins, and what is to be synced is",
		Why:  "While Vault cannot be asked the last good Secrets stay, and go stale: leases end, rotations do not arrive.",
		look: lookAtVaults,
	}
}

func lookAtVaults(ctx context.Context, p *patient, r *Result) {
	connections, err := p.List(ctx, v1alpha1.VaultConnections)
	if apierrors.IsNotFound(err) {
		r.ok("The cluster does not serve VaultConnections: nothing is synced from Vault")
		return
	}
	if r.unread(err, "the VaultConnections", "list vaultconnections") {
		return
	}
	if len(connections.Items) == 0 {
		r.ok("There is no VaultConnection: nothing is synced from Vault")
		return
	}
	ready := 0
	for n := range connections.Items {
		object := &connections.Items[n]
		sealed, _, _ := unstructured.NestedBool(object.Object, "status", "sealed")
		c := conditionOf(object, v1alpha1.ConditionReady)
		switch next := "kubectl describe vaultconnection " + object.GetName(); {
		case sealed:
			r.problem("vault operator unseal # at its address; docs/vault.md", "The Vault of %s is sealed", object.GetName())
		case c.Status == "":
			r.problem(fmt.Sprintf("kubectl --namespace %s get pods --selector app.kubernetes.io/component=secrets", p.Namespace), "Nobody has looked at the VaultConnection %s: portcullis-secrets does not run, or does not lead", object.GetName())
		case c.Status != "True":
			r.problem(next, "The Vault of %s does not answer (%s): %s", object.GetName(), c.Reason, c.Message)
		default:
			ready++
		}
	}
	if ready > 0 {
		r.ok("%s", number(ready, "VaultConnection answers, unsealed", "VaultConnections answer, unsealed"))
	}
	p.synced(ctx, r, v1alpha1.VaultAuths, v1alpha1.ConditionReady, "VaultAuth", "log in")
	p.synced(ctx, r, v1alpha1.VaultSecrets, v1alpha1.ConditionSynced, "VaultSecret", "be synced")
	p.synced(ctx, r, v1alpha1.VaultPushes, v1alpha1.ConditionSynced, "VaultPush", "be synced")
}

// grace is for what was just made.
const grace = 2 * time.Minute

// synced says which objects of a kind do not hold a condition, by reason.
func (p *patient) synced(ctx context.Context, r *Result, resource schema.GroupVersionResource, wanted, kind, verb string) {
	list, err := p.List(ctx, resource)
	if r.unread(err, "the "+resource.Resource, "list "+resource.Resource+" --all-namespaces") || len(list.Items) == 0 {
		return
	}
	why, said, fine := map[string][]string{}, map[string]string{}, 0
	for n := range list.Items {
		object := &list.Items[n]
		suspended, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend")
		c := conditionOf(object, wanted)
		switch {
		case c.Status == "True" || suspended:
			fine++
		case p.Now().Sub(cmpTime(c.Since, object.GetCreationTimestamp().Time)) > grace || c.Status == "":
			reason := cmp.Or(c.Reason, "nobody has looked at it")
			why[reason] = append(why[reason], object.GetNamespace()+"/"+object.GetName())
			said[reason] = c.Message
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		next := fmt.Sprintf("kubectl describe %s --namespace %s", resource.Resource, namespaceOf(why[reason][0]))
		if kind == "VaultSecret" {
			next = "portcullis secrets why " + why[reason][0]
		}
		r.problem(next, "%s cannot %s (%s): %s. %s", number(len(why[reason]), kind, kind+"s"), verb, reason, several(why[reason]), said[reason])
	}
	if fine > 0 && len(why) == 0 {
		r.ok("%s as they should be", number(fine, kind+" is", kind+"s are"))
	}
}

func cmpTime(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}
