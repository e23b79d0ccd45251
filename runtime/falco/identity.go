package falco

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// identity is the hash of what an event says, the same by whatever way it came: falcosidekick adds a uuid and sorts the
// tags, gRPC writes numbers as text. Each part is written with its length, so that no two events are written alike.
func identity(e *response.Event) string {
	out := make([]byte, 0, 2048)
	out = part(out, e.Source)
	out = part(out, e.Rule)
	out = binary.AppendVarint(out, int64(e.Priority))
	out = binary.AppendVarint(out, e.Time.Unix())
	out = binary.AppendVarint(out, int64(e.Time.Nanosecond()))
	out = part(out, e.Output)
	out = part(out, e.Hostname)
	out = binary.AppendUvarint(out, uint64(len(e.Tags)))
	for _, tag := range e.Tags {
		out = part(out, tag)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		out = value(part(out, name), e.Fields[name])
	}
	sum := sha256.Sum256(out)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func part(out []byte, text string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(text))), text...)
}

// value writes a value after the letter of its type.
func value(out []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return part(append(out, 's'), v)
	case json.Number:
		return part(append(out, 'n'), v.String())
	case bool:
		if v {
			return append(out, 't')
		}
		return append(out, 'f')
	case []any:
		out = binary.AppendUvarint(append(out, 'l'), uint64(len(v)))
		for _, element := range v {
			out = value(out, element)
		}
	}
	return out
}

// textNames are the words that the texts of Falco's rules put before names of pods and containers.
var textNames = map[string]string{
	"k8s.ns": "k8s.ns.name", "k8s.ns.name": "k8s.ns.name", "k8s_ns_name": "k8s.ns.name", "k8s_ns": "k8s.ns.name",
	"k8s.pod": "k8s.pod.name", "k8s.pod.name": "k8s.pod.name", "k8s_pod_name": "k8s.pod.name", "k8s_pod": "k8s.pod.name",
	"k8s.pod.uid": "k8s.pod.uid", "k8s_pod_uid": "k8s.pod.uid",
	"container": "container.id", "container.id": "container.id", "container_id": "container.id",
}

// readText notes the names that only the text of an event has, as fields "text.k8s.pod.name" and so on. They tell people
// where to look, and nothing is done on their word: the text holds command lines and file names, too, so whoever runs
// a command in one pod can write the name of another there.
func readText(e *response.Event) {
	for name := range e.Fields {
		if strings.HasPrefix(name, "k8s.") || strings.HasPrefix(name, "k8smeta.") || strings.HasPrefix(name, "ka.") {
			return
		}
	}
	found := map[string]string{}
	for _, word := range strings.FieldsFunc(e.Output, func(c rune) bool { return strings.ContainsRune(" \t\n(),;\"'", c) }) {
		name, held, _ := strings.Cut(word, "=")
		field, known := textNames[name]
		if !known || held == "" || held == "<NA>" {
			continue
		}
		if before, twice := found[field]; twice && before != held {
			held = "" // two say different things
		}
		found[field] = held
	}
	for field, held := range found {
		if _, has := e.Fields[field]; has || held == "" {
			continue
		}
		if e.Fields == nil {
			e.Fields = map[string]any{}
		}
		e.Fields["text."+field] = held
	}
}
