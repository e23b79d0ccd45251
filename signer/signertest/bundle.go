package signertest

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// BundleMediaType is that of a Sigstore bundle in version 0.3.
const BundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// Bundle is a Sigstore bundle, version 0.3, in its JSON form
// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto; 64-bit numbers are
// strings). Tests may change what they like before they encode it.
type Bundle struct {
	MediaType            string               `json:"mediaType"`
	VerificationMaterial VerificationMaterial `json:"verificationMaterial"`
	Envelope             *Envelope            `json:"dsseEnvelope,omitempty"`
}

// VerificationMaterial is a bundle's proofs. Exactly one of PublicKey and Certificate is set.
type VerificationMaterial struct {
	PublicKey   *PublicKeyHint   `json:"publicKey,omitempty"`
	Certificate *RawBytes        `json:"certificate,omitempty"`
	LogEntries  []BundleLogEntry `json:"tlogEntries,omitempty"`
	Timestamps  *BundleStamps    `json:"timestampVerificationData,omitempty"`
}

// PublicKeyHint names a key that the verifier knows.
type PublicKeyHint struct {
	Hint string `json:"hint"`
}

// RawBytes is a certificate in DER.
type RawBytes struct {
	RawBytes []byte `json:"rawBytes"`
}

// BundleLogEntry is an entry of a transparency log.
type BundleLogEntry struct {
	LogIndex          string           `json:"logIndex"`
	LogID             LogID            `json:"logId"`
	KindVersion       KindVersion      `json:"kindVersion"`
	IntegratedTime    string           `json:"integratedTime"`
	InclusionPromise  *Promise         `json:"inclusionPromise,omitempty"`
	InclusionProof    *BundleInclusion `json:"inclusionProof,omitempty"`
	CanonicalizedBody []byte           `json:"canonicalizedBody"`
}

// LogID is the hash of a log's key.
type LogID struct {
	KeyID []byte `json:"keyId"`
}

// KindVersion is the type of a log entry.
type KindVersion struct {
	Kind    string `json:"kind"`
	Version string `json:"version"`
}

// Promise is a log's signature over an entry and its time.
type Promise struct {
	SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
}

// BundleInclusion proves that an entry is in a log.
type BundleInclusion struct {
	LogIndex   string     `json:"logIndex"`
	RootHash   []byte     `json:"rootHash"`
	TreeSize   string     `json:"treeSize"`
	Hashes     [][]byte   `json:"hashes"`
	Checkpoint Checkpoint `json:"checkpoint"`
}

// Checkpoint is the signed head of a log.
type Checkpoint struct {
	Envelope string `json:"envelope"`
}

// BundleStamps are timestamps.
type BundleStamps struct {
	RFC3161 []BundleStamp `json:"rfc3161Timestamps"`
}

// BundleStamp is the response of a timestamp authority.
type BundleStamp struct {
	SignedTimestamp []byte `json:"signedTimestamp"`
}

// Envelope is a DSSE envelope (https://github.com/secure-systems-lab/dsse).
type Envelope struct {
	Payload     []byte              `json:"payload"`
	PayloadType string              `json:"payloadType"`
	Signatures  []EnvelopeSignature `json:"signatures"`
}

// EnvelopeSignature is one signature of an envelope.
type EnvelopeSignature struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   []byte `json:"sig"`
}

// JSON encodes the bundle.
func (b *Bundle) JSON() ([]byte, error) {
	encoded, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encoding a bundle: %w", err)
	}
	return encoded, nil
}

// ParseBundle reads what JSON wrote.
func ParseBundle(content []byte) (*Bundle, error) {
	var b Bundle
	if err := json.Unmarshal(content, &b); err != nil {
		return nil, fmt.Errorf("reading a bundle: %w", err)
	}
	return &b, nil
}

// SignStatement signs an in-toto statement as an identity, and gives a bundle.
func (p *PKI) SignStatement(identity Identity, statement []byte, options ...Option) ([]byte, error) {
	s := p.settings(options)
	h, err := p.keyless(identity, s)
	if err != nil {
		return nil, err
	}
	return p.bundle(h, statement, s)
}

// SignStatementWithKey signs an in-toto statement with a key, and gives a bundle: without log entry and
// timestamp, unless they are asked for.
func (p *PKI) SignStatementWithKey(key *Key, statement []byte, options ...Option) ([]byte, error) {
	return p.bundle(&holder{key: key}, statement, p.settings(options))
}

