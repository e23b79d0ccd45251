// Package sample runs the samples that every policy carries: manifests it must
// allow, manifests it must object to, objects it must patch to exactly a
// given result, and events it must act on or leave alone. docs/policies.md says how they are laid out.
package sample

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/admission/patch"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/signer"
	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/yaml"
)

// Kind says what a sample expects.
type Kind string

// The kinds of samples: folders below testdata.
const (
	Allow Kind = "allow"
	Deny  Kind = "deny"
	Patch Kind = "patch"
	Keep  Kind = "keep"
	// Respond are events that a policy has to act on, Ignore those that it has to leave alone.
	Respond Kind = "respond"
	Ignore  Kind = "ignore"
	// Permit are syncs of secrets that a policy has to permit (one that only denies: not to deny), Refuse those that it must not.
	Permit Kind = "permit"
	Refuse Kind = "refuse"
)

// Sample is one file of a policy's testdata.
type Sample struct {
	Policy string // the policy's id
	Kind   Kind
	Name   string // file name without extension
	File   string

	judged  []admission.Request
	actions [][]response.Action // that each event has to lead to, nil for any
	cluster []policies.Object
	spaces  map[string]*policies.Namespace
	images  map[string]policies.ImageFacts // by canonical reference
	patched []byte                         // what a patch sample must become
}

// Now is the clock of samples.
var Now = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// namespace is where samples live that do not say.
const namespace = "sample"

// Suite is a policy's samples with the parameters they run with.
type Suite struct {
	Policy     *policies.Policy
	Parameters map[string]any
	// Trust is what the bundle's section trust says while they run, nil for nothing.
	Trust   *signer.Trust
	Samples []Sample
}

// Load reads the samples of a policy of a bundle from the bundle's file system.
func Load(fsys fs.FS, policy *policies.Policy) (*Suite, error) {
	root := path.Join(path.Dir(policy.File), "testdata")
	suite := &Suite{Policy: policy}
	raw, err := fs.ReadFile(fsys, path.Join(root, "parameters.yaml"))
	switch {
	case err == nil:
		if err := manifest.CheckAliases(raw); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path.Join(root, "parameters.yaml"), err)
		}
		if err := yaml.UnmarshalStrict(raw, &suite.Parameters); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path.Join(root, "parameters.yaml"), err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if suite.Trust, err = loadTrust(fsys, path.Join(root, "trust.yaml")); err != nil {
		return nil, err
	}
	for _, kind := range []Kind{Allow, Deny, Patch, Keep, Respond, Ignore, Permit, Refuse} {
		if err := suite.loadKind(fsys, root, kind); err != nil {
			return nil, err
		}
	}
	return suite, nil
}

