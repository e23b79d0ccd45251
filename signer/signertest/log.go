package signertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Names of the logs in their checkpoints: a number behind it marks the form of Rekor version 1.
const (
	logHost    = "rekor.portcullis.test"
	logOrigin  = logHost + " - 1193050959916656506"
	log2Origin = "log2026-1.rekor.portcullis.test"
)

// log is a transparency log as Rekor is one: a Merkle tree (RFC 6962, section 2) whose head is
// signed, and in version 1 a signed promise for each entry.
type log struct {
	host   string
	origin string
	key    *ecdsa.PrivateKey
	id     []byte

	mu     sync.Mutex
	leaves [][]byte // hashes
}

// entry is an entry of the log with all that proves it.
type entry struct {
	Body       []byte // canonical JSON
	Index      int64
	LogID      []byte
	Kind       string
	Version    string
	Time       int64  // seconds, 0 for none
	Promise    []byte // the signed entry timestamp
	TreeSize   int64
	Root       []byte
	Hashes     [][]byte
	Checkpoint string
}

func newLog(host, origin string) (*log, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	id, err := keyID(key.Public())
	if err != nil {
		return nil, err
	}
	l := &log{host: host, origin: origin, key: key, id: id}
	// A log of one entry has empty proofs, which prove nothing about a verifier.
	for i := range 3 {
		l.leaves = append(l.leaves, leafHash(fmt.Appendf(nil, "entry %d of somebody else", i)))
	}
	return l, nil
}

// promise is what a signed entry timestamp covers; its fields are in the order of RFC 8785.
type promise struct {
	Body           string `json:"body"`
	IntegratedTime int64  `json:"integratedTime"`
	LogIndex       int64  `json:"logIndex"`
	LogID          string `json:"logID"` //nolint:tagliatelle // Rekor's
}

// canonical is the promise in the order of RFC 8785, which sorts by UTF-16 code units: "logID" is before "logIndex".
func (p promise) canonical() []byte {
	return fmt.Appendf(nil, `{"body":%q,"integratedTime":%d,"logID":%q,"logIndex":%d}`, p.Body, p.IntegratedTime, p.LogID, p.LogIndex)
}

// add appends an entry, with a promise unless the time is zero.
func (l *log) add(kind, version string, body []byte, at time.Time) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaves = append(l.leaves, leafHash(body))
	e := &entry{
		Body: body, Index: int64(len(l.leaves) - 1), LogID: l.id, Kind: kind, Version: version,
		TreeSize: int64(len(l.leaves)), Root: treeHash(l.leaves), Hashes: inclusion(len(l.leaves)-1, l.leaves),
	}
	var err error
	if !at.IsZero() {
		e.Time = at.Unix()
		if e.Promise, err = l.sign(e.promise().canonical()); err != nil {
			return nil, err
		}
	}
	e.Checkpoint, err = l.checkpoint(e.TreeSize, e.Root)
	return e, err
}

func (e *entry) promise() promise {
	return promise{Body: base64.StdEncoding.EncodeToString(e.Body), IntegratedTime: e.Time, LogID: hex.EncodeToString(e.LogID), LogIndex: e.Index}
}

func (l *log) sign(message []byte) ([]byte, error) {
	return signWith(l.key, message)
}

// checkpoint is the signed head of the tree (https://github.com/transparency-dev/formats/tree/main/log).
func (l *log) checkpoint(size int64, root []byte) (string, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", l.origin, size, base64.StdEncoding.EncodeToString(root))
	signature, err := l.sign([]byte(text))
	if err != nil {
		return "", err
	}
	// A signature begins with four bytes that hint at its key.
	return fmt.Sprintf("%s\n\u2014 %s %s\n", text, l.host, base64.StdEncoding.EncodeToString(append(append([]byte(nil), l.id[:4]...), signature...))), nil
}

// Hashes of RFC 6962, section 2.1.
func leafHash(entry []byte) []byte {
	sum := sha256.Sum256(append([]byte{0}, entry...))
	return sum[:]
}

func treeHash(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	split := largestPower(len(leaves))
	sum := sha256.Sum256(append(append([]byte{1}, treeHash(leaves[:split])...), treeHash(leaves[split:])...))
	return sum[:]
}

