//go:build goexperiment.jsonv2

package trivy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// chunkSize is what is unpacked at a time, chunks how many wait for a slow reader.
const (
	chunkSize = 256 << 10
	chunks    = 4
	// zstdMemory is the largest window of zstd that is accepted (RFC 8878, 3.1.1.1.2 recommends 8 MB; containerd's
	// encoder uses up to 8 MB, "zstd --long" 128 MB).
	zstdMemory = 128 << 20
)

// layer is a layer of an image that is checked while it is read: the packed bytes against the manifest, the unpacked
// ones against the configuration and the limits.
type layer struct {
	inner      v1.Layer
	descriptor v1.Descriptor
	diffID     v1.Hash
	budget     *budget

	mu       sync.Mutex
	verified bool
	err      error
	seen     seen
}

func newLayer(inner v1.Layer, descriptor v1.Descriptor, diffID v1.Hash, budget *budget) *layer {
	return &layer{inner: inner, descriptor: descriptor, diffID: diffID, budget: budget}
}

// Digest is that of the packed layer.
func (l *layer) Digest() (v1.Hash, error) { return l.descriptor.Digest, nil }

// DiffID is the digest of the unpacked layer.
func (l *layer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Compressed is the packed layer.
func (l *layer) Compressed() (io.ReadCloser, error) { return l.inner.Compressed() }

// Size is that of the packed layer, in bytes.
func (l *layer) Size() (int64, error) { return l.descriptor.Size, nil }

// MediaType is as the manifest says.
func (l *layer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }

// Uncompressed is the layer as a tar archive. It is unpacked ahead of its reader.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	packed, err := l.inner.Compressed()
	if err != nil {
		err = fmt.Errorf("opening the layer %s: %w", l.descriptor.Digest, err)
		l.finish(seen{}, err)
		return nil, err
	}
	r := &unpacked{filled: make(chan []byte, chunks), empty: make(chan []byte, chunks+1), closed: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer close(r.filled)
		defer packed.Close()
		found, err := l.unpack(packed, r)
		if errors.Is(err, errClosed) {
			return // the reader had enough: nothing is known, nothing is wrong
		}
		l.finish(found, err)
		r.err = err
	}()
	return r, nil
}

func (l *layer) finish(found seen, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.verified = found, err == nil
	if l.err == nil {
		l.err = err
	}
}

func (l *layer) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// known is what was seen in the layer, if all of it was read and matched its digests.
func (l *layer) known() (seen, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen, l.verified
}

// recall sets what is known of the layer from an earlier analysis.
func (l *layer) recall(found seen) { l.finish(found, nil) }

// unpack hands the unpacked layer to a reader and to the observer, chunk by chunk.
func (l *layer) unpack(packed io.Reader, out *unpacked) (seen, error) {
	packedSum, unpackedSum := sha256.New(), sha256.New()
	counted := &counter{reader: io.TeeReader(packed, packedSum)}
	content, err := decompress(bufio.NewReaderSize(counted, chunkSize))
	if err != nil {
		return seen{}, l.wrap(err)
	}
	defer content.Close()

	observer := observe(l.budget)
	defer observer.stop()
	var total int64
	for {
		chunk := out.buffer()
		n, err := io.ReadFull(content, chunk)
		if n > 0 {
			total += int64(n)
			if err := l.spend(int64(n), total, counted.n); err != nil {
				return seen{}, err
			}
			unpackedSum.Write(chunk[:n])
			if err := observer.write(chunk[:n]); err != nil {
				return seen{}, l.wrap(err)
			}
			if !out.put(chunk[:n]) {
				return seen{}, errClosed
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && content.ended() {
			break
		}
		if err != nil {
			return seen{}, l.wrap(err)
		}
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return seen{}, l.wrap(err)
	}
	if err := errors.Join(matches(packedSum, l.descriptor.Digest), matches(unpackedSum, l.diffID)); err != nil {
		return seen{}, l.wrap(err)
	}
	found, err := observer.result()
	if err != nil {
		return seen{}, l.wrap(err)
	}
	return found, nil
}

func (l *layer) wrap(err error) error {
	var refused *unscannableError
	if errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("reading the layer %s: %w", l.descriptor.Digest, err)
}

// spend takes what was unpacked from the image's budget.
func (l *layer) spend(n, total, packed int64) error {
	limits := l.budget.limits
	if l.budget.unpacked.Add(n) > limits.Unpacked {
		return unscannable("its layers are larger than %d bytes unpacked, which is the limit", limits.Unpacked)
	}
	if total > RatioFree && total/max(packed, 1) > limits.Ratio {
		return unscannable("its layer %s unpacks to more than %d times its size, as only made-up archives do", l.descriptor.Digest, limits.Ratio)
	}
	return nil
}

func matches(sum hash.Hash, want v1.Hash) error {
	if want.Algorithm != "sha256" {
		return unscannable("it uses digests of the algorithm %q, which the scanner cannot check", want.Algorithm)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.Hex {
		return fmt.Errorf("its content has the digest sha256:%s, not %s", got, want)
	}
	return nil
}

// counter counts the packed bytes.
type counter struct {
	reader io.Reader
	n      int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	c.n += int64(n)
	return n, err
}

// stream is a decompressed layer. It remembers whether the end was a proper one: io.ReadFull hides that.
type stream struct {
	reader io.Reader
	close  func()
	eof    bool
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.reader.Read(p)
	s.eof = err == io.EOF
	return n, err
}

func (s *stream) ended() bool { return s.eof }

func (s *stream) Close() error {
	s.close()
	return nil
}

// decompress goes by the first bytes, as container runtimes do, not by the media type.
func decompress(packed *bufio.Reader) (*stream, error) {
	magic, err := packed.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}): // RFC 1952, 2.3.1
		reader, err := gzip.NewReader(packed)
		if err != nil {
			return nil, err
		}
		return &stream{reader: reader, close: func() { reader.Close() }}, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878, 3.1.1
		reader, err := zstd.NewReader(packed, zstd.WithDecoderMaxWindow(zstdMemory), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return &stream{reader: reader, close: reader.Close}, nil
	}
	return &stream{reader: packed, close: func() {}}, nil
}

var errClosed = errors.New("the reader was closed")

// unpacked passes chunks from the goroutine that unpacks to the one that reads.
type unpacked struct {
	filled, empty chan []byte
	closed        chan struct{}
	done          chan struct{}
	once          sync.Once
	rest, current []byte
	err           error // set before filled is closed
}

func (u *unpacked) buffer() []byte {
	select {
	case b := <-u.empty:
		return b[:chunkSize]
	default:
		return make([]byte, chunkSize)
	}
}

func (u *unpacked) put(chunk []byte) bool {
	select {
	case u.filled <- chunk:
		return true
	case <-u.closed:
		return false
	}
}

func (u *unpacked) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		if u.current != nil {
			select {
			case u.empty <- u.current:
			default:
			}
			u.current = nil
		}
		chunk, ok := <-u.filled
		if !ok {
			if u.err != nil {
				return 0, u.err
			}
			return 0, io.EOF
		}
		u.current, u.rest = chunk, chunk
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// Close ends the unpacking and waits until the layer's file is free.
func (u *unpacked) Close() error {
	u.once.Do(func() { close(u.closed) })
	<-u.done
	return nil
}
