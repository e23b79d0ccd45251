package cluster

import (
	"context"
	"io"

	"github.com/portcullis-dev/portcullis/test/binary"
)

// BinaryVariable names a control plane binary to use instead of building one.
const BinaryVariable = "PORTCULLIS_CONTROLPLANE"

var controlPlane = binary.Program{Title: "Kubernetes control plane", Module: "controlplane", Variable: BinaryVariable, Duration: "five to ten minutes"}

// Binary returns the path of the control plane binary of test/controlplane. It is
// built once for each state of its sources, which takes five to ten minutes and
// is told on progress; whoever else wants it meanwhile waits.
func Binary(ctx context.Context, progress io.Writer) (string, error) {
	return controlPlane.Path(ctx, progress)
}