// inclusion is the audit path of a leaf (RFC 6962, section 2.1.1).
func inclusion(index int, leaves [][]byte) [][]byte {
	if len(leaves) == 1 {
		return nil
	}
	split := largestPower(len(leaves))
	if index < split {
		return append(inclusion(index, leaves[:split]), treeHash(leaves[split:]))
	}
	return append(inclusion(index-split, leaves[split:]), treeHash(leaves[:split]))
}

// largestPower is the largest power of two under n.
func largestPower(n int) int {
	power := 1
	for power*2 < n {
		power *= 2
	}
	return power
}

// Bodies of entries as Rekor stores them: types hashedrekord and dsse in version 0.0.1, and
// hashedrekord in version 0.0.2 of Rekor's second version. Fields are in canonical
// order, and nothing in them needs escaping.
type (
	hashValue struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"value"`
	}
	hashedRekord struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Data struct {
				Hash hashValue `json:"hash"`
			} `json:"data"`
			Signature struct {
				Content   []byte `json:"content"`
				PublicKey struct {
					Content []byte `json:"content"`
				} `json:"publicKey"`
			} `json:"signature"`
		} `json:"spec"`
	}
	dsseRekord struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			EnvelopeHash hashValue           `json:"envelopeHash"`
			PayloadHash  hashValue           `json:"payloadHash"`
			Signatures   []dsseRekordSigning `json:"signatures"`
		} `json:"spec"`
	}
	dsseRekordSigning struct {
		Signature string `json:"signature"`
		Verifier  []byte `json:"verifier"`
	}
	hashedRekord2 struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Record struct {
				Data struct {
					Algorithm string `json:"algorithm"`
					Digest    []byte `json:"digest"`
				} `json:"data"`
				Signature struct {
					Content  []byte          `json:"content"`
					Verifier rekord2Verifier `json:"verifier"`
				} `json:"signature"`
			} `json:"hashedRekordV002"`
		} `json:"spec"`
	}
	rekord2Verifier struct {
		KeyDetails  string    `json:"keyDetails"`
		PublicKey   *RawBytes `json:"publicKey,omitempty"`
		Certificate *RawBytes `json:"x509Certificate,omitempty"`
	}
)

const (
	hashedRekordKind = "hashedrekord"
	dsseKind         = "dsse"
	entryVersion     = "0.0.1"
	entryVersion2    = "0.0.2"
)

func hashOf(content []byte) hashValue {
	sum := sha256.Sum256(content)
	return hashValue{"sha256", hex.EncodeToString(sum[:])}
}

// addSignature logs a detached signature; verifier is the certificate or key in PEM.
func (l *log) addSignature(message, signature, verifier []byte, at time.Time) (*entry, error) {
	record := hashedRekord{APIVersion: entryVersion, Kind: hashedRekordKind}
	record.Spec.Data.Hash = hashOf(message)
	record.Spec.Signature.Content = signature
	record.Spec.Signature.PublicKey.Content = verifier
	body, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encoding a log entry: %w", err)
	}
	return l.add(hashedRekordKind, entryVersion, body, at)
}

// addEnvelope logs a DSSE envelope.
func (l *log) addEnvelope(envelope []byte, payload, signature, verifier []byte, at time.Time) (*entry, error) {
	record := dsseRekord{APIVersion: entryVersion, Kind: dsseKind}
	record.Spec.EnvelopeHash, record.Spec.PayloadHash = hashOf(envelope), hashOf(payload)
	record.Spec.Signatures = []dsseRekordSigning{{Signature: base64.StdEncoding.EncodeToString(signature), Verifier: verifier}}
	body, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encoding a log entry: %w", err)
	}
	return l.add(dsseKind, entryVersion, body, at)
}

// addMessage logs a signature of a message in a log of Rekor's second version.
func (l *log) addMessage(message, signature []byte, verifier rekord2Verifier) (*entry, error) {
	record := hashedRekord2{APIVersion: entryVersion2, Kind: hashedRekordKind}
	sum := sha256.Sum256(message)
	record.Spec.Record.Data.Algorithm, record.Spec.Record.Data.Digest = "SHA2_256", sum[:]
	record.Spec.Record.Signature.Content, record.Spec.Record.Signature.Verifier = signature, verifier
	body, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encoding a log entry: %w", err)
	}
	return l.add(hashedRekordKind, entryVersion2, body, time.Time{})
}

// signWith signs with SHA-256.
func signWith(key *ecdsa.PrivateKey, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return signature, nil
}
