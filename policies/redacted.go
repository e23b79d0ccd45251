package policies

import "strings"

// redacted is the first path of a request that a journal has replaced and that an instance can read, "" for none.
// What is in the raw object can show in the normal form, too.
func (i *instance) redacted(r *Request, phase Phase) string {
	for _, path := range r.Redacted {
		for _, effect := range phase.effects() {
			if reads := i.unit.reads[effect]; reads != nil && reads.meets(path) {
				return path
			}
		}
	}
	return ""
}

// meets says whether a path of the request, or a value of the normal form that is made from it, is read.
func (s *readSet) meets(path string) bool {
	section, rest, _ := strings.Cut(path, ".")
	if s.fields[section].reaches(splitPath(rest)) {
		return true
	}
	if section != "object" && section != "oldObject" {
		return false
	}
	if rest == "" { // all of it, and so all that is made of it
		return true
	}
	// An annotation of a pod, and a value of a variable, are in the normal form of the workload.
	if strings.HasPrefix(rest, "metadata.annotations") && s.fields["workload"].field("annotations") != nil {
		return true
	}
	container := s.fields["workload"].field("containers").item()
	return strings.HasSuffix(path, "].value") && strings.Contains(path, ".env[") &&
		container.field("env").item().field("value") != nil
}
