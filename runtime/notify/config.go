package notify

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	eventsclient "k8s.io/client-go/kubernetes/typed/events/v1"

	"github.com/portcullis-dev/portcullis/admission/manifest"
)

// Config is the file that says who is told. It holds no secret: [Endpoint] names them.
type Config struct {
	// Cluster is how messages name the cluster, "" for not at all.
	Cluster string `json:"cluster,omitempty"`
	// Receivers are who is told, each with a queue of its own.
	Receivers []ReceiverConfig `json:"receivers"`
}

// ReceiverConfig is one receiver: just one of Events, Alertmanager, Slack and CloudEvents.
type ReceiverConfig struct {
	// Name tells it apart in metrics and logs: lower-case letters, digits and dashes.
	Name string `json:"name"`
	// Severity is the lowest one that it is told: critical, high, medium or low, which is the default. What pages is always told.
	Severity Severity `json:"severity,omitempty"`
	// Kinds are what it is told, all by default.
	Kinds []Kind `json:"kinds,omitempty"`

	Events       *EventsConfig       `json:"events,omitempty"`
	Alertmanager *AlertmanagerConfig `json:"alertmanager,omitempty"`
	Slack        *Endpoint           `json:"slack,omitempty"`
	CloudEvents  *CloudEventsConfig  `json:"cloudEvents,omitempty"`
}

// EventsConfig makes Events of Kubernetes. There is nothing to configure.
type EventsConfig struct{}

// AlertmanagerConfig posts alerts. With several URLs each is told everything, as Alertmanagers of one cluster want it
// (https://prometheus.io/docs/alerting/latest/high_availability/); each has a queue of its own.
type AlertmanagerConfig struct {
	Endpoint `json:",inline"`
	// URLs are addresses without /api/v2/alerts, instead of url.
	URLs []string `json:"urls,omitempty"`
	// Labels are added to all alerts.
	Labels map[string]string `json:"labels,omitempty"`
}

// CloudEventsConfig posts events.
type CloudEventsConfig struct {
	Endpoint `json:",inline"`
	// Mode is structured or binary, structured by default.
	Mode string `json:"mode,omitempty"`
}

// Limits of the file.
const (
	maxConfig    = 1 << 20
	maxReceivers = 50
)

