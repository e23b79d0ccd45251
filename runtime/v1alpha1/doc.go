// Package v1alpha1 holds the custom resources of responses at run time, group runtime.portcullis.dev: Quarantine, what is done
// about one pod; QuarantineEvidence, what was kept of it; Incident, what admission remembers.
package v1alpha1
