package rescan

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
)

// kind is that of the queue's objects.
var kind = stored.Kind{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: v1alpha1.Kind, Resource: v1alpha1.Resource.Resource, Watchable: true}

// scan is what is kept of an ImageScan.
type scan struct {
	phase v1alpha1.Phase
	// waiting says that a scan is asked for, or under way.
	waiting bool
	// finished is when the last scan ended, zero for none; database when that was made which it was made with.
	finished, database time.Time
	critical, high     int64
}

// read reads an ImageScan, without the signed scan in it, which is large.
func read(object audit.Object) (digest string, s scan, err error) {
	var stored struct {
		Spec struct {
			Digest      string    `json:"digest"`
			RequestedAt time.Time `json:"requestedAt"`
		} `json:"spec"`
		Status struct {
			Phase      v1alpha1.Phase `json:"phase"`
			FinishedAt time.Time      `json:"finishedAt"`
			Database   struct {
				UpdatedAt time.Time `json:"updatedAt"`
			} `json:"database"`
			Vulnerabilities struct {
				Critical int64 `json:"critical"`
				High     int64 `json:"high"`
			} `json:"vulnerabilities"`
		} `json:"status"`
	}
	if err := json.Unmarshal(object.Raw, &stored); err != nil {
		return "", scan{}, fmt.Errorf("reading the ImageScan %s: %w", object.Name, err)
	}
	status := &stored.Status
	s = scan{
		phase: status.Phase, finished: status.FinishedAt, database: status.Database.UpdatedAt,
		critical: status.Vulnerabilities.Critical, high: status.Vulnerabilities.High,
	}
	switch s.phase {
	case v1alpha1.PhaseDone:
		s.waiting = stored.Spec.RequestedAt.After(s.finished)
	case v1alpha1.PhaseFailed: // it is tried again by itself
	default:
		s.waiting = true
	}
	return stored.Spec.Digest, s, nil
}
