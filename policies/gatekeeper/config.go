package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
)

// process is a part of Gatekeeper that namespaces can be excluded from.
type process string

// The processes that Config knows.
const (
	processWebhook  process = "webhook"
	processAudit    process = "audit"
	processSync     process = "sync"
	processMutation process = "mutation-webhook"
	processAll      process = "*"
)

// processOf is the process that does in Gatekeeper what a door does. The gate foretells what the webhook will say.
func processOf(door policies.Door) process {
	if door == policies.DoorAudit {
		return processAudit
	}
	return processWebhook
}

// config is what Config and SyncSets say.
type config struct {
	excluded map[process][]wildcard
	synced   []gvk
}

type configSpec struct {
	Spec struct {
		Sync struct {
			SyncOnly []gvk `json:"syncOnly"`
		} `json:"sync"`
		Match []struct {
			Processes          []process  `json:"processes"`
			ExcludedNamespaces []wildcard `json:"excludedNamespaces"`
		} `json:"match"`
	} `json:"spec"`
}

type syncSetSpec struct {
	Spec struct {
		GVKs []gvk `json:"gvks"`
	} `json:"spec"`
}

func (c *config) addConfig(d *document) error {
	if d.name != "config" {
		return fmt.Errorf("%s: Gatekeeper reads no Config but the one named config: rename it", d.title)
	}
	var spec configSpec
	if err := d.decode(&spec, false); err != nil {
		return fmt.Errorf("%s: %w", d.title, err)
	}
	for _, entry := range spec.Spec.Match {
		for _, name := range entry.Processes {
			if err := c.exclude(name, entry.ExcludedNamespaces); err != nil {
				return fmt.Errorf("%s: %w", d.title, err)
			}
		}
	}
	return c.sync(d, spec.Spec.Sync.SyncOnly)
}

func (c *config) exclude(name process, namespaces []wildcard) error {
	processes := []process{name}
	switch name {
	case processAll:
		processes = []process{processWebhook, processAudit, processSync, processMutation}
	case processWebhook, processAudit, processSync, processMutation:
	default:
		return fmt.Errorf("spec.match: the process %q is not known: use audit, webhook, mutation-webhook, sync or *", name)
	}
	if c.excluded == nil {
		c.excluded = map[process][]wildcard{}
	}
	for _, one := range processes {
		c.excluded[one] = append(c.excluded[one], namespaces...)
	}
	return nil
}

func (c *config) addSyncSet(d *document) error {
	var spec syncSetSpec
	if err := d.decode(&spec, false); err != nil {
		return fmt.Errorf("%s: %w", d.title, err)
	}
	return c.sync(d, spec.Spec.GVKs)
}

func (c *config) sync(d *document, kinds []gvk) error {
	for _, kind := range kinds {
		if kind.Kind == "" || kind.Version == "" {
			return fmt.Errorf("%s: an entry to sync lacks version or kind", d.title)
		}
		if !slices.Contains(c.synced, kind) {
			c.synced = append(c.synced, kind)
		}
	}
	return nil
}

// excludes says whether a process passes over a namespace; "" is none.
func (c *config) excludes(p process, namespace string) bool {
	return namespace != "" && matchesAny(c.excluded[p], namespace)
}

// requiredSync are the kinds that a template's annotation requires: all of a list of requirements, each to be met by one of
// several kinds.
type requiredSync [][]struct {
	Groups   []string `json:"groups"`
	Versions []string `json:"versions"`
	Kinds    []string `json:"kinds"`
}

// syncData reads the annotation, whose JSON is often in quotes of its own.
func syncData(annotation string) ([][]gvk, error) {
	text := strings.Trim(strings.TrimSpace(annotation), "\"")
	if text == "" {
		return nil, nil
	}
	var required requiredSync
	if err := json.Unmarshal([]byte(text), &required); err != nil {
		return nil, fmt.Errorf("reading the annotation %s: %w", syncAnnotation, err)
	}
	var all [][]gvk
	for _, requirement := range required {
		var alternatives []gvk
		for _, one := range requirement {
			for _, group := range one.Groups {
				for _, version := range one.Versions {
					for _, kind := range one.Kinds {
						alternatives = append(alternatives, gvk{group, version, kind})
					}
				}
			}
		}
		if len(alternatives) == 0 {
			return nil, fmt.Errorf("the annotation %s has a requirement without kinds", syncAnnotation)
		}
		all = append(all, alternatives)
	}
	return all, nil
}

// declare decides which kinds a template's inventory holds: of those that it can look up, those that a Config or a SyncSet
// syncs, and, of each requirement of its annotation that none of them meets, one. Groups that the API server serves no
// more ("extensions") are the last choice. A kind that it can look up and nobody declares would always be missing, and is
// an error.
func (t *template) declare(c *config) error {
	if t.inventory == nil {
		return nil
	}
	required, err := syncData(t.annotations[syncAnnotation])
	if err != nil {
		return err
	}
	for _, kind := range c.synced {
		if t.inventory.may(kind.Kind) {
			t.reading = append(t.reading, kind)
		}
	}
	for _, alternatives := range required {
		alternatives = slices.DeleteFunc(alternatives, func(k gvk) bool { return !t.inventory.may(k.Kind) })
		met := slices.ContainsFunc(alternatives, func(k gvk) bool { return slices.Contains(c.synced, k) })
		if met || len(alternatives) == 0 {
			continue
		}
		chosen := alternatives[0]
		for _, alternative := range alternatives[1:] {
			if chosen.Group == "extensions" && alternative.Group != "extensions" {
				chosen = alternative
			}
		}
		t.reading = append(t.reading, chosen)
	}
	return t.undeclared()
}

// undeclared is an error that says what to add, nil if all that is looked up is declared.
func (t *template) undeclared() error {
	var missing []string
	for _, kind := range sortedKeys(t.inventory.kinds) {
		if !slices.ContainsFunc(t.reading, func(k gvk) bool { return k.Kind == kind }) {
			missing = append(missing, kind)
		}
	}
	switch {
	case len(missing) > 0:
		return fmt.Errorf("it looks up %s in data.inventory and nothing syncs that: add it to spec.sync.syncOnly of the Config, to a SyncSet, or to the annotation %s", strings.Join(missing, ", "), syncAnnotation)
	case len(t.reading) == 0:
		return errors.New("it reads data.inventory and nothing is synced: add the kinds it looks up to spec.sync.syncOnly of the Config, to a SyncSet, or to the annotation " + syncAnnotation)
	}
	return nil
}
