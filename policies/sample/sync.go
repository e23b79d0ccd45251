package sample

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/secrets"
)

// syncKind is the kind of a document that holds a sync. It is for samples only.
const syncKind = "SecretSync"

// secretSync is such a document.
type secretSync struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Operation is SYNC for none.
	Operation string       `json:"operation"`
	Sync      secrets.Sync `json:"sync"`
}

func isSync(document *manifest.Document) bool {
	return document.Kind == syncKind && document.APIVersion == policies.APIVersion
}

// addSync takes a document that holds a sync. What follows from other fields may be left out: the segments of the path, and what the
// object is.
func (s *Sample) addSync(document *manifest.Document) error {
	var in secretSync
	decoder := json.NewDecoder(bytes.NewReader(document.JSON))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return fmt.Errorf("reading the %s: %w", syncKind, err)
	}
	if in.Sync.Vault.Engine == "" || in.Sync.Vault.Mount == "" {
		return fmt.Errorf("reading the %s: a sync has an engine and a mount (sync: {vault: {engine: kv-v2, mount: secret, path: …}})", syncKind)
	}
	sync, request := &in.Sync, admission.Request{Door: admission.DoorSecrets, Operation: in.Operation, Sync: &in.Sync}
	kind, resource := "VaultSecret", "vaultsecrets"
	switch in.Operation {
	case "", policies.OperationSync:
		request.Operation = policies.OperationSync
	case policies.OperationPush:
		kind, resource = "VaultPush", "vaultpushes"
	default:
		return fmt.Errorf("reading the %s: operation %q: use %s or %s", syncKind, in.Operation, policies.OperationSync, policies.OperationPush)
	}
	sync.Object.Kind = kind
	if sync.Object.Namespace == "" {
		sync.Object.Namespace = namespace
	}
	if sync.Object.Name == "" {
		sync.Object.Name = s.Name
	}
	if sync.Vault.Segments == nil && sync.Vault.Path != "" {
		sync.Vault.Segments = strings.Split(sync.Vault.Path, "/")
	}
	if sync.Destination.Name == "" {
		sync.Destination.Name = sync.Object.Name
	}
	const group, version = "secrets.portcullis.dev", "v1alpha1"
	request.Resource = metav1.GroupVersionResource{Group: group, Version: version, Resource: resource}
	request.Kind = metav1.GroupVersionKind{Group: group, Version: version, Kind: kind}
	request.Namespace, request.Name = sync.Object.Namespace, sync.Object.Name
	s.judged = append(s.judged, request)
	return nil
}

// judgeSyncs is [Sample.Judge] for syncs. That nothing permits is no finding of a policy that does not permit anything.
func (s *Sample) judgeSyncs(ctx context.Context, reviewer *admission.Reviewer) ([]admission.Verdict, error) {
	var verdicts []admission.Verdict
	for _, request := range s.judged {
		if request.Sync == nil {
			return verdicts, fmt.Errorf("%s: a %s sample holds syncs: begin it with one of kind %s", s.File, s.Kind, syncKind)
		}
		verdict := reviewer.Sync(ctx, request)
		if len(verdict.Faults) > 0 {
			return append(verdicts, verdict), fmt.Errorf("%s: the policy failed: %s: %s", s.File, verdict.Faults[0].Kind, verdict.Faults[0].Message)
		}
		if verdict.Matched == 0 {
			return append(verdicts, verdict), fmt.Errorf("%s: the policy matches nothing in it", s.File)
		}
		asked := slices.ContainsFunc(verdict.Parts, func(p admission.Part) bool { return p.Result.AskedToPermit })
		if !asked {
			verdict.Findings = slices.DeleteFunc(slices.Clone(verdict.Findings), func(f policies.Finding) bool { return f.Policy == policies.NoPermit })
		}
		verdicts = append(verdicts, verdict)
		switch found := len(verdict.Findings); {
		case s.Kind == Permit && found > 0:
			return verdicts, fmt.Errorf("%s: want it permitted, got %s", s.File, messages(verdicts[len(verdicts)-1:]))
		case s.Kind == Refuse && found == 0:
			return verdicts, fmt.Errorf("%s: want it refused, but it is not", s.File)
		}
	}
	return verdicts, nil
}
