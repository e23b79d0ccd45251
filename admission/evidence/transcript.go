package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Calls of [Registry] in a transcript.
const (
	callResolve   = "resolve"
	callManifest  = "manifest"
	callBlob      = "blob"
	callReferrers = "referrers"
)

// transcript is what a registry answered while something about a digest was found out. Played back, it leads to
// the same result without the registry, and to nothing that the registry could not have led to.
type transcript struct {
	Part       part                `json:"part"`
	Repository registry.Repository `json:"repository"`
	Digest     string              `json:"digest"`
	Scope      string              `json:"scope,omitempty"`
	// Fetched is when the first question was asked.
	Fetched time.Time  `json:"fetched"`
	Answers []recorded `json:"answers"`
}

// recorded is one answer: content, referrers, or that there is nothing of use.
type recorded struct {
	Call     string `json:"call"`
	Argument string `json:"argument"` // a tag or a digest
	// Fault is the kind of error that is an answer, too: there is no such tag.
	Fault     registry.Kind         `json:"fault,omitempty"`
	Content   []byte                `json:"content,omitempty"`
	Referrers []registry.Descriptor `json:"referrers,omitempty"`
}

// question is what an answer is found by.
type question struct{ call, argument string }

// isAnswer says that a fault is one of what was asked for and not of asking: it would be the same next time.
func isAnswer(kind registry.Kind) bool {
	return kind == registry.NotFound || kind == registry.TooLarge || kind == registry.Malformed
}

// recorder is a registry whose answers about one repository are written down. Once it has seen a fault, or more than
// fits, there is no transcript.
type recorder struct {
	Registry
	repository registry.Repository
	max        int

	mu      sync.Mutex
	answers map[question]recorded
	order   []question
	size    int
	broken  bool
}

func record(from Registry, repository registry.Repository, maxBytes int) *recorder {
	return &recorder{Registry: from, repository: repository, max: maxBytes, answers: map[question]recorded{}}
}

func (r *recorder) note(repository registry.Repository, call, argument string, err error, answer recorded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		answer.Fault = registry.KindOf(err)
	}
	answer.Call, answer.Argument = call, argument
	asked := question{call, argument}
	if _, again := r.answers[asked]; again || r.broken {
		return
	}
	r.size += len(answer.Content) + len(argument) + 256*len(answer.Referrers)
	if repository != r.repository || r.size > r.max || err != nil && !isAnswer(answer.Fault) {
		r.broken, r.answers, r.order = true, nil, nil
		return
	}
	r.answers[asked] = answer
	r.order = append(r.order, asked)
}

func (r *recorder) Resolve(ctx context.Context, repository registry.Repository, tag string) (registry.Manifest, error) {
	manifest, err := r.Registry.Resolve(ctx, repository, tag)
	r.note(repository, callResolve, tag, err, recorded{Content: manifest.Raw})
	return manifest, err
}

func (r *recorder) Manifest(ctx context.Context, repository registry.Repository, digest string) (registry.Manifest, error) {
	manifest, err := r.Registry.Manifest(ctx, repository, digest)
	r.note(repository, callManifest, digest, err, recorded{Content: manifest.Raw})
	return manifest, err
}

func (r *recorder) Blob(ctx context.Context, repository registry.Repository, digest string, max int64) ([]byte, error) {
	content, err := r.Registry.Blob(ctx, repository, digest, max)
	r.note(repository, callBlob, digest, err, recorded{Content: content})
	return content, err
}

func (r *recorder) Referrers(ctx context.Context, repository registry.Repository, digest string) ([]registry.Descriptor, error) {
	referrers, err := r.Registry.Referrers(ctx, repository, digest)
	r.note(repository, callReferrers, digest, err, recorded{Referrers: referrers})
	return referrers, err
}

// transcript is nil if what happened cannot be played back.
func (r *recorder) transcript(p part, k key, fetched time.Time) *transcript {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return nil
	}
	t := &transcript{Part: p, Repository: k.repository, Digest: k.subject, Scope: k.scope, Fetched: fetched.UTC()}
	for _, asked := range r.order {
		t.Answers = append(t.Answers, r.answers[asked])
	}
	return t
}

