package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// notReplayable begins every reason for which a policy cannot be judged again. The engine of a bundle says the same of what
// was replaced (policies.Request.Redacted).
const notReplayable = "not replayable: "

// archive reads what decisions name. It may be used by any number of goroutines.
type archive struct {
	reader *factReader
	// contents are facts as they were read, decoded ones by what they are decoded to.
	contents   *remembered[string, []byte]
	objects    *remembered[string, []policies.Object]
	namespaces *remembered[string, *policies.Namespace]
	images     *remembered[string, *policies.ImageFacts]
	exceptions *remembered[string, []policies.Exception]
}

// How many facts are kept decoded. Most decisions of a cluster name the same few.
const (
	maxContents = 256
	maxDecoded  = 2048
)

func newArchive(dir string) (*archive, error) {
	reader, err := newFactReader(dir)
	if err != nil {
		return nil, err
	}
	return &archive{
		reader:     reader,
		contents:   newRemembered[string, []byte](maxContents),
		objects:    newRemembered[string, []policies.Object](maxContents),
		namespaces: newRemembered[string, *policies.Namespace](maxDecoded),
		images:     newRemembered[string, *policies.ImageFacts](maxDecoded),
		exceptions: newRemembered[string, []policies.Exception](maxContents),
	}, nil
}

// decoded reads a fact, or remembers it.
func decoded[V any](a *archive, memory *remembered[string, V], digest string, decode func([]byte) (V, error)) (value V, err error) {
	if known, ok := memory.get(digest); ok {
		return known, nil
	}
	content, err := a.reader.get(digest)
	if err != nil {
		return value, err
	}
	if value, err = decode(content); err != nil {
		return value, fmt.Errorf("reading fact %s: %w", digest, err)
	}
	memory.add(digest, value)
	return value, nil
}

// request is the request of a decision, as it can be judged again.
func (a *archive) request(d *Decision) (admission.Request, error) {
	r := &d.Request
	request := admission.Request{
		Door: d.Door, UID: r.UID, Operation: r.Operation, Resource: r.resource(), SubResource: r.SubResource,
		Kind:      metav1.GroupVersionKind{Group: r.Kind.Group, Version: r.Kind.Version, Kind: r.Kind.Kind},
		Namespace: r.Namespace, Name: r.Name, DryRun: r.DryRun, Profile: r.Profile,
		Subject:  admission.Subject{Username: r.User.Username, UID: r.User.UID, Groups: r.User.Groups},
		Event:    r.Event,
		Sync:     r.Sync,
		Redacted: d.Redacted,
	}
	for _, body := range []struct {
		held *Body
		into *json.RawMessage
	}{{r.Object, &request.Object}, {r.OldObject, &request.OldObject}, {r.Options, &request.Options}} {
		if body.held == nil {
			continue
		}
		raw, err := a.body(body.held)
		if err != nil {
			return request, err
		}
		*body.into = raw
	}
	return request, nil
}

func (a *archive) body(b *Body) (json.RawMessage, error) {
	if b.Digest == "" {
		return b.Inline, nil
	}
	content, err := decoded(a, a.contents, b.Digest, func(content []byte) ([]byte, error) { return content, nil })
	return content, err
}

// listed are the objects of a list.
func (a *archive) listed(digest string) ([]policies.Object, error) {
	if digest == "" {
		return nil, nil
	}
	return decoded(a, a.objects, digest, func(content []byte) ([]policies.Object, error) {
		var digests []string
		if err := jsonv2.Unmarshal(content, &digests); err != nil {
			return nil, err
		}
		objects := make([]policies.Object, 0, len(digests))
		for _, digest := range digests {
			content, err := a.reader.get(digest)
			if err != nil {
				return nil, err
			}
			var one object
			if err := jsonv2.Unmarshal(content, &one, encoding); err != nil {
				return nil, err
			}
			objects = append(objects, policies.Object{
				Group: one.Group, Version: one.Version, Kind: one.Kind, Resource: one.Resource,
				Namespace: one.Namespace, Name: one.Name, Raw: json.RawMessage(one.Object),
			})
		}
		return objects, nil
	})
}

func (a *archive) granted(digest string) ([]policies.Exception, error) {
	if digest == "" {
		return nil, nil
	}
	return decoded(a, a.exceptions, digest, func(content []byte) ([]policies.Exception, error) {
		var exceptions []policies.Exception
		if err := jsonv2.Unmarshal(content, &exceptions, encoding); err != nil {
			return nil, err
		}
		for n := range exceptions {
			checked, err := policies.NewException(exceptions[n])
			if err != nil {
				return nil, err
			}
			exceptions[n] = checked
		}
		return exceptions, nil
	})
}

// recorded are the facts of one decision. It implements [admission.Facts]: what a policy asks for and nobody asked for then is
// said to be unknown, with a reason that begins with notReplayable, so that just the policies that read it are left open.
type recorded struct {
	archive  *archive
	decision *Decision
}

// Gather implements [admission.Facts].
func (r recorded) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	gathered := policies.Facts{Partial: map[policies.Read]string{}}
	if needs.Namespace != "" {
		gathered.Namespace, gathered.NamespaceMissing = r.namespace(needs.Namespace)
	}
	for _, read := range needs.Reads {
		objects, partial := r.read(read)
		if partial != "" {
			gathered.Partial[read] = partial
		}
		if read.Namespace != "" && slices.Contains(needs.Reads, policies.Read{Group: read.Group, Resource: read.Resource}) {
			continue // the read of all namespaces brings them
		}
		gathered.Cluster = append(gathered.Cluster, objects...)
	}
	if needs.Images.Sections.Any() {
		gathered.Images = r.images(&needs.Images)
	}
	return gathered
}

