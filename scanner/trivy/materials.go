//go:build goexperiment.jsonv2

package trivy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/aquasecurity/trivy/pkg/report/cyclonedx"
	"github.com/aquasecurity/trivy/pkg/report/spdx"
	"github.com/aquasecurity/trivy/pkg/types"
	"github.com/google/uuid"
)

// materials writes what is in the image as CycloneDX and SPDX, with Trivy's own writers. Vulnerabilities are left
// out: an SBOM is about the image, and stays true when the database changes.
func materials(ctx context.Context, report types.Report, digest, started string) (cycloneDX, spdxJSON []byte, err error) {
	at, err := time.Parse(time.RFC3339, started)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the time of the SBOM: %w", err)
	}
	// The writers draw serial numbers and references at random. Drawn from the digest and the time, they are the
	// same for the same SBOM. The caller holds [process]; nothing else draws meanwhile.
	defer uuid.SetRand(nil)
	ctx = withClock(ctx, at)
	report = withoutFindings(report)

	uuid.SetRand(drawn("cyclonedx", digest, started))
	var buffer bytes.Buffer
	if err := cyclonedx.NewWriter(&buffer, Version).Write(ctx, report); err != nil {
		return nil, nil, fmt.Errorf("writing the SBOM as CycloneDX: %w", err)
	}
	cycloneDX = bytes.Clone(buffer.Bytes())

	uuid.SetRand(drawn("spdx", digest, started))
	buffer.Reset()
	if err := spdx.NewWriter(&buffer, Version, types.FormatSPDXJSON).Write(ctx, report); err != nil {
		return nil, nil, fmt.Errorf("writing the SBOM as SPDX: %w", err)
	}
	return cycloneDX, buffer.Bytes(), nil
}

func withoutFindings(report types.Report) types.Report {
	var results types.Results
	for _, result := range report.Results {
		if result.Class != types.ClassOSPkg && result.Class != types.ClassLangPkg {
			continue
		}
		result.Vulnerabilities = nil
		results = append(results, result)
	}
	report.Results = results
	return report
}

// stream of bytes that look random and are the same for the same seed.
type draw struct {
	seed  [sha256.Size]byte
	count uint64
	rest  []byte
}

func drawn(parts ...string) *draw {
	return &draw{seed: sha256.Sum256(fmt.Appendf(nil, "%q", parts))}
}

func (d *draw) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(d.rest) == 0 {
			block := sha256.Sum256(binary.BigEndian.AppendUint64(d.seed[:], d.count))
			d.count, d.rest = d.count+1, block[:]
		}
		copied := copy(p[n:], d.rest)
		n, d.rest = n+copied, d.rest[copied:]
	}
	return len(p), nil
}
