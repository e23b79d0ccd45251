package workload

import (
	"bytes"
	"errors"
)

// An object of a few megabytes must not become gigabytes: "{}" in a list of
// containers takes three bytes in JSON and more than a kilobyte in the normal form.
const (
	// maxObjects bounds the objects and nulls in one object. The largest pods have some
	// thousands, managed fields included.
	maxObjects = 50_000
	// maxItems bounds what the pods of one object share: a workflow's volumes appear in
	// each of its templates.
	maxItems = 50_000
	// maxKey bounds keys that become part of paths; Kubernetes' own names are no longer.
	maxKey = 253
	// maxOpen bounds the text of the paths of expressions listed for one part of an object.
	maxOpen = 64 << 10
)

// checkSize refuses objects that could become too large.
func checkSize(raw []byte) error {
	if len(raw) <= maxObjects {
		return nil
	}
	if bytes.Count(raw, []byte("{"))+bytes.Count(raw, []byte("null")) > maxObjects {
		return errors.New("it has more than 50000 objects: split it")
	}
	return nil
}

// tally counts what pods of one object share.
type tally int

func (t *tally) add(p *pod) error {
	s := &p.spec
	*t += tally(len(p.containers) + len(p.volumes) + len(p.unresolved) + len(p.secrets) + len(p.metadata.Labels) + len(p.metadata.Annotations) +
		len(s.Tolerations) + len(s.HostAliases) + len(s.ImagePullSecrets) + len(s.NodeSelector) + len(s.ResourceClaims) + len(s.SecurityContext.Sysctls))
	if *t > maxItems {
		return errors.New("its templates have more than 50000 containers, volumes and settings together: split it")
	}
	return nil
}
