//go:build goexperiment.jsonv2

package trivy

import (
	"fmt"

	xos "github.com/aquasecurity/trivy/pkg/x/os"
)

// Cleanup removes the directory for temporary files that Trivy makes once in a process. Nothing can be analysed
// afterwards: it is for the end of a program.
func Cleanup() error {
	if err := xos.Cleanup(); err != nil {
		return fmt.Errorf("removing temporary files: %w", err)
	}
	return nil
}
