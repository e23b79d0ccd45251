package policies

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Violation is one finding about one object, as far as excepting it goes.
type Violation struct {
	Policy string
	// Namespace is that of the object, "" for one without; Group, Kind and Name say which it is.
	Namespace, Group, Kind, Name string
	// Names is a glob that is excepted in the place of Name, "" for none: where objects come and go under names that a controller makes
	// up, the exception for today's pod would be none for the pod that takes its place.
	Names string
	// Container is the container that it is about, "" for the object as a whole.
	Container string
}

// Terms are what exceptions that are written for violations have in common. All are required.
type Terms struct {
	Reason, Owner string
	// Expires is as in an [Exception].
	Expires string
}

// Excepting writes the exceptions that waive just these violations until they expire, and nothing else of today's: what is
// running may go on while it is mended, and whatever comes new is judged. Violations of one policy by objects of one
// kind in one namespace share an exception, unless they are about different containers. An object whose name is not
// known cannot be excepted, and is an error.
//
// The result is sorted, and is the same for the same violations in any order.
func Excepting(violations []Violation, terms Terms) ([]Exception, error) {
	containers := map[Violation][]string{} // of each object, nil for one that violates as a whole
	for _, v := range violations {
		if v.Policy == "" || v.Kind == "" || v.Name == "" && v.Names == "" {
			return nil, fmt.Errorf("excepting a violation of %q: the kind or the name of the object (%s %q) is not known: give it a name", v.Policy, v.Kind, v.Name)
		}
		object := v
		object.Container = ""
		if v.Names != "" {
			object.Name = "" // all of that glob are one
		}
		known, seen := containers[object]
		switch {
		case v.Container == "" || seen && known == nil:
			containers[object] = nil
		case !slices.Contains(known, v.Container):
			containers[object] = append(known, v.Container)
		}
	}
	shared := map[string]*Exception{}
	for object, names := range containers {
		slices.Sort(names)
		key := strings.Join([]string{object.Policy, object.Namespace, object.Group, object.Kind, strings.Join(names, ",")}, "\x00")
		if shared[key] == nil {
			shared[key] = excepting(object, names, key, terms)
		}
		pattern := object.Names
		if pattern == "" {
			pattern = literal(object.Name)
		}
		shared[key].Selector.Names = append(shared[key].Selector.Names, pattern)
	}
	var exceptions []Exception
	var problems []error
	for _, key := range sortedKeys(shared) {
		slices.Sort(shared[key].Selector.Names)
		made, err := NewException(*shared[key])
		problems = append(problems, err)
		exceptions = append(exceptions, made)
	}
	slices.SortFunc(exceptions, func(a, b Exception) int { return cmp.Compare(a.Name, b.Name) })
	return exceptions, errors.Join(problems...)
}

// excepting is an exception for objects like one, without their names. Its own name is made of the policy and of a hash of
// all that it selects by, so that writing exceptions again gives the same.
func excepting(object Violation, containers []string, key string, terms Terms) *Exception {
	sum := sha256.Sum256([]byte(key))
	e := &Exception{
		APIVersion: APIVersion, Kind: "Exception",
		Name:   objectName(object.Policy) + "-" + hex.EncodeToString(sum[:4]),
		Policy: object.Policy, Reason: terms.Reason, Owner: terms.Owner, Expires: terms.Expires,
		Selector: ExceptionSelector{Kinds: []string{object.Group + "/" + object.Kind}},
	}
	if object.Namespace == "" {
		e.Selector.ClusterScoped = true
	} else {
		e.Selector.Namespaces = []string{literal(object.Namespace)}
	}
	for _, name := range containers {
		e.Selector.Containers = append(e.Selector.Containers, literal(name))
	}
	return e
}

// objectName is a policy's id as objects may be named (RFC 1123): "conftest-main-deny-x".
func objectName(id string) string {
	const most = 200 // of 253, so that something fits behind it
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(id))
	return strings.Trim(name[:min(len(name), most)], "-")
}

// literal is a glob that matches a name and nothing else.
func literal(name string) string {
	var b strings.Builder
	for _, r := range name {
		if strings.ContainsRune(`\*?[]{},!`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
