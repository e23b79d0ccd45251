package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxExceptions is how many exceptions of a cluster are taken: findings are compared with all of their policy. The oldest
// are; what is beyond waives nothing.
const MaxExceptions = 5000

// MaxExceptionsOfNamespace is how many of them may be of one namespace, so that nobody who may write them in his own takes the
// place of all others.
const MaxExceptionsOfNamespace = 1000

// Exception is a PolicyException as policies take it: with the fields that one in a bundle has, and who grants it.
func Exception(e *v1alpha1.PolicyException) (policies.Exception, error) {
	made, err := policies.NewException(policies.Exception{
		APIVersion: policies.APIVersion, Kind: "Exception", Name: e.Name,
		Policy: e.Spec.Policy, Reason: e.Spec.Reason, Owner: e.Spec.Owner, Expires: e.Spec.Expires,
		Selector: policies.ExceptionSelector{
			Namespaces: e.Spec.Selector.Namespaces, ClusterScoped: e.Spec.Selector.ClusterScoped,
			Kinds: e.Spec.Selector.Kinds, Names: e.Spec.Selector.Names, Containers: e.Spec.Selector.Containers,
		},
		Grant: &policies.Grant{
			Namespace: e.Namespace, Bundle: e.Spec.Bundle,
			Creator: e.Annotations[v1alpha1.CreatorAnnotation], Created: e.CreationTimestamp.Time,
		},
	})
	if err != nil {
		return made, fmt.Errorf("reading the PolicyException %s/%s: %w", e.Namespace, e.Name, err)
	}
	return made, nil
}

// Object is an exception as the PolicyException that grants it in a namespace: what [policies.Excepting] writes for violations
// of today, to be applied to a cluster. bundle is the one that it is about, "" for each that has the policy.
func Object(e policies.Exception, namespace, bundle string) v1alpha1.PolicyException {
	return v1alpha1.PolicyException{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PolicyException"},
		ObjectMeta: metav1.ObjectMeta{Name: e.Name, Namespace: namespace},
		Spec: v1alpha1.PolicyExceptionSpec{
			Bundle: bundle, Policy: e.Policy, Reason: e.Reason, Owner: e.Owner, Expires: e.Expires,
			Selector: v1alpha1.ExceptionSelector{
				Namespaces: e.Selector.Namespaces, ClusterScoped: e.Selector.ClusterScoped,
				Kinds: e.Selector.Kinds, Names: e.Selector.Names, Containers: e.Selector.Containers,
			},
		},
	}
}

// exceptionsOf are those that can be read, oldest first, with what is wrong with the others.
func exceptionsOf(objects []v1alpha1.PolicyException) ([]policies.Exception, error) {
	slices.SortFunc(objects, func(a, b v1alpha1.PolicyException) int {
		return cmp.Or(a.CreationTimestamp.Time.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	var taken []policies.Exception
	var problems []error
	of := map[string]int{}
	for n := range objects {
		made, err := Exception(&objects[n])
		namespace := objects[n].Namespace
		if of[namespace]++; of[namespace] > MaxExceptionsOfNamespace {
			if of[namespace] == MaxExceptionsOfNamespace+1 {
				problems = append(problems, fmt.Errorf("namespace %s has more than %d PolicyExceptions, and the youngest waive nothing: delete those that have expired", namespace, MaxExceptionsOfNamespace))
			}
			continue
		}
		switch {
		case err != nil:
			problems = append(problems, err)
		case len(taken) == MaxExceptions:
			problems = append(problems, fmt.Errorf("there are more than %d PolicyExceptions, and the youngest waive nothing: delete those that have expired", MaxExceptions))
			return taken, errors.Join(problems...)
		default:
			taken = append(taken, made)
		}
	}
	return taken, errors.Join(problems...)
}