func (p *PKI) bundle(h *holder, statement []byte, s *settings) ([]byte, error) {
	envelope, made, err := p.envelope(h, statement, false, s)
	if err != nil {
		return nil, err
	}
	b := Bundle{MediaType: BundleMediaType, Envelope: envelope}
	switch {
	case h.leaf == nil:
		b.VerificationMaterial.PublicKey = &PublicKeyHint{h.key.Hint()}
	case s.has(KeyForCertificate):
		b.VerificationMaterial.Certificate = &RawBytes{h.key.der}
	default:
		b.VerificationMaterial.Certificate = &RawBytes{h.leaf.Raw}
	}
	for _, entry := range made.entries {
		b.VerificationMaterial.LogEntries = append(b.VerificationMaterial.LogEntries, entry.inBundle())
	}
	if made.stamp != nil {
		b.VerificationMaterial.Timestamps = &BundleStamps{[]BundleStamp{{made.stamp}}}
	}
	return b.JSON()
}

// envelope signs a statement, and has the signature logged and stamped: the signature alone, or
// the whole envelope, as cosign version 2 does for attestations in layers.
func (p *PKI) envelope(h *holder, statement []byte, stampWhole bool, s *settings) (*Envelope, proofs, error) {
	signature, err := h.key.sign(preAuthentication(payloadType, statement))
	if err != nil {
		return nil, proofs{}, err
	}
	if s.has(TamperedSignature) {
		signature = flip(signature)
	}
	e := &Envelope{Payload: statement, PayloadType: payloadType, Signatures: []EnvelopeSignature{{Sig: signature}}}
	encoded, err := json.Marshal(e)
	if err != nil {
		return nil, proofs{}, fmt.Errorf("encoding an envelope: %w", err)
	}
	stamped := signature
	if stampWhole {
		stamped = encoded
	}
	made, err := p.prove(stamped, s, func(l *log, other bool) (*entry, error) {
		if other {
			return l.addOtherEnvelope(h, s)
		}
		return l.addEnvelopeOf(h, e, s)
	})
	if err != nil {
		return nil, proofs{}, err
	}
	return e, made, e.spoil(s)
}

// addOtherEnvelope logs another statement by the same signer.
func (l *log) addOtherEnvelope(h *holder, s *settings) (*entry, error) {
	payload := []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://example.com/other"}`)
	signature, err := h.key.sign(preAuthentication(payloadType, payload))
	if err != nil {
		return nil, err
	}
	return l.addEnvelopeOf(h, &Envelope{Payload: payload, PayloadType: payloadType, Signatures: []EnvelopeSignature{{Sig: signature}}}, s)
}

// addEnvelopeOf logs an envelope with one signature.
func (l *log) addEnvelopeOf(h *holder, e *Envelope, s *settings) (*entry, error) {
	if s.rekor2 {
		return l.addMessage(preAuthentication(e.PayloadType, e.Payload), e.Signatures[0].Sig, h.verifier2())
	}
	encoded, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding an envelope: %w", err)
	}
	return l.addEnvelope(encoded, e.Payload, e.Signatures[0].Sig, h.verifier(), s.at)
}

// spoil makes a signed envelope wrong.
func (e *Envelope) spoil(s *settings) error {
	switch {
	case s.has(TamperedPayload):
		e.Payload = flip(e.Payload)
	case s.has(NoSignature):
		e.Signatures = []EnvelopeSignature{}
	case s.has(TwoSignatures):
		key, err := NewKey()
		if err != nil {
			return err
		}
		second, err := key.sign(preAuthentication(e.PayloadType, e.Payload))
		if err != nil {
			return err
		}
		e.Signatures = append(e.Signatures, EnvelopeSignature{Sig: second})
	}
	return nil
}

// preAuthentication is what a DSSE signature covers
// (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, "PAE").
func preAuthentication(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

func (e *entry) inBundle() BundleLogEntry {
	index := strconv.FormatInt(e.Index, 10)
	in := BundleLogEntry{
		LogIndex: index, LogID: LogID{e.LogID}, KindVersion: KindVersion{e.Kind, e.Version},
		IntegratedTime: strconv.FormatInt(e.Time, 10), CanonicalizedBody: e.Body,
		InclusionProof: &BundleInclusion{LogIndex: index, RootHash: e.Root, TreeSize: strconv.FormatInt(e.TreeSize, 10), Hashes: e.Hashes, Checkpoint: Checkpoint{e.Checkpoint}},
	}
	if e.Promise != nil {
		in.InclusionPromise = &Promise{e.Promise}
	}
	return in
}
