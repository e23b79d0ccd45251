package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission/evidence"
	"github.com/portcullis-dev/portcullis/admission/informer"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/images"
)

// Budgets of evidence about images.
const (
	budgetWarm = 50 * time.Microsecond
	budgetCold = 1.2 // of the bare requests
	// answerTime is how soon a registry in the same network answers; one across the internet takes ten times as long.
	answerTime = 5 * time.Millisecond
)

// supply is a registry over HTTP with one image that a key has signed.
type supply struct {
	server *registrytest.Server
	client *registry.Client
	target cosign.Target
	needs  policies.Needs
}

func newSupply(ctx context.Context) (*supply, error) {
	s := &supply{}
	var err error
	if s.server, err = registrytest.Start(registrytest.Referrers); err != nil {
		return nil, err
	}
	if s.client, err = s.server.Client(); err != nil {
		return nil, err
	}
	image, err := images.New(images.Options{Packages: []images.Package{{Name: "openssl", Version: "3.0.22-1~deb12u2"}}})
	if err != nil {
		return nil, err
	}
	pushed, err := s.client.PushImage(ctx, s.server.Repository("shop/cart"), "1", image)
	if err != nil {
		return nil, err
	}
	s.target = cosign.Target{Repository: s.server.Repository("shop/cart"), Digest: pushed.Digest}
	private, _, err := cosign.GenerateKeyPair(nil)
	if err != nil {
		return nil, err
	}
	key, err := cosign.LoadPrivateKey(private, nil)
	if err != nil {
		return nil, err
	}
	if _, err := cosign.Sign(ctx, s.client, s.target, key, cosign.SignOptions{}); err != nil {
		return nil, err
	}
	s.needs, err = needsOf(s.target, key)
	return s, err
}

// needsOf is what a policy that reads signatures needs of an image.
func needsOf(target cosign.Target, key *cosign.Key) (policies.Needs, error) {
	public, err := key.PublicPEM()
	if err != nil {
		return policies.Needs{}, err
	}
	trust, err := signer.Compile(&signer.Trust{Authorities: []signer.Authority{{
		Name: "release", Images: []string{target.Repository.Registry + "/shop/**"}, Keys: []signer.Key{{PEM: public}},
	}}})
	if err != nil {
		return policies.Needs{}, err
	}
	exemptions, err := scanner.NewExemptions(nil, nil)
	if err != nil {
		return policies.Needs{}, err
	}
	image, err := workload.ParseImage(target.String())
	return policies.Needs{Images: policies.ImageNeeds{
		Images: []workload.Image{image}, Sections: policies.ImageSections{Resolved: true, Evidence: true},
		Door: policies.DoorAdmission, Namespace: "shop", Trust: trust, Exemptions: exemptions,
	}}, err
}

// cosignVerifier is the verifier as the webhook has it.
type cosignVerifier struct{ *cosign.Verifier }

func (v cosignVerifier) Verify(ctx context.Context, source evidence.Registry, repository registry.Repository, digest string, trust *signer.Configuration) (signer.Evidence, error) {
	return v.Verifier.Verify(ctx, source, cosign.Target{Repository: repository, Digest: digest}, trust)
}

// facts are those of a webhook that has just started.
func (s *supply) facts() (*evidence.Facts, error) {
	return evidence.New(informer.None{Reason: "there is no cluster"}, evidence.Options{Registry: s.client, Verifier: cosignVerifier{cosign.NewVerifier(cosign.Options{})}})
}

// gather wants the one signature.
func (s *supply) gather(ctx context.Context, facts *evidence.Facts) error {
	got := facts.Gather(ctx, s.needs).Images[s.needs.Images.Images[0].Ref]
	if len(got.Evidence.Signatures) != 1 {
		return fmt.Errorf("got %+v, want one signature", got)
	}
	return nil
}

