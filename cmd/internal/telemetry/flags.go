package telemetry

import (
	"io"
	"log/slog"
	"net/url"
	"slices"

	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/spf13/pflag"
)

// DefaultSample is the share of traces that are kept of those that begin here.
const DefaultSample = 0.01

// The forms of log lines.
const (
	FormatJSON = "json"
	FormatText = "text"
)

// Flags are those of logs and traces.
type Flags struct {
	Endpoint  string
	Sample    float64
	LogFormat string

	lines *lines // of Logger
}

// Register adds the flags to a set.
func (f *Flags) Register(set *pflag.FlagSet) {
	set.StringVar(&f.Endpoint, "otlp-endpoint", "", "`URL` of an OpenTelemetry collector that traces are sent to over HTTP, such as http://collector.monitoring:4318; by default nothing is traced")
	set.Float64Var(&f.Sample, "trace-sample", DefaultSample, "`share` from 0 to 1 of traces kept of those that begin here; those that the API server or another caller began are kept if it keeps them")
	set.StringVar(&f.LogFormat, "log-format", FormatJSON, "`form` of log lines: json or text")
}

// Check finds mistakes. Its errors are those of usage.
func (f *Flags) Check() error {
	if !slices.Contains([]string{FormatJSON, FormatText}, f.LogFormat) {
		return usage.Errorf("--log-format is %q: give json or text", f.LogFormat)
	}
	if !(f.Sample >= 0 && f.Sample <= 1) {
		return usage.Errorf("--trace-sample is %v: give a share from 0 to 1, such as 0.01", f.Sample)
	}
	if f.Endpoint == "" {
		return nil
	}
	parsed, err := url.Parse(f.Endpoint)
	switch {
	case err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https":
		return usage.Errorf("--otlp-endpoint is no address of a collector: give a URL such as http://collector.monitoring:4318, https:// where it has a certificate")
	case parsed.User != nil:
		return usage.Errorf("--otlp-endpoint holds credentials, which command lines show to everybody: give them as a header in OTEL_EXPORTER_OTLP_HEADERS")
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return usage.Errorf("--otlp-endpoint has a query or a fragment, which collectors do not take: leave it out")
	}
	return nil
}

// Logger writes lines of a level and above to w. A form that [Flags.Check] refuses is taken for JSON.
func (f *Flags) Logger(w io.Writer, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var next slog.Handler = slog.NewJSONHandler(w, options)
	if f.LogFormat == FormatText {
		next = slog.NewTextHandler(w, options)
	}
	handler := newHandler(next)
	f.lines = handler.lines
	return slog.New(handler)
}
