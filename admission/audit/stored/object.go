package stored

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/portcullis-dev/portcullis/admission/audit"
)

// lastApplied repeats the object as kubectl last applied it.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// object makes an object of an item of a list, which has neither kind nor apiVersion where the API server knows them.
func (k Kind) object(item []byte) (audit.Object, error) {
	object := audit.Object{Reference: audit.Reference{Group: k.Group, Version: k.Version, Kind: k.Kind, Resource: k.Resource}}
	raw, head, err := k.project(item)
	if err != nil {
		return object, fmt.Errorf("reading an object of %s: %w", k.GroupResource(), err)
	}
	object.Raw, object.Namespace, object.Name, object.UID = raw, head.Namespace, head.Name, head.UID
	object.ResourceVersion, object.Content = head.ResourceVersion, head.content
	return object, nil
}

type head struct {
	Namespace       string `json:"namespace"`
	Name            string `json:"name"`
	UID             string `json:"uid"`
	ResourceVersion string `json:"resourceVersion"`
	content         uint64
}

// seed is that of the hashes of one process, which are not kept.
var seed = maphash.MakeSeed()

// passing are members of metadata that change with every write, or that nobody wants anything by.
var passing = []string{"managedFields", "resourceVersion", "generation"}

// project copies an object without managedFields and lastApplied. Everything else is copied as it is, without being decoded.
func (k Kind) project(item []byte) (raw []byte, h head, err error) {
	out := bytes.NewBuffer(make([]byte, 0, len(item)+64))
	fmt.Fprintf(out, `{"apiVersion":%q,"kind":%q`, audit.Reference{Group: k.Group, Version: k.Version}.APIVersion(), k.Kind)
	var content maphash.Hash
	content.SetSeed(seed)
	defer func() { h.content = content.Sum64() }()
	err = members(item, func(name string, value jsontext.Value) error {
		switch name {
		case "apiVersion", "kind":
			return nil
		case "status":
			// Of a status only this says whether anything runs, and what.
			var status struct {
				Phase jsontext.Value `json:"phase"`
			}
			if json.Unmarshal(value, &status) == nil {
				content.Write(status.Phase)
			}
			if k.GroupResource() == "pods" {
				pulled(&content, value)
			}
		case "metadata":
			if err := json.Unmarshal(value, &h); err != nil {
				return err
			}
			err := members(value, func(name string, value jsontext.Value) error {
				if !slices.Contains(passing, name) {
					content.WriteString(name)
					content.Write(value)
				}
				return nil
			})
			if err != nil {
				return err
			}
			out.WriteString(`,"metadata":`)
			return copyWithout(out, value, func(name string) bool { return name == "managedFields" }, "annotations")
		default:
			content.WriteString(name)
			content.Write(value)
		}
		return member(out, name, value, false)
	})
	out.WriteByte('}')
	return out.Bytes(), h, err
}

// pulled adds to a hash which images the containers of a pod run.
func pulled(content *maphash.Hash, value jsontext.Value) {
	type containers []struct {
		ImageID string `json:"imageID"`
	}
	var status struct {
		Containers containers `json:"containerStatuses"`
		Init       containers `json:"initContainerStatuses"`
		Ephemeral  containers `json:"ephemeralContainerStatuses"`
	}
	if json.Unmarshal(value, &status) != nil {
		return
	}
	for _, all := range []containers{status.Containers, status.Init, status.Ephemeral} {
		for _, c := range all {
			content.WriteString(c.ImageID)
			content.WriteByte(0)
		}
	}
}

// copyWithout copies an object without some members; inside is one whose own member lastApplied is left out.
func copyWithout(out *bytes.Buffer, object jsontext.Value, drop func(string) bool, inside string) error {
	if object.Kind() != '{' {
		_, err := out.Write(object)
		return err
	}
	out.WriteByte('{')
	first := true
	err := members(object, func(name string, value jsontext.Value) error {
		if drop(name) {
			return nil
		}
		if name != inside || !bytes.Contains(value, []byte(lastApplied)) {
			err := member(out, name, value, first)
			first = false
			return err
		}
		if !first {
			out.WriteByte(',')
		}
		first = false
		fmt.Fprintf(out, "%q:", name)
		return copyWithout(out, value, func(name string) bool { return name == lastApplied }, "")
	})
	out.WriteByte('}')
	return err
}

func member(out *bytes.Buffer, name string, value jsontext.Value, first bool) error {
	if !first {
		out.WriteByte(',')
	}
	quoted, err := jsontext.AppendQuote(nil, name)
	if err != nil {
		return err
	}
	out.Write(quoted)
	out.WriteByte(':')
	out.Write(value)
	return nil
}

// members visits the members of an object, in order.
func members(object []byte, visit func(name string, value jsontext.Value) error) error {
	decoder := jsontext.NewDecoder(bytes.NewReader(object))
	token, err := decoder.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != '{' {
		return fmt.Errorf("it is no object but begins with %s", token)
	}
	for decoder.PeekKind() != '}' {
		name, err := decoder.ReadToken()
		if err != nil {
			return err
		}
		key := name.String()
		value, err := decoder.ReadValue()
		if err != nil {
			return err
		}
		if err := visit(key, value); err != nil {
			return err
		}
	}
	_, err = decoder.ReadToken()
	return err
}
