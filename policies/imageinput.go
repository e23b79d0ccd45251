package policies

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

// imageShape is what input.images[] adds to workload.Image: what is known of the image
// itself. All of it but the requirements costs requests to a registry.
type imageShape struct {
	Resolved     string             `json:"resolved"`
	Configs      []ImageConfig      `json:"configs"`
	Signatures   []signer.Signature `json:"signatures"`
	Attestations []attestationShape `json:"attestations"`
	Rejected     []signer.Rejection `json:"rejected"`
	// Requirements are those of the bundle's trust configuration for this image.
	Requirements []signer.Required `json:"requirements"`
	Scan         scanner.Report    `json:"scan"`
	Replacement  bool              `json:"replacement"`
}

// attestationShape is signer.Attestation with its predicate as any JSON.
type attestationShape struct {
	signer.Signer
	PredicateType string `json:"predicateType"`
	Predicate     any    `json:"predicate"`
	Digest        string `json:"digest"`
}

// fullImageShape is an item of input.images.
type fullImageShape struct {
	workload.Image
	imageShape
}

// sectionsOf says which parts of images a rule reads.
func sectionsOf(reads *readSet) ImageSections {
	item := reads.field("images").item()
	read := func(names ...string) bool {
		for _, name := range names {
			if item.field(name) != nil {
				return true
			}
		}
		return false
	}
	s := ImageSections{
		Configs:     read("configs"),
		Evidence:    read("signatures", "attestations", "rejected", "scan"),
		Scan:        read("scan"),
		Replacement: read("replacement"),
	}
	s.Resolved = read("resolved") || s.Configs || s.Evidence || s.Scan
	return s
}

// union is what either is.
func (s ImageSections) union(o ImageSections) ImageSections {
	return ImageSections{
		Resolved: s.Resolved || o.Resolved, Configs: s.Configs || o.Configs, Evidence: s.Evidence || o.Evidence,
		Scan: s.Scan || o.Scan, Replacement: s.Replacement || o.Replacement,
	}
}

// unknown is why a part that is read is not known, "" when all are.
func (s ImageSections) unknown(known ImageFacts) string {
	for _, part := range []struct {
		read   bool
		reason string
	}{
		{s.Resolved, known.Unknown.Resolved},
		{s.Configs, known.Unknown.Configs},
		{s.Evidence, known.Unknown.Evidence},
		{s.Scan, known.Unknown.Scan},
		{s.Replacement, known.Unknown.Replacement},
	} {
		if part.read && part.reason != "" {
			return part.reason
		}
	}
	return ""
}

// imageEncoder encodes the items of input.images: the reference from the normal form, the rest from the facts.
type imageEncoder struct {
	reference encoder // workload.Image
	parts     []imagePart
	// attestation encodes an attestation but its predicate, of which predicate is what is read.
	attestation  encoder
	predicate    *readSet
	requirements encoder
	reads        *readSet
}

// imagePart encodes one field of imageShape that needs no errors.
type imagePart struct {
	key    *ast.Term
	encode encoder
	take   func(*ImageFacts) any
}

var (
	attestationsKey = ast.StringTerm("attestations")
	requirementsKey = ast.StringTerm("requirements")
	predicateKey    = ast.StringTerm("predicate")
)

