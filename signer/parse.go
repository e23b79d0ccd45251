package signer

import (
	"errors"
	"fmt"

	kjson "sigs.k8s.io/json"
)

// maxTrust bounds a trust configuration in a file of its own: 256 authorities with a key of
// 4096 bits each have 300 KiB.
const maxTrust = 1 << 20

// ParseTrust reads a trust configuration in JSON, the section trust of bundle.yaml on its
// own. It is as strict as bundles are: fields that are unknown, given twice or written in
// another case are errors, since a misspelled identity would match everybody
// (CVE-2025-29778). What it says is checked by [Compile].
func ParseTrust(content []byte) (*Trust, error) {
	if len(content) > maxTrust {
		return nil, fmt.Errorf("reading the trust configuration: it has %d bytes: use at most %d", len(content), maxTrust)
	}
	var t Trust
	strict, err := kjson.UnmarshalStrict(content, &t)
	if err == nil {
		err = errors.Join(strict...)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the trust configuration: %w", err)
	}
	return &t, nil
}
