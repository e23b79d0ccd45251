// Package gate judges manifests before they reach a cluster: in CI, before a merge
// or a push, with the same bundle and the same [admission.Reviewer] as the
// admission webhook.
//
// Each object is judged as if it were created: patch rules first, then validation
// of the patched object. What policies read of the cluster comes from the other
// documents of the run and from the context, if one is given; what cannot be known
// is undecided and named, never taken for an empty list.
package gate

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/admission/patch"
	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// defaultNamespace is where kubectl puts objects that do not say.
	defaultNamespace = "default"
	// objectTimeout is for one object. The webhook has at most 30 s; nobody waits here.
	objectTimeout = 30 * time.Second
)

// Gate judges documents.
type Gate struct {
	// Engine judges alone, where there is no Lineup.
	Engine *policies.Engine
	// Lineup are the bundles that judge together.
	Lineup *admission.Lineup
	// Profile overrides the one the bundle assigns to each namespace, "" for no override.
	Profile string
	// Namespace is that of objects which do not say, "default" if empty.
	Namespace string
	// Cluster is what is known beside the documents, nil for nothing.
	Cluster Cluster
	// FailOnWarn makes warnings an exit code of their own.
	FailOnWarn bool
	// FailOnSkip makes files that were passed over and look like manifests problems.
	FailOnSkip bool
	// Images gathers what policies read of images; with nil those policies are undecided.
	Images admission.Facts
	// Fresh is asked, where it is not nil, before an object is refused: Images may remember what
	// was true some time ago, and a signature may have come since.
	Fresh admission.Facts
	// Baseline has the findings that are known, nil where none are.
	Baseline *Baseline
	// Version of portcullis, for reports.
	Version string
	// Now is the clock that exceptions expire by.
	Now func() time.Time
	// Progress is told how many objects of how many are done; may be nil.
	Progress func(done, total int)
	// ImageProgress is told how many images of how many are looked at; may be nil.
	ImageProgress func(done, total int)
}