func (r recorded) namespace(name string) (*policies.Namespace, string) {
	for n := range r.decision.Judges {
		held := r.decision.Judges[n].Facts.Namespace
		switch {
		case held == nil || held.Name != name:
		case held.Digest == "":
			return nil, held.Missing
		default:
			namespace, err := decoded(r.archive, r.archive.namespaces, held.Digest, func(content []byte) (*policies.Namespace, error) {
				namespace := &policies.Namespace{}
				return namespace, jsonv2.Unmarshal(content, namespace, encoding)
			})
			if err != nil {
				return nil, notReplayable + err.Error()
			}
			return namespace, ""
		}
	}
	return nil, notReplayable + "nobody asked for the namespace then"
}

// read finds the objects of a read, or those in its namespace among the ones of all.
func (r recorded) read(read policies.Read) (objects []policies.Object, partial string) {
	for _, wanted := range []string{read.Namespace, ""} {
		for n := range r.decision.Judges {
			for _, held := range r.decision.Judges[n].Facts.Reads {
				if held.Group == read.Group && held.Resource == read.Resource && held.Namespace == wanted {
					return r.objects(held, read.Namespace)
				}
			}
		}
	}
	return nil, notReplayable + "nobody asked for them then"
}

func (r recorded) objects(held ReadFact, namespace string) ([]policies.Object, string) {
	objects, err := r.archive.listed(held.Objects)
	if err != nil {
		return nil, notReplayable + err.Error()
	}
	if namespace == "" || held.Namespace == namespace {
		return objects, held.Partial
	}
	var within []policies.Object
	for _, object := range objects {
		if object.Namespace == namespace {
			within = append(within, object)
		}
	}
	return within, held.Partial
}

// images finds what was known of images. Signatures, attestations and scans count only for the trust that they were verified
// with: what another one would have made of them can only a registry tell.
func (r recorded) images(needs *policies.ImageNeeds) map[string]policies.ImageFacts {
	known := map[string]policies.ImageFacts{}
	for _, image := range needs.Images {
		known[image.Ref] = r.image(image.Ref, needs)
	}
	return known
}

func (r recorded) image(ref string, needs *policies.ImageNeeds) policies.ImageFacts {
	const unasked = notReplayable + "nobody asked a registry for it then"
	found := policies.ImageFacts{Unknown: policies.ImageUnknown{Resolved: unasked, Configs: unasked, Evidence: unasked, Scan: unasked, Replacement: unasked}}
	for n := range r.decision.Judges {
		held := r.decision.Judges[n].Facts.Images
		if held == nil || held.Images[ref] == "" {
			continue
		}
		facts, err := r.archive.image(held.Images[ref])
		if err != nil {
			continue // it stays unknown
		}
		take(&found, facts, held, needs)
	}
	return found
}

// image is what was known of an image.
func (a *archive) image(digest string) (*policies.ImageFacts, error) {
	return decoded(a, a.images, digest, func(content []byte) (*policies.ImageFacts, error) {
		var one image
		if err := jsonv2.Unmarshal(content, &one, encoding); err != nil {
			return nil, err
		}
		facts := policies.ImageFacts(one)
		return &facts, nil
	})
}

// take takes over what was asked for and holds.
func take(into, from *policies.ImageFacts, held *ImageFacts, needs *policies.ImageNeeds) {
	asked := func(section string) bool { return slices.Contains(held.Sections, section) }
	if asked("resolved") || asked("configs") || asked("evidence") || asked("scan") {
		into.Resolved, into.Unknown.Resolved = from.Resolved, from.Unknown.Resolved
	}
	if asked("configs") {
		into.Configs, into.Unknown.Configs = from.Configs, from.Unknown.Configs
	}
	if asked("replacement") {
		into.Replacement, into.Unknown.Replacement = from.Replacement, from.Unknown.Replacement
	}
	trusted := needs.Trust != nil && needs.Trust.Hash() == held.Trust
	switch {
	case !asked("evidence"):
	case trusted:
		into.Evidence, into.Unknown.Evidence = from.Evidence, from.Unknown.Evidence
	default:
		into.Unknown.Evidence = firstOf(into.Unknown.Evidence, notReplayable+"it was verified with another trust configuration")
	}
	exempted := needs.Exemptions == nil && held.Exemptions == "" || needs.Exemptions != nil && needs.Exemptions.Hash() == held.Exemptions
	switch {
	case !asked("scan"):
	case trusted && exempted:
		into.Scan, into.Unknown.Scan = from.Scan, from.Unknown.Scan
	default:
		into.Unknown.Scan = firstOf(into.Unknown.Scan, notReplayable+"it was judged with another trust configuration, other VEX documents or other ignores")
	}
}

// firstOf keeps a reason that says that something is known already.
func firstOf(now, reason string) string {
	if now == "" {
		return now
	}
	return reason
}

// redactedFacts are the paths of what was replaced in the facts of a decision.
func redactedFacts(d *Decision) []string {
	var paths []string
	for n := range d.Judges {
		for _, read := range d.Judges[n].Facts.Reads {
			paths = append(paths, read.Redacted...)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// leftOpen says whether a reason is one for which nothing can be told of a policy.
func leftOpen(reason string) bool { return strings.Contains(reason, notReplayable) }

// exceptionsOf are those that the cluster granted when a decision was made.
func (a *archive) exceptionsOf(d *Decision) ([]policies.Exception, error) {
	for n := range d.Judges {
		if digest := d.Judges[n].Facts.Exceptions; digest != "" {
			return a.granted(digest)
		}
	}
	return nil, nil
}

// openVerdict is a verdict of which nothing is known.
func openVerdict(reason string) *Verdict {
	return &Verdict{Undecided: []policies.Undecided{{Reason: notReplayable + reason}}}
}
