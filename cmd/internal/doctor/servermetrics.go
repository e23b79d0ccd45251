package doctor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

// maxServerMetrics is how much of the API server's metrics is read, in bytes: those of a large cluster are some ten megabytes.
const maxServerMetrics = 64 << 20

// serverMetrics are one family of the API server's own metrics: all others are passed over as they come.
func (p *patient) serverMetrics(ctx context.Context, name string) (installation.Metrics, error) {
	body, err := p.Client.Discovery().RESTClient().Get().AbsPath("/metrics").Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return family(io.LimitReader(body, maxServerMetrics), name)
}

// family reads one family out of many.
func family(text io.Reader, name string) (installation.Metrics, error) {
	const longest, most = 1 << 20, 1 << 20 // bytes of a line, and of the family
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, longest)
	var kept strings.Builder
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") || strings.HasPrefix(line, "# TYPE "+name+" ") {
			if kept.Len()+len(line) > most {
				return nil, fmt.Errorf("reading the metric %s of the API server: it has more than %d bytes", name, most)
			}
			kept.WriteString(line + "\n")
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the metrics of the API server: %w", err)
	}
	return installation.ParseMetrics(strings.NewReader(kept.String()))
}