// player answers from a transcript. What is not in it cannot be known from it.
type player struct {
	repository registry.Repository
	answers    map[question]recorded
}

func play(t *transcript) *player {
	p := &player{repository: t.Repository, answers: make(map[question]recorded, len(t.Answers))}
	for _, answer := range t.Answers {
		p.answers[question{answer.Call, answer.Argument}] = answer
	}
	return p
}

var errNotRecorded = errors.New("it is not in the evidence cache")

func (p *player) answer(repository registry.Repository, call, argument string) (recorded, error) {
	what := fmt.Sprintf("reading %s of %s", argument, repository)
	answer, ok := p.answers[question{call, argument}]
	if !ok || repository != p.repository {
		return recorded{}, &registry.Error{Kind: registry.Unreachable, Host: repository.Registry, What: what, Err: errNotRecorded}
	}
	if answer.Fault != "" {
		return recorded{}, &registry.Error{Kind: answer.Fault, Host: repository.Registry, What: what, Err: errors.New("so the registry answered before")}
	}
	return answer, nil
}

func (p *player) Resolve(_ context.Context, repository registry.Repository, tag string) (registry.Manifest, error) {
	answer, err := p.answer(repository, callResolve, tag)
	if err != nil {
		return registry.Manifest{}, err
	}
	return registry.ParseManifest(answer.Content)
}

func (p *player) Manifest(_ context.Context, repository registry.Repository, digest string) (registry.Manifest, error) {
	answer, err := p.answer(repository, callManifest, digest)
	if err == nil {
		err = p.check(repository, digest, answer.Content)
	}
	if err != nil {
		return registry.Manifest{}, err
	}
	return registry.ParseManifest(answer.Content)
}

func (p *player) Blob(_ context.Context, repository registry.Repository, digest string, max int64) ([]byte, error) {
	answer, err := p.answer(repository, callBlob, digest)
	if err == nil {
		err = p.check(repository, digest, answer.Content)
	}
	if err == nil && int64(len(answer.Content)) > max {
		err = &registry.Error{Kind: registry.TooLarge, Host: repository.Registry, What: "reading the blob " + digest}
	}
	if err != nil {
		return nil, err
	}
	return answer.Content, nil
}

func (p *player) Referrers(_ context.Context, repository registry.Repository, digest string) ([]registry.Descriptor, error) {
	answer, err := p.answer(repository, callReferrers, digest)
	return answer.Referrers, err
}

// check compares content with its digest: a file on disk is no better than a registry.
func (p *player) check(repository registry.Repository, digest string, content []byte) error {
	if got := registry.DigestOf(content); got != digest {
		return &registry.Error{Kind: registry.Mismatch, Host: repository.Registry, What: "reading " + digest, Err: fmt.Errorf("the evidence cache has %s in its place", got)}
	}
	return nil
}

// magic begins a file of the evidence cache. The sum behind it is that of the rest: it finds damage, and is no proof of who
// wrote it.
const magic = "portcullis evidence 1 sha256:"

const headerSize = len(magic) + 2*sha256.Size + 1

func encodeTranscript(t *transcript) ([]byte, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return sealed(body), nil
}

// sealed puts the header before the rest of a file.
func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append([]byte(magic+hex.EncodeToString(sum[:])+"\n"), body...)
}

var errDamaged = errors.New("the file is damaged")

// decodeTranscript reads what encodeTranscript wrote.
func decodeTranscript(content []byte) (*transcript, error) {
	if len(content) < headerSize || !bytes.HasPrefix(content, []byte(magic)) || content[headerSize-1] != '\n' {
		return nil, errDamaged
	}
	body := content[headerSize:]
	sum := sha256.Sum256(body)
	if hex.EncodeToString(sum[:]) != string(content[len(magic):headerSize-1]) {
		return nil, errDamaged
	}
	var t transcript
	if err := json.Unmarshal(body, &t); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return &t, nil
}
