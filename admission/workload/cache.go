package workload

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"reflect"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Cache recognises pods whose normal form is known: those of one template differ in
// name, uid, owner and dates, none of which the normal form holds, and in the
// suffix of the token volume, which it leaves out. Extracting is most of what a pod costs
// whose policies are judged from memory. A pod is kept when it comes a second time;
// those that come once cost a hash.
//
// The zero value is ready, and may be used by any number of goroutines.
type Cache struct {
	mu sync.Mutex
	// Two generations stand in for a list of recent use, as many entries as a busy
	// cluster rolls out at once. A pod seen once has an entry in seen alone.
	known, knownBefore map[cacheKey]*Workload
	seen, seenBefore   map[cacheKey]struct{}
}

type cacheKey [sha256.Size]byte

// Limits of a cache: with pods of ordinary size it holds about three megabytes.
const (
	maxKnown           = 64 // a generation
	maxSeen            = 1024
	maxCachedBytes     = 16 << 10 // of JSON
	maxCachedContainer = 16
)

// Extract is [Extract]. Its result is shared: nobody may change it.
func (c *Cache) Extract(kind metav1.GroupVersionKind, raw []byte) ([]Workload, error) {
	if kind.Group != "" || kind.Kind != "Pod" || len(raw) > maxCachedBytes {
		return Extract(kind, raw)
	}
	key, suffixed, err := keyOf(raw)
	if err != nil {
		return Extract(kind, raw) // which says what is wrong
	}
	known, again := c.get(key)
	if known != nil {
		return []Workload{*known}, nil
	}
	found, err := Extract(kind, raw)
	if again && err == nil && len(found) == 1 && len(found[0].Containers) <= maxCachedContainer &&
		!(suffixed && mentions(reflect.ValueOf(found[0]), tokenVolumePrefix)) {
		c.put(key, &found[0])
	}
	return found, err
}

// get finds a workload; again says that its pod was seen before.
func (c *Cache) get(key cacheKey) (known *Workload, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known = c.known[key]; known != nil {
		return known, true
	}
	if known = c.knownBefore[key]; known != nil {
		c.keep(key, known)
		return known, true
	}
	_, young := c.seen[key]
	_, old := c.seenBefore[key]
	if !young && !old {
		if c.seen == nil || len(c.seen) >= maxSeen {
			c.seen, c.seenBefore = map[cacheKey]struct{}{}, c.seen
		}
		c.seen[key] = struct{}{}
	}
	return nil, young || old
}

func (c *Cache) put(key cacheKey, w *Workload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(key, w)
}

func (c *Cache) keep(key cacheKey, w *Workload) {
	if c.known == nil || len(c.known) >= maxKnown {
		c.known, c.knownBefore = map[cacheKey]*Workload{}, c.known
	}
	c.known[key] = w
}

// tokenVolumePrefix begins the name of the volume that the API server's ServiceAccount
// admission adds; five random characters follow.
const (
	tokenVolumePrefix = "kube-api-access-"
	tokenVolumeSuffix = 5
)

// decoders are used again: growing one to the depth of a pod costs as much as reading it.
var decoders = sync.Pool{New: func() any { return jsontext.NewDecoder(new(bytes.Buffer)) }}

// keyOf hashes what the normal form of a pod is made of, as it is written: spec,
// metadata.labels and metadata.annotations. suffixed says that the suffix of token
// volumes was left out, which is right only where the normal form leaves out the volume too.
func keyOf(raw []byte) (key cacheKey, suffixed bool, err error) {
	digest := sha256.New()
	decoder := decoders.Get().(*jsontext.Decoder)
	decoder.Reset(bytes.NewBuffer(raw))
	defer func() {
		decoder.Reset(new(bytes.Buffer)) // lets go of raw
		decoders.Put(decoder)
	}()
	err = eachField(decoder, func(name string) error {
		switch name {
		case "spec":
			value, err := decoder.ReadValue()
			suffixed = writeSpec(digest, value)
			return err
		case "metadata":
			return eachField(decoder, func(name string) error {
				if name != "labels" && name != "annotations" {
					return decoder.SkipValue()
				}
				value, err := decoder.ReadValue()
				writePart(digest, name[0], value)
				return err
			})
		}
		return decoder.SkipValue()
	})
	if err == nil {
		err = atEnd(decoder)
	}
	digest.Sum(key[:0])
	return key, suffixed, err
}

func atEnd(decoder *jsontext.Decoder) error {
	_, err := decoder.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errors.New("there is more after the object")
	}
	return err
}

// writePart writes a part of the pod with its length before it, so that no two pods give
// the same stream.
func writePart(digest hash.Hash, kind byte, parts ...[]byte) {
	var head [9]byte
	head[0] = kind
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	binary.BigEndian.PutUint64(head[1:], uint64(length))
	digest.Write(head[:])
	for _, part := range parts {
		digest.Write(part)
	}
}

// writeSpec writes the spec; without the suffix of token volumes where there is one and
// the same throughout.
func writeSpec(digest hash.Hash, spec []byte) (suffixed bool) {
	prefix := []byte(`"` + tokenVolumePrefix)
	pieces := bytes.Split(spec, prefix)
	if len(pieces) == 1 || !sameSuffix(pieces[1:]) {
		writePart(digest, 's', spec)
		return false
	}
	for i := range pieces[1:] {
		pieces[i+1] = pieces[i+1][tokenVolumeSuffix:]
	}
	for _, piece := range pieces {
		writePart(digest, 't', piece)
	}
	return true
}

// sameSuffix says that all texts begin with the same five characters and a quote.
func sameSuffix(texts [][]byte) bool {
	for _, text := range texts {
		if len(text) <= tokenVolumeSuffix || text[tokenVolumeSuffix] != '"' || !bytes.Equal(text[:tokenVolumeSuffix], texts[0][:tokenVolumeSuffix]) {
			return false
		}
		for _, c := range text[:tokenVolumeSuffix] {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
				return false
			}
		}
	}
	return true
}

// mentions says whether any text of a normal form holds another.
func mentions(v reflect.Value, text string) bool {
	switch v.Kind() {
	case reflect.String:
		return strings.Contains(v.String(), text)
	case reflect.Pointer:
		return !v.IsNil() && mentions(v.Elem(), text)
	case reflect.Struct:
		for i := range v.NumField() {
			if mentions(v.Field(i), text) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if mentions(v.Index(i), text) {
				return true
			}
		}
	}
	return false
}
