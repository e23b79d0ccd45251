// Package clusterimagepolicy imports the ClusterImagePolicy of sigstore's policy-controller (policy.sigstore.dev, v1alpha1
// and v1beta1) as a [signer.Trust], the section trust of bundle.yaml.
//
// Nothing is dropped silently: each field that has no place in a trust configuration is a [Note] with what becomes of it.
// What would admit an image that policy-controller refuses is an error: CUE and Rego policies, keys that are held
// elsewhere, certificate authorities of a single authority, expressions that match in the middle of a text. What would refuse more is a
// note.
//
// A policy becomes one requirement, any of its authorities; an image that several policies match needs all of them,
// as there. Fields are those of pkg/apis/policy in github.com/sigstore/policy-controller 0.13.
package clusterimagepolicy
