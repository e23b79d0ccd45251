package policies

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/workload"
)

// Exception waives findings of one policy for some objects until it expires. It
// lives in the bundle, signed and reviewed like the policies, or, where the bundle
// lets it (exceptionsFrom), in the cluster; nothing else a tenant can create there is
// an exception (CVE-2024-48921).
//
// Exceptions do not add up: a finding is waived by one exception that covers it
// whole, or not at all (GHSA-gg4x-fgg2-h9w9). Faults are never waived.
type Exception struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"` // "Exception"
	Name       string            `json:"name"`
	Policy     string            `json:"policy"`
	Selector   ExceptionSelector `json:"selector"`
	Reason     string            `json:"reason"`
	Owner      string            `json:"owner"`
	// Expires is RFC 3339, a date (its first instant in UTC) or a time. From then on
	// the exception waives nothing.
	Expires string `json:"expires"`
	// Grant says who grants it, nil for an exception of the bundle.
	Grant *Grant `json:"grant,omitempty"`

	expires                  time.Time
	namespaces, names, kinds globs
	containers               globs
}

// ExceptionSelector says what an exception covers. Namespaces (or ClusterScoped)
// is required; all that is given must match; strings are globs.
type ExceptionSelector struct {
	Namespaces    []string `json:"namespaces,omitempty"`
	ClusterScoped bool     `json:"clusterScoped,omitempty"`
	Kinds         []string `json:"kinds,omitempty"` // Kind or group/Kind
	Names         []string `json:"names,omitempty"`
	// Containers limits it to findings about these containers; findings about the
	// pod as a whole are then not waived.
	Containers []string `json:"containers,omitempty"`
}

func parseException(content []byte) (Exception, error) {
	var e Exception
	if err := decodeYAML(content, &e); err != nil {
		return e, fmt.Errorf("reading the exception: %w", err)
	}
	if e.Grant != nil {
		return e, fmt.Errorf("exception %q: grant is for exceptions of the cluster: leave it out", e.Name)
	}
	return NewException(e)
}

// NewException checks an exception and makes it ready for use.
func NewException(e Exception) (Exception, error) {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if e.APIVersion != APIVersion || e.Kind != "Exception" {
		report("apiVersion and kind are %q, %q: want %q, %q", e.APIVersion, e.Kind, APIVersion, "Exception")
	}
	for _, required := range []struct{ field, value string }{
		{"name", e.Name}, {"policy", e.Policy}, {"reason", e.Reason}, {"owner", e.Owner}, {"expires", e.Expires},
	} {
		if strings.TrimSpace(required.value) == "" {
			report("%s is required", required.field)
		}
	}
	if len(e.Selector.Namespaces) == 0 && !e.Selector.ClusterScoped {
		report("selector: give namespaces, or clusterScoped: true")
	}
	var err error
	if e.expires, err = ParseMoment(e.Expires); err != nil {
		report("expires: %w", err)
	}
	for _, list := range []struct {
		field    string
		patterns []string
		into     *globs
	}{
		{"namespaces", e.Selector.Namespaces, &e.namespaces},
		{"kinds", e.Selector.Kinds, &e.kinds},
		{"names", e.Selector.Names, &e.names},
		{"containers", e.Selector.Containers, &e.containers},
	} {
		if *list.into, err = compileGlobs(list.patterns); err != nil {
			report("selector.%s: %w", list.field, err)
		}
	}
	if len(problems) > 0 {
		return e, fmt.Errorf("exception %q: %w", e.Name, errors.Join(problems...))
	}
	return e, nil
}

// ParseMoment reads when an exception ends or a ramp rises: a day, for its first instant in UTC, or an RFC 3339 time.
func ParseMoment(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%q is neither a date like 2027-01-31 nor an RFC 3339 time", text)
	}
	return t, nil
}

// expired says whether the exception waives nothing any more.
func (e *Exception) expired(now time.Time) bool { return !now.Before(e.expires) }

// lapse is what a finding says that an expired exception was about.
func (e *Exception) lapse() string {
	return fmt.Sprintf(" (exception %s expired on %s)", e.title(), e.expires.UTC().Format(time.DateOnly))
}

// covers says whether the exception, unless it has expired, waives a finding about a request.
func (e *Exception) covers(r *Request, w *workload.Workload, finding *Finding) bool {
	if e.Policy != finding.Policy {
		return false
	}
	namespace := r.namespace()
	if namespace == "" && !e.Selector.ClusterScoped || namespace != "" && !e.namespaces.match(namespace) {
		return false
	}
	if e.kinds != nil && !e.kinds.match(r.Kind.Kind) && !e.kinds.match(r.Kind.Group+"/"+r.Kind.Kind) {
		return false
	}
	// generateName leaves the name to the API server: only a selector without names
	// can cover such a request.
	if e.names != nil && (r.Name == "" || !e.names.match(r.Name)) {
		return false
	}
	return e.containers == nil || e.coversContainer(w, finding.Path)
}

func (e *Exception) coversContainer(w *workload.Workload, path string) bool {
	if w == nil {
		return false
	}
	for i := range w.Containers {
		container := &w.Containers[i]
		if path == container.Path || strings.HasPrefix(path, container.Path+".") {
			return e.containers.match(container.Name)
		}
	}
	return false
}