// Run judges everything that was loaded and tells the handler, in the order of the
// documents. The error is that of the handler or of the context.
func (g *Gate) Run(ctx context.Context, loaded source.Loaded, handler Handler) (ExitCode, error) {
	if g.FailOnSkip {
		loaded = withSkipsAsProblems(loaded)
	}
	run := g.describe()
	run.Skipped = loaded.Skipped
	if err := handler.Start(run); err != nil {
		return ExitFault, fmt.Errorf("writing the report: %w", err)
	}
	started := g.Now()
	summary := Summary{Outcomes: map[Outcome]int{}, Effects: map[Effect]int{}, Severities: map[string]int{}, Skipped: loaded.Skipped}
	for _, problem := range loaded.Problems {
		summary.Problems++
		if err := handler.Problem(problem); err != nil {
			return ExitFault, fmt.Errorf("writing the report: %w", err)
		}
	}
	for result := range g.judgeAll(ctx, loaded.Documents) {
		g.Baseline.mark(&result)
		summary.add(result, started)
		if g.Progress != nil {
			g.Progress(summary.Objects, len(loaded.Documents))
		}
		if err := handler.Result(result); err != nil {
			return ExitFault, fmt.Errorf("writing the report: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return ExitFault, fmt.Errorf("judging the objects: %w", context.Cause(ctx))
	}
	summary.Exit, summary.Gone, summary.Finished = summary.exit(g.FailOnWarn), g.Baseline.gone(), g.Now()
	if err := handler.Finish(summary); err != nil {
		return ExitFault, fmt.Errorf("writing the report: %w", err)
	}
	return summary.Exit, nil
}

// withSkipsAsProblems takes what was passed over and looks like a manifest for unreadable.
func withSkipsAsProblems(loaded source.Loaded) source.Loaded {
	manifests, others := SplitSkips(loaded.Skipped)
	problems := slices.Clone(loaded.Problems)
	for _, skip := range manifests {
		problems = append(problems, Problem{Location: Location{File: skip.File}, Message: "nothing was decided about it: " + skip.Reason})
	}
	loaded.Problems, loaded.Skipped = problems, others
	return loaded
}

// judgeAll judges documents, as many at a time as there are processors, and yields
// the results in the order of the documents, each as soon as those before it are
// known. It ends early when the context is done or the caller has enough.
func (g *Gate) judgeAll(ctx context.Context, documents []source.Document) func(yield func(Result) bool) {
	return func(yield func(Result) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		j := g.begin(ctx, documents)
		workers := runtime.GOMAXPROCS(0)
		// Each waiting slot is a document under way; the slots are in order.
		slots := make(chan chan Result, workers)
		go func() {
			defer close(slots)
			for i := range documents {
				slot := make(chan Result, 1)
				select {
				case slots <- slot:
				case <-ctx.Done():
					return
				}
				go func() {
					result, _ := j.judge(ctx, i)
					slot <- result
				}()
			}
		}()
		for slot := range slots {
			select {
			case result := <-slot:
				if ctx.Err() != nil || !yield(result) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (g *Gate) namespace() string { return orElse(g.Namespace, defaultNamespace) }

// mapping is how the kinds of documents are served.
func (g *Gate) mapping(documents []source.Document) resources {
	mapping := resources{}
	reviewer := admission.NewLineupReviewer(g.lineup(), nil, g.Now)
	mapping.learn(documents, func(named schema.GroupResource) bool {
		request := admission.Request{Door: admission.DoorGate, Operation: "CREATE",
			Resource: metav1.GroupVersionResource{Group: named.Group, Resource: named.Resource}}
		return reviewer.Matches(&request)
	})
	return mapping
}

// judging is what all objects of a run are judged with.
type judging struct {
	*Gate
	documents []source.Document
	mapping   resources
	known     *known
	images    *imageFacts
	// Lineups judge objects, and images without manifest.
	objects, onlyImages *admission.Lineup
}

// begin prepares a run: it looks at all images that a policy reads, before the time that an
// object has begins to run.
func (g *Gate) begin(ctx context.Context, documents []source.Document) *judging {
	j := &judging{Gate: g, documents: documents, mapping: g.mapping(documents), objects: g.lineup()}
	j.known = index(documents, j.mapping, g.namespace())
	if slices.ContainsFunc(documents, func(d source.Document) bool { return d.Image != nil }) {
		j.onlyImages = onlyImages(j.objects)
	}
	j.images = j.gatherImages(ctx)
	return j
}

// lineup judges a document.
func (j *judging) lineup(document *source.Document) *admission.Lineup {
	if document.Image != nil {
		return j.onlyImages
	}
	return j.objects
}

// facts are those of a document.
func (j *judging) facts(i int) facts { return facts{j.known, i, j.Cluster, j.images} }

// judge judges one object as the cluster would: patched, then validated. patched is
// the object after the patch rules, nil where they changed nothing.
func (j *judging) judge(ctx context.Context, i int) (result Result, patched []byte) {
	document := &j.documents[i]
	request, err := j.request(document, j.mapping)
	if err != nil {
		fault := policies.Fault{Kind: policies.FaultInput, Message: err.Error()}
		return j.result(document, request, admission.Verdict{Faults: []policies.Fault{fault}}, nil), nil
	}
	result, patched = j.review(ctx, i, request, j.images)
	if result.refused && j.Fresh != nil {
		if fresh := j.gatherAgain(ctx, i, request); fresh != nil {
			return j.review(ctx, i, request, fresh)
		}
	}
	return result, patched
}

// review judges an object with what is known of images.
func (j *judging) review(ctx context.Context, i int, request admission.Request, images *imageFacts) (result Result, patched []byte) {
	ctx, cancel := context.WithTimeout(ctx, objectTimeout)
	defer cancel()
	document := &j.documents[i]
	known := j.facts(i)
	known.images = images
	reviewer := admission.NewLineupReviewer(j.lineup(document), known, j.Now)
	mutated := reviewer.Mutate(ctx, request)
	if mutated.Patched != nil {
		request.Object = mutated.Patched
	}
	verdict := reviewer.Review(ctx, request)
	verdict.Admitted = verdict.Admitted && mutated.Admitted
	verdict.Faults = merge(verdict.Faults, mutated.Faults)
	verdict.Undecided = merge(verdict.Undecided, mutated.Undecided)
	if document.Image != nil && verdict.Matched == 0 {
		verdict.Undecided = append(verdict.Undecided, unjudged(verdict.Profile))
		verdict.Admitted = false
	}
	result = j.result(document, request, verdict, mutated.Patch)
	if document.Image != nil {
		judged := *document.Image
		judged.Digest = images.resolved(judged.Ref)
		result.Image, result.Patch = &judged, nil // nobody has a manifest to patch
	}
	return result, mutated.Patched
}

// unjudged is why an image that somebody asked about is not admitted though nothing objects.
func unjudged(profile string) policies.Undecided {
	return policies.Undecided{
		Path:   "spec.containers[0].image",
		Reason: fmt.Sprintf("no policy of profile %s judges images by their evidence: choose another --profile or --bundle", profile),
	}
}

// merge adds the others that are not there yet.
func merge[T comparable](list, others []T) []T {
	for _, other := range others {
		if !slices.Contains(list, other) {
			list = append(list, other)
		}
	}
	return list
}

// request is what creating a document asks of the API server.
func (g *Gate) request(document *source.Document, mapping resources) (admission.Request, error) {
	request := admission.CreateRequest(admission.DoorGate, &document.Document, g.namespace())
	request.Profile = g.Profile
	mapped := mapping.of(schema.FromAPIVersionAndKind(document.APIVersion, document.Kind))
	request.Resource.Resource, request.Namespace = mapped.name, ""
	if !mapped.namespaced {
		return request, nil
	}
	request.Namespace = orElse(document.Namespace, g.namespace())
	if document.Namespace != "" {
		return request, nil
	}
	// The API server fills the namespace in before it asks a webhook.
	object, err := patch.ApplyChanges(document.JSON, []patch.Change{{Op: "set", Path: "metadata.namespace", Value: request.Namespace}})
	if err != nil {
		return request, fmt.Errorf("putting the object into the namespace %s: %w", request.Namespace, err)
	}
	request.Object = object
	return request, nil
}

// objectName is what a document is called in reports.
func objectName(document *source.Document, namespace string) Object {
	if document.Image != nil {
		return Object{APIVersion: source.ImageVersion, Kind: "Image", Name: document.Image.Ref}
	}
	return Object{APIVersion: document.APIVersion, Kind: document.Kind, Namespace: namespace, Name: orElse(document.Name, document.GenerateName+"*")}
}

// result is a verdict with places in the user's files.
func (g *Gate) result(document *source.Document, request admission.Request, verdict admission.Verdict, operations []byte) Result {
	result := Result{
		Object:   objectName(document, request.Namespace),
		Location: document.Locate(""),
		Profile:  verdict.Profile, Matched: verdict.Matched, Faults: verdict.Faults, Patch: operations,
	}
	for _, found := range verdict.Findings {
		finding := Finding{Finding: found, Location: document.Locate(found.Path)}
		finding.Fingerprint = fingerprint(finding, result.Object, request.Object)
		result.Findings = append(result.Findings, finding)
	}
	for _, open := range verdict.Undecided {
		result.Undecided = append(result.Undecided, UndecidedPolicy{open, document.Locate(open.Path)})
	}
	result.refused = !verdict.Admitted
	result.Outcome = outcome(result)
	return result
}
