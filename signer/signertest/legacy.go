package signertest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Legacy is a layer of the image that holds a signature or an attestation: what cosign
// version 2 writes under the tags sha256-HEX.sig and sha256-HEX.att.
type Legacy struct {
	MediaType   string
	Content     []byte
	Annotations map[string]string
}

// Media types and annotations of [Legacy]
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
const (
	SimpleSigningMediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	EnvelopeMediaType      = "application/vnd.dsse.envelope.v1+json"

	SignatureAnnotation   = "dev.cosignproject.cosign/signature"
	CertificateAnnotation = "dev.sigstore.cosign/certificate"
	ChainAnnotation       = "dev.sigstore.cosign/chain"
	LogAnnotation         = "dev.sigstore.cosign/bundle"
	TimestampAnnotation   = "dev.sigstore.cosign/rfc3161timestamp"
	PredicateAnnotation   = "predicateType"
)

// SignPayload signs a payload of [SimpleSigning] as an identity.
func (p *PKI) SignPayload(identity Identity, payload []byte, options ...Option) (Legacy, error) {
	s := p.settings(options)
	h, err := p.keyless(identity, s)
	if err != nil {
		return Legacy{}, err
	}
	return p.payload(h, payload, s)
}

// SignPayloadWithKey signs a payload of [SimpleSigning] with a key: without log entry and timestamp,
// unless they are asked for.
func (p *PKI) SignPayloadWithKey(key *Key, payload []byte, options ...Option) (Legacy, error) {
	return p.payload(&holder{key: key}, payload, p.settings(options))
}

func (p *PKI) payload(h *holder, payload []byte, s *settings) (Legacy, error) {
	signature, err := h.key.sign(payload)
	if err != nil {
		return Legacy{}, err
	}
	if s.has(TamperedSignature) {
		signature = flip(signature)
	}
	made, err := p.prove(signature, s, func(l *log, other bool) (*entry, error) {
		if !other {
			return l.addSignature(payload, signature, h.verifier(), s.at)
		}
		another := []byte("another payload")
		signed, err := h.key.sign(another)
		if err != nil {
			return nil, err
		}
		return l.addSignature(another, signed, h.verifier(), s.at)
	})
	if err != nil {
		return Legacy{}, err
	}
	layer := Legacy{MediaType: SimpleSigningMediaType, Content: payload}
	text := base64.StdEncoding.EncodeToString(signature)
	if s.has(NoSignature) {
		text = ""
	}
	if s.has(TamperedPayload) {
		layer.Content = flip(payload)
	}
	layer.Annotations, err = h.annotations(text, made, s)
	return layer, err
}

// SignLegacyStatement signs an in-toto statement as an identity, as "cosign attest" version 2 does.
func (p *PKI) SignLegacyStatement(identity Identity, statement []byte, options ...Option) (Legacy, error) {
	s := p.settings(options)
	h, err := p.keyless(identity, s)
	if err != nil {
		return Legacy{}, err
	}
	return p.legacyStatement(h, statement, s)
}

// SignLegacyStatementWithKey is SignLegacyStatement with a key: without log entry and timestamp,
// unless they are asked for.
func (p *PKI) SignLegacyStatementWithKey(key *Key, statement []byte, options ...Option) (Legacy, error) {
	return p.legacyStatement(&holder{key: key}, statement, p.settings(options))
}

func (p *PKI) legacyStatement(h *holder, statement []byte, s *settings) (Legacy, error) {
	envelope, made, err := p.envelope(h, statement, true, s)
	if err != nil {
		return Legacy{}, err
	}
	content, err := json.Marshal(envelope)
	if err != nil {
		return Legacy{}, fmt.Errorf("encoding an envelope: %w", err)
	}
	annotations, err := h.annotations("", made, s)
	if err != nil {
		return Legacy{}, err
	}
	// A label for people, written from the statement: nobody signs it.
	var said struct {
		PredicateType string `json:"predicateType"`
	}
	if err := json.Unmarshal(statement, &said); err == nil {
		annotations[PredicateAnnotation] = said.PredicateType
	}
	return Legacy{MediaType: EnvelopeMediaType, Content: content, Annotations: annotations}, nil
}

// annotations of a layer are the proofs.
func (h *holder) annotations(signature string, made proofs, s *settings) (map[string]string, error) {
	annotations := map[string]string{SignatureAnnotation: signature}
	if h.leaf != nil {
		annotations[CertificateAnnotation] = string(certificatePEM(h.leaf))
		annotations[ChainAnnotation] = string(certificatePEM(h.authority.intermediate, h.authority.root))
		if s.has(KeyForCertificate) {
			annotations[CertificateAnnotation] = h.key.PEM()
		}
	}
	if len(made.entries) > 0 {
		encoded, err := json.Marshal(struct {
			SignedEntryTimestamp []byte
			Payload              promise
		}{made.entries[0].Promise, made.entries[0].promise()})
		if err != nil {
			return nil, fmt.Errorf("encoding a log entry: %w", err)
		}
		annotations[LogAnnotation] = string(encoded)
	}
	if made.stamp != nil {
		encoded, err := json.Marshal(struct{ SignedRFC3161Timestamp []byte }{made.stamp})
		if err != nil {
			return nil, fmt.Errorf("encoding a timestamp: %w", err)
		}
		annotations[TimestampAnnotation] = string(encoded)
	}
	return annotations, nil
}