// newImageEncoder makes the encoder for what is read of input.images; nil when nothing is.
func newImageEncoder(reads *readSet) *imageEncoder {
	if reads == nil {
		return nil
	}
	item := reads.item()
	e := &imageEncoder{reads: item, reference: newEncoder(reflect.TypeFor[workload.Image](), item)}
	part := func(name string, t reflect.Type, take func(*ImageFacts) any) {
		if encode := newEncoder(t, item.field(name)); encode != nil {
			e.parts = append(e.parts, imagePart{ast.StringTerm(name), encode, take})
		}
	}
	part("resolved", reflect.TypeFor[string](), func(f *ImageFacts) any { return &f.Resolved })
	part("configs", reflect.TypeFor[[]ImageConfig](), func(f *ImageFacts) any { return &f.Configs })
	part("signatures", reflect.TypeFor[[]signer.Signature](), func(f *ImageFacts) any { return &f.Evidence.Signatures })
	part("rejected", reflect.TypeFor[[]signer.Rejection](), func(f *ImageFacts) any { return &f.Evidence.Rejected })
	part("scan", reflect.TypeFor[scanner.Report](), func(f *ImageFacts) any { return &f.Scan })
	part("replacement", reflect.TypeFor[bool](), func(f *ImageFacts) any { return &f.Replacement })
	e.requirements = newEncoder(reflect.TypeFor[[]signer.Required](), item.field("requirements"))
	if attestations := item.field("attestations"); attestations != nil {
		e.attestation = newEncoder(reflect.TypeFor[attestationShape](), attestations.item())
		e.predicate = attestations.item().field("predicate")
	}
	return e
}

// encode gives input.images for a workload. A part that is not known is left out, so that
// what a policy makes of it is undefined; a policy that reads it is not evaluated anyway.
func (e *imageEncoder) encode(images []workload.Image, facts *Facts, trust *signer.Configuration) (*ast.Term, error) {
	terms := make([]*ast.Term, 0, len(images))
	for n := range images {
		term := ast.ObjectTerm()
		if e.reference != nil {
			term = e.reference(reflect.ValueOf(&images[n]).Elem())
		}
		if err := e.addKnown(term.Value.(ast.Object), &images[n], facts, trust); err != nil { //nolint:forcetypeassert // made an object above
			return nil, fmt.Errorf("reading what is known of %s: %w", images[n].Ref, err)
		}
		terms = append(terms, term)
	}
	return ast.ArrayTerm(terms...), nil
}

func (e *imageEncoder) addKnown(object ast.Object, image *workload.Image, facts *Facts, trust *signer.Configuration) error {
	if e.requirements != nil {
		required := trust.Required(image.Registry, image.Repository)
		object.Insert(requirementsKey, e.requirements(reflect.ValueOf(&required).Elem()))
	}
	known, ok := facts.Images[image.Ref]
	if !ok {
		return nil
	}
	for _, part := range e.parts {
		object.Insert(part.key, part.encode(reflect.ValueOf(part.take(&known)).Elem()))
	}
	if e.reads.field("attestations") == nil {
		return nil
	}
	attestations, err := e.encodeAttestations(known.Evidence.Attestations)
	if err != nil {
		return err
	}
	object.Insert(attestationsKey, attestations)
	return nil
}

func (e *imageEncoder) encodeAttestations(attestations []signer.Attestation) (*ast.Term, error) {
	terms := make([]*ast.Term, 0, len(attestations))
	for _, a := range attestations {
		term := ast.ObjectTerm()
		if e.attestation != nil {
			shape := attestationShape{Signer: a.Signer, PredicateType: a.PredicateType, Digest: a.Digest}
			term = e.attestation(reflect.ValueOf(&shape).Elem())
		}
		if e.predicate != nil {
			predicate, err := decodePredicate(a.Predicate, e.predicate)
			if err != nil {
				return nil, fmt.Errorf("decoding the predicate of the %s attestation: %w", a.PredicateType, err)
			}
			term.Value.(ast.Object).Insert(predicateKey, predicate) //nolint:forcetypeassert // made an object above
		}
		terms = append(terms, term)
	}
	return ast.ArrayTerm(terms...), nil
}

// decodePredicate reads a predicate, which a statement may leave out (in-toto attestation framework, "Statement": optional).
func decodePredicate(raw json.RawMessage, reads *readSet) (*ast.Term, error) {
	if len(raw) == 0 {
		return ast.NullTerm(), nil
	}
	return decodeJSON(raw, reads)
}