var (
	receiverName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	labelName    = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`) // https://prometheus.io/docs/concepts/data_model/
)

// ReadConfig reads a configuration. Unknown fields are refused, and all mistakes are told at once.
func ReadConfig(content []byte) (*Config, error) {
	if len(content) > maxConfig {
		return nil, fmt.Errorf("reading the configuration of notifications: it has %d bytes, and the limit is %d", len(content), maxConfig)
	}
	converted, err := manifest.YAMLToJSON(content)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of notifications: %w", err)
	}
	config := &Config{}
	if err := json.Unmarshal(converted, config, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reading the configuration of notifications: %w: docs/notify.md says what it may hold", err)
	}
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("reading the configuration of notifications: %w", err)
	}
	return config, nil
}

func (c *Config) check() error {
	var problems []error
	if len(c.Receivers) == 0 {
		problems = append(problems, errors.New("there are no receivers: name some, or leave the file out"))
	}
	if len(c.Receivers) > maxReceivers {
		problems = append(problems, fmt.Errorf("there are %d receivers, and the limit is %d", len(c.Receivers), maxReceivers))
	}
	names := map[string]bool{}
	for n := range c.Receivers {
		r := &c.Receivers[n]
		if err := r.check(); err != nil {
			problems = append(problems, fmt.Errorf("receivers[%d]: %w", n, err))
		}
		if names[r.Name] {
			problems = append(problems, fmt.Errorf("receivers[%d]: the name %q is taken: use another one", n, r.Name))
		}
		names[r.Name] = true
	}
	return errors.Join(problems...)
}

func (r *ReceiverConfig) check() error {
	var problems []error
	if !receiverName.MatchString(r.Name) {
		problems = append(problems, fmt.Errorf("name %.70q: use lower-case letters, digits and dashes, at most 63", r.Name))
	}
	if r.Severity != "" && !slices.Contains(Severities(), r.Severity) {
		problems = append(problems, fmt.Errorf("severity %.40q: use one of %s", r.Severity, joined(Severities())))
	}
	for _, kind := range r.Kinds {
		if !slices.Contains(Kinds(), kind) {
			problems = append(problems, fmt.Errorf("kinds: there is no %.40q: use some of %s", kind, joined(Kinds())))
		}
	}
	given := 0
	for _, is := range []bool{r.Events != nil, r.Alertmanager != nil, r.Slack != nil, r.CloudEvents != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		problems = append(problems, fmt.Errorf("%d of events, alertmanager, slack and cloudEvents are there: give one", given))
	}
	if a := r.Alertmanager; a != nil {
		for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
			if !labelName.MatchString(name) {
				problems = append(problems, fmt.Errorf("labels: %.70q is no name of a label: use letters, digits and _", name))
			}
		}
		if len(a.URLs) > 0 && a.URL+a.URLFile+a.URLEnv != "" {
			problems = append(problems, errors.New("urls and url contradict each other: leave one out"))
		}
	}
	if c := r.CloudEvents; c != nil && !slices.Contains([]string{"", ModeStructured, ModeBinary}, c.Mode) {
		problems = append(problems, fmt.Errorf("mode %.40q: use %s or %s", c.Mode, ModeStructured, ModeBinary))
	}
	return errors.Join(problems...)
}

func joined[T ~string](all []T) string {
	texts := make([]string, 0, len(all))
	for _, one := range all {
		texts = append(texts, string(one))
	}
	return strings.Join(texts, ", ")
}

// Surroundings are what receivers need beside their configuration.
type Surroundings struct {
	// Events is a client for Events of Kubernetes, Namespace the responder's own, Instance tells replicas apart.
	Events              eventsclient.EventsGetter
	Namespace, Instance string
	// Environment looks a variable up, as os.LookupEnv does.
	Environment func(string) (string, bool)
}

// Routes are the receivers. Secrets are read once, so that a mistake is told at the start; nothing is sent.
func (c *Config) Routes(s Surroundings) ([]Route, error) {
	if s.Environment == nil {
		s.Environment = func(string) (string, bool) { return "", false }
	}
	var routes []Route
	var problems []error
	for n := range c.Receivers {
		r := &c.Receivers[n]
		receivers, err := c.receivers(r, &s)
		if err != nil {
			problems = append(problems, fmt.Errorf("the receiver %s of notifications: %w", r.Name, err))
		}
		for _, receiver := range receivers {
			routes = append(routes, Route{Receiver: receiver, Severity: r.Severity, Kinds: r.Kinds})
		}
	}
	return routes, errors.Join(problems...)
}

// receivers makes what one entry stands for.
func (c *Config) receivers(r *ReceiverConfig, s *Surroundings) ([]Receiver, error) {
	switch {
	case r.Events != nil:
		if s.Events == nil {
			return nil, errors.New("events needs a cluster")
		}
		return []Receiver{NewEvents(r.Name, s.Events, s.Namespace, s.Instance)}, nil
	case r.Alertmanager != nil:
		return c.alertmanagers(r, s)
	case r.Slack != nil:
		to, err := newPoster(*r.Slack, s.Environment)
		return []Receiver{&Slack{name: r.Name, cluster: c.Cluster, poster: to}}, err
	default:
		to, err := newPoster(r.CloudEvents.Endpoint, s.Environment)
		return []Receiver{&CloudEvents{name: r.Name, cluster: c.Cluster, binary: r.CloudEvents.Mode == ModeBinary, poster: to}}, err
	}
}

func (c *Config) alertmanagers(r *ReceiverConfig, s *Surroundings) ([]Receiver, error) {
	labels := maps.Clone(r.Alertmanager.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	if c.Cluster != "" && labels["cluster"] == "" {
		labels["cluster"] = c.Cluster
	}
	endpoints := []Endpoint{r.Alertmanager.Endpoint}
	if len(r.Alertmanager.URLs) > 0 {
		endpoints = nil
		for _, address := range r.Alertmanager.URLs {
			one := r.Alertmanager.Endpoint
			one.URL = address
			endpoints = append(endpoints, one)
		}
	}
	var receivers []Receiver
	var problems []error
	for n, endpoint := range endpoints {
		name := r.Name
		if len(endpoints) > 1 {
			name = fmt.Sprintf("%s/%d", r.Name, n)
		}
		to, err := newPoster(endpoint, s.Environment)
		problems = append(problems, err)
		receivers = append(receivers, &Alertmanager{name: name, poster: to, labels: labels, fired: map[string]map[string]Severity{}})
	}
	return receivers, errors.Join(problems...)
}
