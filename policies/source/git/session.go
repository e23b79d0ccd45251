package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// session is one exchange with git-upload-pack (gitprotocol-pack, version 0), whatever carries it.
type session interface {
	// advertised is what the server says first: capabilities, branches and tags.
	advertised(ctx context.Context) (io.Reader, error)
	// upload sends a request and is what the server answers. It comes after advertised.
	upload(ctx context.Context, request []byte) (io.Reader, error)
	// explain says why reading failed, where that is known better than by the error.
	explain(err error) error
	// close ends the exchange wherever it is.
	close()
}

// agent is how this program names itself.
const agent = "portcullis"

// listReferences asks for branches and tags.
func (s *Source) listReferences(ctx context.Context, from session) (*packp.AdvRefs, error) {
	stream, err := from.advertised(ctx)
	if err != nil {
		return nil, err
	}
	start := &head{most: 4 << 10}
	advertised := packp.NewAdvRefs()
	limited := bound(stream, s.limits.References, "the list of branches and tags")
	err = advertised.Decode(io.TeeReader(limited, start))
	switch {
	case bytes.Contains(start.Bytes(), []byte("object-format=sha256")):
		return nil, errors.New("it is a repository of SHA-256, which is not read over the network: use one of SHA-1, Git's default, or an OCI artifact")
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && advertised.IsEmpty():
		return nil, errors.New("the repository is empty: push the bundle")
	case err != nil:
		return nil, from.explain(explainDecoding(err, limited))
	}
	return advertised, nil
}

// explainDecoding says what an error of the protocol means.
func explainDecoding(err error, stream *bounded) error {
	var limit *tooMuch
	var refused *pktline.ErrorLine
	var unexpected *packp.ErrUnexpectedData
	switch {
	case errors.As(err, &limit):
		return limit
	case errors.As(err, &refused):
		return fmt.Errorf("the server says %.200q: correct the source, or look at the server", refused.Text)
	case errors.As(err, &unexpected) && !strings.HasSuffix(unexpected.Msg, "EOF"), errors.Is(err, pktline.ErrInvalidPktLen) && !stream.ended:
		return errors.New("what answers there does not speak Git: correct git.url")
	case stream.ended:
		return errCut
	}
	return fmt.Errorf("reading what the server says: %w: retry, or look at the server", err)
}

// head keeps the first bytes that are written.
type head struct {
	bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	if left := h.most - h.Len(); left > 0 {
		h.Buffer.Write(p[:min(len(p), left)])
	}
	return len(p), nil
}

// fetchObjects receives a commit with all that it needs, and no history but where the server gives it with that only.
func (s *Source) fetchObjects(ctx context.Context, from session, capabilities *capability.List, t target) (objects, error) {
	request, err := newRequest(capabilities, t)
	if err != nil {
		return nil, err
	}
	var encoded bytes.Buffer
	if err := request.UploadRequest.Encode(&encoded); err != nil {
		return nil, fmt.Errorf("asking for %s: %w: report this as a bug", t.commit, err)
	}
	if err := pktline.NewEncoder(&encoded).EncodeString("done\n"); err != nil {
		return nil, fmt.Errorf("asking for %s: %w: report this as a bug", t.commit, err)
	}
	stream, err := from.upload(ctx, encoded.Bytes())
	if err != nil {
		return nil, err
	}
	limited := bound(stream, s.limits.Pack, "the commit")
	response := packp.NewUploadPackResponse(request)
	if err := response.Decode(io.NopCloser(limited)); err != nil {
		return nil, from.explain(explainDecoding(err, limited))
	}
	found, err := unpack(demultiplexed(response, request.Capabilities), s.limits)
	if err != nil {
		return nil, from.explain(err)
	}
	return found, nil
}

// newRequest asks for a commit. Differences are asked to be within the pack.
func newRequest(offered *capability.List, t target) (*packp.UploadPackRequest, error) {
	if !offered.Supports(capability.Shallow) {
		return nil, errors.New("the server gives whole histories only: use one with a Git of this century")
	}
	request := packp.NewUploadPackRequest()
	// Some servers serve nobody without multi_ack_detailed. It changes nothing for who has nothing yet.
	wanted := []capability.Capability{capability.OFSDelta, capability.NoProgress, capability.Shallow, capability.MultiACKDetailed, capability.Sideband64k}
	if !offered.Supports(capability.Sideband64k) {
		wanted = append(wanted, capability.Sideband)
	}
	for _, c := range wanted {
		if offered.Supports(c) {
			if err := request.Capabilities.Set(c); err != nil {
				return nil, fmt.Errorf("asking for %s: %w: report this as a bug", t.commit, err)
			}
		}
	}
	if offered.Supports(capability.Agent) {
		if err := request.Capabilities.Set(capability.Agent, agent); err != nil {
			return nil, fmt.Errorf("asking for %s: %w: report this as a bug", t.commit, err)
		}
	}
	if len(t.within) == 0 {
		request.Depth = packp.DepthCommits(1)
	}
	request.Wants = t.wants()
	return request, nil
}

// demultiplexed is the pack without what is said beside it.
func demultiplexed(stream io.Reader, agreed *capability.List) io.Reader {
	switch {
	case agreed.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, stream)
	case agreed.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, stream)
	}
	return stream
}