func loadTrust(fsys fs.FS, file string) (*signer.Trust, error) {
	raw, err := fs.ReadFile(fsys, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		raw, err = manifest.YAMLToJSON(raw)
	}
	var trust *signer.Trust
	if err == nil {
		trust, err = signer.ParseTrust(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return trust, nil
}

func (s *Suite) loadKind(fsys fs.FS, root string, kind Kind) error {
	files, err := fs.Glob(fsys, path.Join(root, string(kind), "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".patched.yaml") {
			continue
		}
		sample, err := load(fsys, file, doorOf(s.Policy))
		if err != nil {
			return err
		}
		sample.Policy, sample.Kind = s.Policy.ID, kind
		if kind == Patch {
			if sample.patched, err = loadPatched(fsys, file); err != nil {
				return err
			}
		}
		s.Samples = append(s.Samples, *sample)
	}
	return nil
}

// doorOf is where a policy's samples are judged: at admission, unless the policy
// does not apply there.
func doorOf(policy *policies.Policy) admission.Door {
	if policy.Subject.Events != nil {
		return admission.DoorResponder
	}
	if policy.Subject.Syncs != nil {
		return admission.DoorSecrets
	}
	if len(policy.Doors) == 0 || slices.Contains(policy.Doors, admission.DoorAdmission) {
		return admission.DoorAdmission
	}
	return policy.Doors[0]
}

func load(fsys fs.FS, file string, door admission.Door) (*Sample, error) {
	raw, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, err
	}
	documents, err := manifest.Read(file, bytes.NewReader(raw), manifest.DefaultLimits)
	if err != nil {
		return nil, fmt.Errorf("reading a sample: %w", err)
	}
	s := &Sample{Name: strings.TrimSuffix(path.Base(file), ".yaml"), File: file, spaces: map[string]*policies.Namespace{}, images: map[string]policies.ImageFacts{}}
	review := slices.ContainsFunc(documents, func(d manifest.Document) bool { return d.Kind == "AdmissionReview" || isEvent(&d) || isSync(&d) })
	for i := range documents {
		if err := s.add(&documents[i], review, door); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if err := s.joinPods(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(s.judged) == 0 {
		return nil, fmt.Errorf("%s: nothing in it is judged", file)
	}
	return s, nil
}

func (s *Sample) add(document *manifest.Document, review bool, door admission.Door) error {
	if document.Kind == "AdmissionReview" {
		var in admissionv1.AdmissionReview
		if err := json.Unmarshal(document.JSON, &in); err != nil || in.Request == nil {
			return fmt.Errorf("reading the AdmissionReview: no request: %w", err)
		}
		s.judged = append(s.judged, admission.FromReview(door, in.Request))
		return nil
	}
	if document.Kind == evidenceKind && document.APIVersion == policies.APIVersion {
		return s.addEvidence(document)
	}
	if isEvent(document) {
		return s.addEvent(document)
	}
	if isSync(document) {
		return s.addSync(document)
	}
	request := admission.CreateRequest(door, document, namespace)
	if !review {
		s.judged = append(s.judged, request)
	}
	s.cluster = append(s.cluster, admission.ClusterObject(document, namespace))
	if document.Kind == "Namespace" && document.APIVersion == "v1" {
		var in struct {
			Metadata struct{ Labels, Annotations map[string]string }
		}
		if err := json.Unmarshal(document.JSON, &in); err != nil {
			return fmt.Errorf("reading the Namespace: %w", err)
		}
		s.spaces[document.Name] = &policies.Namespace{Name: document.Name, Labels: in.Metadata.Labels, Annotations: in.Metadata.Annotations}
	}
	return nil
}

func loadPatched(fsys fs.FS, file string) ([]byte, error) {
	raw, err := fs.ReadFile(fsys, strings.TrimSuffix(file, ".yaml")+".patched.yaml")
	if err != nil {
		return nil, fmt.Errorf("a patch sample needs the expected object beside it: %w", err)
	}
	return manifest.YAMLToJSON(raw)
}

// Gather gives what the sample's documents hold, as admission.Facts.
func (s *Sample) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	facts := policies.Facts{Images: s.imageFacts(needs.Images)}
	if needs.Namespace != "" {
		facts.Namespace = s.spaces[needs.Namespace]
		if facts.Namespace == nil {
			facts.Namespace = &policies.Namespace{Name: needs.Namespace}
		}
	}
	for _, object := range s.cluster {
		if slices.ContainsFunc(needs.Reads, func(read policies.Read) bool {
			return read.Group == object.Group && read.Resource == object.Resource &&
				(read.Namespace == "" || read.Namespace == object.Namespace)
		}) {
			facts.Cluster = append(facts.Cluster, object)
		}
	}
	return facts
}

// Requests are what is judged in the sample.
func (s *Sample) Requests() []admission.Request { return slices.Clone(s.judged) }

// Run judges the sample with an engine that holds only its policy. A nil error
// means that the policy did what the sample demands.
func (s *Sample) Run(ctx context.Context, engine *policies.Engine) error {
	_, err := s.Judge(ctx, engine)
	return err
}

// Judge is Run that gives the verdicts too, one for each judged request.
func (s *Sample) Judge(ctx context.Context, engine *policies.Engine) ([]admission.Verdict, error) {
	reviewer := admission.NewReviewer(engine, s, func() time.Time { return Now })
	if s.Kind == Respond || s.Kind == Ignore {
		return s.judgeEvents(ctx, reviewer)
	}
	if s.Kind == Permit || s.Kind == Refuse {
		return s.judgeSyncs(ctx, reviewer)
	}
	var verdicts []admission.Verdict
	found, matched := 0, 0
	for _, request := range s.judged {
		judge := reviewer.Review
		if s.Kind == Patch || s.Kind == Keep {
			judge = reviewer.Mutate
		}
		verdict := judge(ctx, request)
		verdicts = append(verdicts, verdict)
		if len(verdict.Faults) > 0 {
			return verdicts, fmt.Errorf("%s: the policy failed: %s: %s", s.File, verdict.Faults[0].Kind, verdict.Faults[0].Message)
		}
		found += len(verdict.Findings)
		matched += verdict.Matched
		if s.Kind == Patch || s.Kind == Keep {
			if err := s.comparePatched(ctx, reviewer, request, verdict); err != nil {
				return verdicts, err
			}
		}
	}
	switch {
	case matched == 0 && s.Kind != Keep:
		return verdicts, fmt.Errorf("%s: the policy matches nothing in it", s.File)
	case s.Kind == Deny && found == 0:
		return verdicts, fmt.Errorf("%s: want a finding, got none", s.File)
	case s.Kind == Allow && found > 0:
		return verdicts, fmt.Errorf("%s: want no finding, got %d: %s", s.File, found, messages(verdicts))
	}
	return verdicts, nil
}

func messages(verdicts []admission.Verdict) string {
	var all []string
	for _, v := range verdicts {
		for _, f := range v.Findings {
			all = append(all, fmt.Sprintf("%s: %s", f.Path, f.Message))
		}
	}
	return strings.Join(all, "; ")
}

// comparePatched checks the result of a patch, and that patching the result again
// changes nothing: the API server may call a mutating webhook twice.
func (s *Sample) comparePatched(ctx context.Context, reviewer *admission.Reviewer, request admission.Request, verdict admission.Verdict) error {
	if s.Kind == Keep {
		if verdict.Patched != nil {
			return fmt.Errorf("%s: want it unchanged, got %s", s.File, verdict.Patch)
		}
		return nil
	}
	if verdict.Patched == nil {
		return fmt.Errorf("%s: want a patch, got none", s.File)
	}
	if !sameJSON(verdict.Patched, s.patched) {
		return fmt.Errorf("%s: got after the patch\n%s\nwant\n%s", s.File, verdict.Patched, s.patched)
	}
	request.Object = verdict.Patched
	if again := reviewer.Mutate(ctx, request); again.Patched != nil {
		return fmt.Errorf("%s: patching the result again changes it: %s", s.File, again.Patch)
	}
	return nil
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// RunFixed applies the fixes of all findings of a deny sample and judges the
// result, which must have no finding left.
func (s *Sample) RunFixed(ctx context.Context, engine *policies.Engine) error {
	verdicts, err := s.Judge(ctx, engine)
	if err != nil {
		return err
	}
	fixed := *s
	fixed.judged = slices.Clone(s.judged)
	fixed.Kind = Allow
	for i, verdict := range verdicts {
		var changes []patch.Change
		for _, finding := range verdict.Findings {
			if len(finding.Fix) == 0 {
				return fmt.Errorf("%s: finding %q has no fix: add fix to the finding, or fix: none with a fixReason to the metadata of the policy", s.File, finding.Message)
			}
			for _, c := range finding.Fix {
				changes = append(changes, patch.Change{Op: c.Op, Path: c.Path, Value: c.Value})
			}
		}
		object, err := patch.ApplyChanges(s.judged[i].Object, changes)
		if err != nil {
			return fmt.Errorf("%s: applying the fix: %w", s.File, err)
		}
		fixed.judged[i].Object = object
		if moved := namespaceOf(object); moved != "" {
			fixed.judged[i].Namespace = moved
		}
		fixed.replace(s.judged[i], object)
	}
	if err := fixed.Run(ctx, engine); err != nil {
		return fmt.Errorf("after its fix: %w", err)
	}
	return nil
}

// namespaceOf is the namespace an object says it belongs to: a fix may move it.
func namespaceOf(object []byte) string {
	var in struct {
		Metadata struct{ Namespace string }
	}
	if json.Unmarshal(object, &in) != nil {
		return ""
	}
	return in.Metadata.Namespace
}

// replace puts the fixed object in place of the old one among the cluster's objects.
func (s *Sample) replace(request admission.Request, object []byte) {
	s.cluster = slices.Clone(s.cluster)
	for i, o := range s.cluster {
		if o.Resource == request.Resource.Resource && o.Group == request.Resource.Group && o.Namespace == request.Namespace && o.Name == request.Name {
			s.cluster[i].Raw = object
		}
	}
}
