package metrics

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Description is what is known of a metric before it has a value.
type Description struct {
	Name   string   `json:"name"`
	Help   string   `json:"help"`
	Labels []string `json:"labels,omitempty"`
	// Bounds say why each of the labels has few values.
	Bounds map[string]string `json:"bounds,omitempty"`
	// Type is "counter", "gauge" or "histogram". Of our own metrics the name says it, see [TypeOf]; of others it is "".
	Type string `json:"type,omitempty"`
	// Series is how many are shown at most.
	Series int `json:"series"`
}

// foreign are the prefixes of metrics that are not ours to name.
var foreign = []string{"go_", "process_", "promhttp_"}

// Foreign says whether a metric is one of a library.
func (d Description) Foreign() bool {
	return slices.ContainsFunc(foreign, func(prefix string) bool { return strings.HasPrefix(d.Name, prefix) })
}

// subsystems are what may stand after portcullis_.
var subsystems = []string{
	"audit", "break_glass", "build", "bundle", "console", "controller", "evidence", "exception", "exceptions", "falco", "journal", "log", "metrics", "notify",
	"quarantine", "quarantines", "registration", "report", "responder", "scan", "scanner", "scans", "secrets", "tracing", "vault", "webhook",
}

// ours is the form of a name: portcullis_<subsystem>_<name>_<unit or total>. It ends in a letter, so that no unit has a number.
var ours = regexp.MustCompile(`^portcullis_[a-z]+(_[a-z]+)*$`)

// Check says which convention a metric breaks: https://prometheus.io/docs/practices/naming/, and labels that could take any number
// of values.
func (d Description) Check() error {
	for _, label := range d.Labels {
		if why := unbounded[label]; why != "" {
			return fmt.Errorf("its label %s %s: count by something that has few values, and write this into the log or the journal", label, why)
		}
	}
	if d.Foreign() {
		return nil
	}
	rest, found := strings.CutPrefix(d.Name, "portcullis_")
	if !found || !ours.MatchString(d.Name) {
		return errors.New("its name is not portcullis_<subsystem>_<name>_<unit or total>: rename it")
	}
	if !slices.ContainsFunc(subsystems, func(s string) bool { return rest == s || strings.HasPrefix(rest, s+"_") }) {
		return fmt.Errorf("no subsystem is called that: name it after one of %s, or add one", strings.Join(subsystems, ", "))
	}
	if d.Help == "" {
		return errors.New("it has no help: say what it counts")
	}
	return nil
}

// TypeOf is the type that a name of ours has to have: what ends in _total is a counter; a time that passes while something is done
// is a histogram; everything else is a gauge, times until or since something among them.
func TypeOf(name string) string {
	switch {
	case strings.HasSuffix(name, "_total"):
		return "counter"
	case strings.HasSuffix(name, "_age_seconds"), strings.HasSuffix(name, "_expiry_seconds"), strings.HasSuffix(name, "_timestamp_seconds"):
		return "gauge"
	case strings.HasSuffix(name, "_seconds"):
		return "histogram"
	}
	return "gauge"
}

// describe asks a collector what it collects.
func describe(collector prometheus.Collector) ([]Description, error) {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		collector.Describe(descs)
	}()
	var all []Description
	var failed error
	for desc := range descs { // to the end, so that who describes is not left hanging
		d, err := read(desc)
		if err != nil {
			failed = err
			continue
		}
		all = append(all, d)
	}
	if failed == nil && len(all) == 0 {
		failed = errors.New("registering metrics: a collector does not say which it has, so that nothing limits them: describe them")
	}
	return all, failed
}

// read takes the parts of a Desc from its text, which is the only way to see them
// (https://pkg.go.dev/github.com/prometheus/client_golang/prometheus#Desc.String).
func read(desc *prometheus.Desc) (Description, error) {
	if err := desc.Err(); err != nil {
		return Description{}, fmt.Errorf("registering metrics: %w", err)
	}
	text := desc.String()
	name, rest, err := quoted(text, "Desc{fqName: ")
	if err != nil {
		return Description{}, err
	}
	help, rest, err := quoted(rest, ", help: ")
	if err != nil {
		return Description{}, err
	}
	at := strings.LastIndex(rest, "variableLabels: {")
	if at < 0 {
		return Description{}, fmt.Errorf("reading the description of a metric: it has no labels: %s", text)
	}
	d := Description{Name: name, Help: help}
	if !d.Foreign() {
		d.Type = TypeOf(name)
	}
	if labels := strings.TrimSuffix(rest[at+len("variableLabels: {"):], "}}"); labels != "" {
		d.Labels = strings.Split(labels, ",")
		d.Bounds = make(map[string]string, len(d.Labels))
		for _, label := range d.Labels {
			d.Bounds[label] = bounded[label]
		}
	}
	return d, nil
}

func quoted(text, prefix string) (value, rest string, err error) {
	rest, found := strings.CutPrefix(text, prefix)
	if !found {
		return "", "", fmt.Errorf("reading the description of a metric: %q is not where it should be: %s", prefix, text)
	}
	literal, err := strconv.QuotedPrefix(rest)
	if err == nil {
		value, err = strconv.Unquote(literal)
	}
	if err != nil {
		return "", "", fmt.Errorf("reading the description of a metric: %w: %s", err, text)
	}
	return value, rest[len(literal):], nil
}
