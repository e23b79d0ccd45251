package secrets

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
)

// Hasher makes keyed hashes, by which two contents are compared without being kept: the HMAC-SHA-256 with a key of this cluster. A
// plain hash of a short password could be guessed by whoever reads a status; a keyed one cannot without the key.
type Hasher struct{ key []byte }

// HashKeySize is the size of a Hasher's key in bytes.
const HashKeySize = 32

// NewHasher keeps the key.
func NewHasher(key Value) *Hasher { return &Hasher{key: append([]byte(nil), key.Reveal()...)} }

// ID tells keys apart, and gives nothing away about them: 8 hexadecimal digits. Where it is another one than the one in a status, hashes
// there say nothing, and nothing may be concluded to have changed.
func (h *Hasher) ID() string {
	return hex.EncodeToString(h.sum([]byte("id"))[:4])
}

// Value is the hash of one value under its key: 22 characters of base64url.
func (h *Hasher) Value(key string, value Value) string {
	return encodeHash(h.sum([]byte("value"), []byte(key), value.Reveal()))
}

// Data is the hash of all keys and values.
func (h *Hasher) Data(data Data) string { return h.Keys(data, data.Keys()) }

// Keys is the hash of some keys and their values; a key that is not there counts as absent, not as empty. keys must be sorted.
func (h *Hasher) Keys(data Data, keys []string) string {
	parts := [][]byte{[]byte("data")}
	for _, key := range keys {
		if value, ok := data[key]; ok {
			parts = append(parts, []byte(key), value.Reveal())
		}
	}
	return encodeHash(h.sum(parts...))
}

// Texts is the hash of texts that are hashes or names: of what a workload uses.
func (h *Hasher) Texts(texts ...string) string {
	parts := [][]byte{[]byte("texts")}
	for _, text := range texts {
		parts = append(parts, []byte(text))
	}
	return encodeHash(h.sum(parts...))
}

func (h *Hasher) sum(parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, h.key)
	var size [8]byte
	for _, part := range parts { // each with its length before it, so that no two lists are the same bytes
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		mac.Write(size[:])
		mac.Write(part)
	}
	return mac.Sum(nil)
}

func encodeHash(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum[:16]) }
