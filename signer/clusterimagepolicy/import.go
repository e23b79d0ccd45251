package clusterimagepolicy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/signer"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// maxContent bounds what is imported at once, in bytes: hundreds of policies.
const maxContent = 4 << 20

// Note is something that is not carried over as it stands, with what becomes of it.
type Note struct {
	// Policy is the name of the ClusterImagePolicy, or kind and name of another object.
	Policy string
	// Field is where it stands: "spec.authorities[0].ctlog.url".
	Field string
	// Message says what becomes of it, and what to do where something has to be done.
	Message string
}

func (n Note) String() string {
	if n.Field == "" {
		return n.Policy + ": " + n.Message
	}
	return n.Policy + ": " + n.Field + ": " + n.Message
}

// Import reads ClusterImagePolicies, any number of YAML or JSON documents, lists of them too, and gives the trust
// configuration that demands the same or more. It has been checked by [signer.Compile]. All mistakes are reported together, and
// with them the notes so far.
func Import(content []byte) (*signer.Trust, []Note, error) {
	if len(content) > maxContent {
		return nil, nil, fmt.Errorf("importing ClusterImagePolicies: there are %d bytes: use at most %d", len(content), maxContent)
	}
	i := &importer{trust: &signer.Trust{Authorities: []signer.Authority{}}, policies: map[string]bool{}}
	i.documents(content)
	if len(i.policies) == 0 && len(i.problems) == 0 {
		i.problems = append(i.problems, errors.New("there is no ClusterImagePolicy in it: give the output of \"kubectl get clusterimagepolicies -o yaml\""))
	}
	if len(i.problems) == 0 {
		if _, err := signer.Compile(i.trust); err != nil {
			i.problems = append(i.problems, err)
		}
	}
	if len(i.problems) > 0 {
		return nil, i.notes, fmt.Errorf("importing ClusterImagePolicies: %w", errors.Join(i.problems...))
	}
	return i.trust, i.notes, nil
}

// importer collects what is imported.
type importer struct {
	trust    *signer.Trust
	policies map[string]bool
	notes    []Note
	problems []error
}

// documents reads all documents. A document that is no policy is passed over with a note.
func (i *importer) documents(content []byte) {
	for n, document := range split(content) {
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		raw, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			i.problems = append(i.problems, fmt.Errorf("document %d: %w", n+1, err))
			continue
		}
		i.object(fmt.Sprintf("document %d", n+1), raw)
	}
}

// split separates documents at their markers, so that none is passed over.
func split(content []byte) [][]byte {
	var documents [][]byte
	var document []byte
	for line := range bytes.Lines(content) {
		text := strings.TrimRight(string(line), " \t\r\n")
		if marker := text == "---" || text == "..." || strings.HasPrefix(text, "--- "); marker {
			documents, document = append(documents, document), []byte(strings.TrimPrefix(strings.TrimPrefix(text, "---"), "...")+"\n")
			continue
		}
		document = append(document, line...)
	}
	return append(documents, document)
}

// object takes one object, or the items of a list.
func (i *importer) object(place string, raw []byte) {
	var head struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
		Metadata   struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if string(bytes.TrimSpace(raw)) == "null" {
		return
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &head); err != nil {
		i.problems = append(i.problems, fmt.Errorf("%s: it is no object: %w", place, err))
		return
	}
	group, version, _ := strings.Cut(head.APIVersion, "/")
	switch {
	case strings.HasSuffix(head.Kind, "List") && head.Items != nil:
		for n, item := range head.Items {
			i.object(fmt.Sprintf("%s, items[%d]", place, n), item)
		}
	case group == "policy.sigstore.dev" && head.Kind == "ClusterImagePolicy":
		if version != "v1alpha1" && version != "v1beta1" {
			i.problems = append(i.problems, fmt.Errorf("%s: the version %s of ClusterImagePolicy is not known: v1alpha1 and v1beta1 are", place, version))
			return
		}
		i.policy(place, head.Metadata.Name, raw)
	case group == "policy.sigstore.dev" && head.Kind == "TrustRoot":
		i.note("TrustRoot "+head.Metadata.Name, "", "trusted roots are no part of a bundle: give the webhook a trusted root with just these authorities and logs (--trusted-root)")
	default:
		i.note(cmp.Or(strings.TrimSpace(head.Kind+" "+head.Metadata.Name), "a document"), "", "it is no ClusterImagePolicy and is passed over")
	}
}

// policy takes one policy. It is decoded strictly: an unknown field could be one that restricts.
func (i *importer) policy(place, name string, raw []byte) {
	p := &policy{name: name}
	strict, err := kjson.UnmarshalStrict(raw, p)
	if err = errors.Join(append(strict, err)...); err != nil {
		i.problems = append(i.problems, fmt.Errorf("%s: reading ClusterImagePolicy %s: %w", place, name, err))
		return
	}
	switch {
	case name == "":
		i.problems = append(i.problems, fmt.Errorf("%s: the ClusterImagePolicy has no name: give it one", place))
		return
	case i.policies[name]:
		i.problems = append(i.problems, fmt.Errorf("%s: ClusterImagePolicy %s is there twice: remove one", place, name))
		return
	}
	i.policies[name] = true
	i.convert(p)
}

func (i *importer) note(policy, field, format string, args ...any) {
	i.notes = append(i.notes, Note{policy, field, fmt.Sprintf(format, args...)})
}

func (i *importer) problem(policy, field, format string, args ...any) {
	i.problems = append(i.problems, fmt.Errorf("ClusterImagePolicy %s: %s: %w", policy, field, fmt.Errorf(format, args...)))
}
