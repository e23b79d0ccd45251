package sample

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// eventKind is the kind of a document that holds an event. It is for samples only.
const eventKind = "RuntimeEvent"

// runtimeEvent is such a document.
type runtimeEvent struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Event      response.Event `json:"event"`
	// Actions are what the policy has to ask for in a respond sample, in any order; without the field any will do.
	Actions []response.Action `json:"actions"`
}

func isEvent(document *manifest.Document) bool {
	return document.Kind == eventKind && document.APIVersion == policies.APIVersion
}

// addEvent takes a document that holds an event. The pod is the one of the file: [Sample.joinPods].
func (s *Sample) addEvent(document *manifest.Document) error {
	var e runtimeEvent
	decoder := json.NewDecoder(bytes.NewReader(document.JSON))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return fmt.Errorf("reading the %s: %w", eventKind, err)
	}
	for _, action := range e.Actions {
		if _, err := response.ParseAction(string(action)); err != nil {
			return fmt.Errorf("reading the %s: %w", eventKind, err)
		}
	}
	if e.Event.Rule == "" || e.Event.Source == "" {
		return fmt.Errorf("reading the %s: an event has a rule and a source", eventKind)
	}
	if e.Event.Time.IsZero() {
		e.Event.Time = Now
	}
	slices.Sort(e.Event.Tags)
	s.judged = append(s.judged, admission.Request{
		Door: admission.DoorResponder, Operation: policies.OperationEvent, Event: &e.Event,
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
	})
	s.actions = append(s.actions, e.Actions)
	return nil
}

// joinPods gives each event the pod that it is about: the one that it names, or the only one of the file if it names none and is not
// about the node.
func (s *Sample) joinPods() error {
	var pods []policies.Object
	for _, object := range s.cluster {
		if object.Group == "" && object.Resource == "pods" {
			pods = append(pods, object)
		}
	}
	for n := range s.judged {
		e := s.judged[n].Event
		if e == nil || e.Host {
			continue
		}
		at := slices.IndexFunc(pods, func(o policies.Object) bool {
			return e.Pod != nil && o.Namespace == e.Pod.Namespace && o.Name == e.Pod.Name
		})
		if e.Pod == nil && len(pods) == 1 {
			at = 0
		}
		if at < 0 {
			return fmt.Errorf("the pod of the event %q is not in the sample: add it, or say host: true", e.Rule)
		}
		if err := join(&s.judged[n], &pods[at]); err != nil {
			return err
		}
	}
	return nil
}

func join(request *admission.Request, object *policies.Object) error {
	var in struct {
		Metadata struct{ UID string }
		Spec     struct {
			NodeName, ServiceAccountName, PriorityClassName string
			HostNetwork, HostPID                            bool
		}
	}
	if err := json.Unmarshal(object.Raw, &in); err != nil {
		return fmt.Errorf("reading the Pod %s: %w", object.Name, err)
	}
	request.Namespace, request.Name, request.Object = object.Namespace, object.Name, object.Raw
	if request.Event.Pod == nil {
		request.Event.Pod = &response.Pod{
			Namespace: object.Namespace, Name: object.Name, UID: in.Metadata.UID, Node: in.Spec.NodeName, ServiceAccount: in.Spec.ServiceAccountName,
			Priority: in.Spec.PriorityClassName, HostNetwork: in.Spec.HostNetwork, HostPID: in.Spec.HostPID, ResolvedBy: "uid",
		}
	}
	return nil
}

// judgeEvents is [Sample.Judge] for events.
func (s *Sample) judgeEvents(ctx context.Context, reviewer *admission.Reviewer) ([]admission.Verdict, error) {
	var verdicts []admission.Verdict
	for n, request := range s.judged {
		if request.Event == nil {
			return verdicts, fmt.Errorf("%s: a %s sample holds events: begin it with one of kind %s", s.File, s.Kind, eventKind)
		}
		verdict := reviewer.Respond(ctx, request)
		verdicts = append(verdicts, verdict)
		if len(verdict.Faults) > 0 {
			return verdicts, fmt.Errorf("%s: the policy failed: %s: %s", s.File, verdict.Faults[0].Kind, verdict.Faults[0].Message)
		}
		got := actionsOf(verdict)
		switch want := s.actions[n]; {
		case s.Kind == Ignore && len(got) > 0:
			return verdicts, fmt.Errorf("%s: want no action, got %s: %s", s.File, got, verdict.Responses[0].Message)
		case s.Kind == Ignore:
		case len(got) == 0 && verdict.Matched == 0:
			return verdicts, fmt.Errorf("%s: the policy matches nothing in it", s.File)
		case len(got) == 0:
			return verdicts, fmt.Errorf("%s: want an action, got none", s.File)
		case want != nil && !sameActions(want, verdict):
			return verdicts, fmt.Errorf("%s: want the actions %v, got %s", s.File, want, got)
		}
	}
	return verdicts, nil
}

// actionsOf are the actions of a verdict, for people.
func actionsOf(verdict admission.Verdict) string {
	var all []string
	for _, one := range verdict.Responses {
		all = append(all, string(one.Action))
	}
	return strings.Join(all, ", ")
}

func sameActions(want []response.Action, verdict admission.Verdict) bool {
	var got []response.Action
	for _, one := range verdict.Responses {
		got = append(got, one.Action)
	}
	want = slices.Clone(want)
	slices.Sort(want)
	slices.Sort(got)
	return slices.Equal(slices.Compact(want), slices.Compact(got))
}