func evidenceRows(ctx context.Context, size Size, _ string) (rows []Row, err error) {
	s, err := newSupply(ctx)
	if err != nil {
		return nil, err
	}
	defer s.server.Close()
	for _, part := range []func(context.Context, Size) ([]Row, error){s.warmRows, s.coldRows, s.thirtyRows} {
		more, err := part(ctx, size)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// failing keeps the first failure of calls that cannot return one.
type failing struct {
	once sync.Once
	err  error
}

func (f *failing) note(err error) {
	if err != nil {
		f.once.Do(func() { f.err = err })
	}
}

func (s *supply) warmRows(ctx context.Context, size Size) ([]Row, error) {
	facts, err := s.facts()
	if err != nil {
		return nil, err
	}
	defer facts.Close()
	if err := s.gather(ctx, facts); err != nil {
		return nil, err
	}
	var failed failing
	warm := Compare(size.Rounds, size.Calls, Contender{"warm", func() { failed.note(s.gather(ctx, facts)) }})["warm"]
	row := durationRow("evidence of an image, verified before", warm.Mean, budgetWarm)
	row.Got = fmt.Sprintf("%5.1f µs, p99 %.0f µs, %.1f KB", micros(warm.Mean), micros(warm.P99), warm.Bytes/1000)
	return []Row{row}, failed.err
}

// coldRows compare a verification with the bare requests that the protocol needs: the two legacy tags
// and the list of referrers, at once, then the manifest and the blob of the one bundle.
func (s *supply) coldRows(ctx context.Context, size Size) ([]Row, error) {
	s.server.Forget()
	cold := func() error {
		facts, err := s.facts()
		if err != nil {
			return err
		}
		defer facts.Close()
		return s.gather(ctx, facts)
	}
	if err := cold(); err != nil {
		return nil, err
	}
	asked := s.server.Requests()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	bare := func() error { return s.replay(ctx, client, asked) }
	const minimum = 5
	rows := []Row{{What: "evidence of a new image, one bundle: requests", Got: fmt.Sprintf("%5d", len(asked)), Budget: fmt.Sprint(minimum), Of: float64(len(asked)) / minimum}}
	var failed failing
	for _, latency := range []time.Duration{answerTime, 0} {
		s.server.Inject()
		if latency > 0 {
			s.server.Inject(registrytest.Slow(latency))
		}
		f := Compare(size.Rounds, max(1, size.Calls/20),
			Contender{"cold", func() { failed.note(cold()) }},
			Contender{"bare", func() { failed.note(bare()) }})
		row := ratioRow(fmt.Sprintf("  time, each answer after %v", latency), f["cold"].Ratio(f["bare"]), budgetCold, "the bare requests")
		row.Got += fmt.Sprintf(", %.0f and %.0f µs", micros(f["cold"].Mean), micros(f["bare"].Mean))
		if row.Of > 1 {
			row.Note = fmt.Sprintf("beyond the requests there is %.0f µs of processor time: a signature's arithmetic and parsing, which only a registry that takes no time makes visible", micros(f["cold"].CPU-f["bare"].CPU))
		}
		rows = append(rows, row)
	}
	s.server.Inject()
	return rows, failed.err
}

// replay sends the requests as a client with nothing to verify would: those that need no answer of
// another one at once.
func (s *supply) replay(ctx context.Context, client *http.Client, asked []registrytest.Request) error {
	var group sync.WaitGroup
	var failed failing
	var later []registrytest.Request
	for _, request := range asked {
		if strings.Contains(request.Path, "/manifests/sha256:") || strings.Contains(request.Path, "/blobs/") {
			later = append(later, request)
			continue
		}
		group.Go(func() { failed.note(s.send(ctx, client, request)) })
	}
	group.Wait()
	for _, request := range later {
		failed.note(s.send(ctx, client, request))
	}
	return failed.err
}

func (s *supply) send(ctx context.Context, client *http.Client, asked registrytest.Request) error {
	request, err := http.NewRequestWithContext(ctx, asked.Method, s.server.URL()+asked.Path, nil)
	if err != nil {
		return err
	}
	request.URL.RawQuery = asked.Query
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// thirtyRows judge thirty pods of one new image at once.
func (s *supply) thirtyRows(ctx context.Context, _ Size) ([]Row, error) {
	facts, err := s.facts()
	if err != nil {
		return nil, err
	}
	defer facts.Close()
	s.server.Forget()
	const pods, minimum = 30, 5
	var failed failing
	var group sync.WaitGroup
	for range pods {
		group.Go(func() { failed.note(s.gather(ctx, facts)) })
	}
	group.Wait()
	n := len(s.server.Requests())
	return []Row{{What: fmt.Sprintf("%d pods of one new image at once: requests", pods), Got: fmt.Sprintf("%5d", n), Budget: fmt.Sprint(minimum), Of: float64(n) / minimum}}, failed.err
}
