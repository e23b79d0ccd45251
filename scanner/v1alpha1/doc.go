// Package v1alpha1 is the custom resource ImageScan: the queue of images to scan in a cluster, and, where a registry
// cannot be written to, the place of signed scans. Nothing in it is believed without a signature.
package v1alpha1
