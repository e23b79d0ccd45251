package isolation

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
)

// header is what all objects have.
type header struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		UID         string            `json:"uid"`
	} `json:"metadata"`
	Spec  json.RawMessage   `json:"spec"`
	Specs []json.RawMessage `json:"specs"` // of CiliumNetworkPolicy
	Items []json.RawMessage `json:"items"` // of lists
	raw   Object            // the whole object
}

func decodeHeader(raw Object) (header, error) {
	var h header
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &h); err != nil {
		return header{}, fmt.Errorf("decoding a manifest: %w", err)
	}
	if h.Kind == "" || h.APIVersion == "" {
		return header{}, fmt.Errorf("decoding a manifest: it has no apiVersion or no kind")
	}
	h.raw = raw
	return h, nil
}

func (h *header) isList() bool { return strings.HasSuffix(h.Kind, "List") }

func (h *header) group() string { return h.GroupVersionKind().Group }

// GroupVersionKind is that of the object.
func (h *header) GroupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(h.APIVersion, h.Kind)
}

// fullName is the name, with the namespace before it.
func (h *header) fullName() string {
	if h.Metadata.Namespace != "" {
		return h.Metadata.Namespace + "/" + h.Metadata.Name
	}
	return h.Metadata.Name
}

// strictly decodes what a proof must not misunderstand, and says what of it is not known: a field that this version of a type
// does not have, or has in another case, or twice.
func strictly(raw json.RawMessage, into any) (unknown string, err error) {
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	strict, err := kjson.UnmarshalStrict(raw, into)
	if err != nil {
		return "", err
	}
	var texts []string
	for _, e := range strict {
		texts = append(texts, e.Error())
	}
	return strings.Join(texts, ", "), nil
}

// notUnderstood makes a policy one of which the worst is assumed: that it accepts everything for whoever it may be about, before anything
// else. What it denies is not relied upon.
func (p *policy) notUnderstood(why string) {
	p.vague = why
	p.anySubject = !onlyRules(why)
	for d := range directions {
		all := rule{action: accept, peers: everybody(), ports: everyPort(), vague: why}
		p.rules[d] = append([]rule{all}, p.rules[d]...)
		p.about[d] = true
	}
}

// onlyRules says whether all of what is not known is within rules, so that the policy's subject is understood. The texts are those of
// strictly: unknown field "ingress[0].from[0].foo".
func onlyRules(why string) bool {
	for _, part := range strings.Split(why, ", ") {
		if !strings.HasPrefix(part, `unknown field "ingress`) && !strings.HasPrefix(part, `unknown field "egress`) {
			return false
		}
	}
	return true
}
