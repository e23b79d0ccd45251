package gate

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

const (
	// imagesAtOnce are looked at in parallel: nearly all of the time goes into waiting for registries.
	imagesAtOnce = 8
	// imageTimeout is for all that is asked about one image, a scan with the pulling of it included.
	imageTimeout = 15 * time.Minute
)

// imageFacts are what is known of the images of a run. Each is looked at once for what is
// read of it, however many objects name it, so that a tag means one digest in one run.
type imageFacts struct {
	gatherer admission.Facts
	known    map[imageKey]policies.ImageFacts
}

// imageKey is a reference and what is read of it: policies of one profile may read more than
// those of another, and two bundles trust whom they trust.
type imageKey struct {
	ref        string
	sections   policies.ImageSections
	trust      *signer.Configuration
	exemptions *scanner.Exemptions
}

func keyOf(ref string, needs *policies.ImageNeeds) imageKey {
	return imageKey{ref, needs.Sections, needs.Trust, needs.Exemptions}
}

// imageJob is one image to be looked at.
type imageJob struct {
	key   imageKey
	needs policies.ImageNeeds
}

// gatherImages looks at the images of all documents. Without a policy that reads evidence
// there are none.
func (j *judging) gatherImages(ctx context.Context) *imageFacts {
	facts := &imageFacts{gatherer: j.Images, known: map[imageKey]policies.ImageFacts{}}
	if j.Images == nil {
		return facts
	}
	var jobs []imageJob
	seen := map[imageKey]bool{}
	for i := range j.documents {
		if request, err := j.request(&j.documents[i], j.mapping); err == nil { // judge reports it
			jobs = append(jobs, j.imageJobs(i, request, seen)...)
		}
	}
	found := make([]policies.ImageFacts, len(jobs))
	places := make(chan struct{}, imagesAtOnce)
	var group sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for n := range jobs {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			found[n] = facts.gather(ctx, jobs[n])
			mu.Lock()
			defer mu.Unlock()
			if done++; j.ImageProgress != nil {
				j.ImageProgress(done, len(jobs))
			}
		})
	}
	group.Wait()
	for n, job := range jobs {
		facts.known[job.key] = found[n]
	}
	return facts
}

// gatherAgain asks anew about the images of one document; nil where nobody reads anything of them.
func (j *judging) gatherAgain(ctx context.Context, i int, request admission.Request) *imageFacts {
	fresh := &imageFacts{gatherer: j.Fresh, known: map[imageKey]policies.ImageFacts{}}
	for _, job := range j.imageJobs(i, request, map[imageKey]bool{}) {
		fresh.known[job.key] = fresh.gather(ctx, job)
	}
	if len(fresh.known) == 0 {
		return nil
	}
	return fresh
}

// imageJobs are what the policies that match a document can read of images, without those seen before.
func (j *judging) imageJobs(i int, request admission.Request, seen map[imageKey]bool) []imageJob {
	var jobs []imageJob
	for _, judge := range j.lineup(&j.documents[i]).Judges(&request) {
		for _, phase := range []policies.Phase{policies.PhaseMutate, policies.PhaseValidate} {
			jobs = append(jobs, jobsOf(judge.Needs(&request, phase).Images, seen)...)
		}
	}
	return jobs
}

// jobsOf are the images of needs one by one, without those seen before.
func jobsOf(needs policies.ImageNeeds, seen map[imageKey]bool) []imageJob {
	if !needs.Sections.Any() {
		return nil
	}
	var jobs []imageJob
	for n, image := range needs.Images {
		key := keyOf(image.Ref, &needs)
		if seen[key] {
			continue
		}
		seen[key] = true
		own := needs
		own.Images = needs.Images[n : n+1]
		jobs = append(jobs, imageJob{key, own})
	}
	return jobs
}

func (f *imageFacts) gather(ctx context.Context, job imageJob) policies.ImageFacts {
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	return f.gatherer.Gather(ctx, policies.Needs{Images: job.needs}).Images[job.key.ref]
}

// of gives what is known of some images. One that a patch rule has just named is looked at now.
func (f *imageFacts) of(ctx context.Context, needs policies.ImageNeeds) map[string]policies.ImageFacts {
	if f == nil || f.gatherer == nil || !needs.Sections.Any() {
		return nil
	}
	images := map[string]policies.ImageFacts{}
	missing := needs
	missing.Images = nil
	for _, image := range needs.Images {
		if known, ok := f.recall(image, &needs); ok {
			images[image.Ref] = known
		} else {
			missing.Images = append(missing.Images, image)
		}
	}
	if len(missing.Images) > 0 {
		for ref, found := range f.gatherer.Gather(ctx, policies.Needs{Images: missing}).Images {
			images[ref] = found
		}
	}
	return images
}

// recall is what is known of an image by its reference, or by the one without the digest if
// that is what it stands for: pinning a tag makes nobody look at the image again.
func (f *imageFacts) recall(image workload.Image, needs *policies.ImageNeeds) (policies.ImageFacts, bool) {
	if known, ok := f.known[keyOf(image.Ref, needs)]; ok {
		return known, true
	}
	tagged, pinned := strings.CutSuffix(image.Ref, "@"+image.Digest)
	known, ok := f.known[keyOf(tagged, needs)]
	return known, ok && pinned && known.Unknown.Resolved == "" && known.Resolved == image.Digest
}

// resolved is the digest that a reference stands for, "" where nobody found out.
func (f *imageFacts) resolved(ref string) string {
	for key, known := range f.known {
		if key.ref == ref && known.Resolved != "" && known.Unknown.Resolved == "" {
			return known.Resolved
		}
	}
	return ""
}

// Unasked is what is known of images when nobody may be asked: nothing, for a reason that
// people read. It implements [admission.Facts].
type Unasked string

// Gather implements admission.Facts.
func (u Unasked) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	images := map[string]policies.ImageFacts{}
	for _, image := range needs.Images.Images {
		reason := fmt.Sprintf("what there is about image %s: %s", image.Ref, string(u))
		images[image.Ref] = policies.ImageFacts{Unknown: policies.ImageUnknown{
			Resolved: reason, Configs: reason, Evidence: reason, Scan: reason, Replacement: reason,
		}}
	}
	return policies.Facts{Images: images}
}
