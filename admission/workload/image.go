package workload

import (
	_ "crypto/sha256" // reference refuses digests whose algorithm is not linked in
	_ "crypto/sha512"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/distribution/reference"
)

// ReferenceError says that a field does not hold an image reference.
type ReferenceError struct {
	// Path is the field, "" from [ParseImage].
	Path string
	// Text is the field's value.
	Text   string
	Reason string
}

func (e *ReferenceError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("parsing the image reference %q: %s", abbreviate(e.Text), e.Reason)
	}
	return fmt.Sprintf("parsing the image reference %q at %s: %s", abbreviate(e.Text), e.Path, e.Reason)
}

// Docker Hub answers under several names (index.docker.io is the one of old
// clients, registry-1.docker.io the address that docker.io stands for).
const (
	hub         = "docker.io"
	hubLegacy   = "index.docker.io"
	hubEndpoint = "registry-1.docker.io"
)

// ParseImage parses an image reference by the grammar of
// github.com/distribution/reference, which container runtimes use, and writes it in
// canonical form, so that two references to one image are equal. Container, Volume
// and Path are left empty. What is no reference is a [*ReferenceError]; so are
// upper-case registries, which name the same host as lower-case ones but not the
// same entry of an allow-list or of a runtime's mirror configuration.
func ParseImage(text string) (Image, error) {
	image, ok := splitCommon(text)
	if !ok {
		var reason string
		if image, reason = split(text); reason != "" {
			return Image{}, &ReferenceError{Text: text, Reason: reason}
		}
	}
	if image.Tag == "" && image.Digest == "" {
		image.Tag = "latest"
	}
	if reason := image.canonicalRegistry(); reason != "" {
		return Image{}, &ReferenceError{Text: text, Reason: reason}
	}
	image.Ref = image.canonical()
	return image, nil
}

// split takes a reference apart by the grammar, or says why it is none.
func split(text string) (image Image, reason string) {
	if text == "" {
		return image, "it is empty; name an image"
	}
	if reason := foreignCharacter(text); reason != "" {
		return image, reason
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return image, grammarReason(err)
	}
	image = Image{Text: text, Registry: reference.Domain(named), Repository: reference.Path(named)}
	if tagged, ok := named.(reference.Tagged); ok {
		image.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		image.Digest = digested.Digest().String()
	}
	return image, ""
}

// foreignCharacter names the first character that no reference can have.
func foreignCharacter(text string) string {
	for i, r := range text {
		switch {
		case r == utf8.RuneError, r < ' ':
			return fmt.Sprintf("it has the byte %#02x at position %d; remove it", text[i], i+1)
		case r == ' ':
			return fmt.Sprintf("it has a space at position %d; remove it", i+1)
		case r >= utf8.RuneSelf:
			return fmt.Sprintf("it has the character %q (%U) at position %d; use ASCII letters only", r, r, i+1)
		}
	}
	return ""
}

func grammarReason(err error) string {
	reason := strings.TrimPrefix(err.Error(), "invalid reference format")
	reason = strings.TrimPrefix(reason, ": ")
	if reason == "" {
		reason = "it does not follow the grammar"
	}
	return reason + "; write registry/repository:tag or registry/repository@sha256:digest"
}

// canonicalRegistry removes the default port and the other names of Docker Hub. It
// says why the registry is none.
func (image *Image) canonicalRegistry() string {
	if strings.ToLower(image.Registry) != image.Registry {
		return "the registry has upper-case letters; write it in lower case"
	}
	host, number, err := splitPort(image.Registry)
	if err != nil {
		return err.Error()
	}
	// A name without dot is only known as a registry by its port.
	if number == 443 && (strings.ContainsAny(host, ".[") || host == "localhost") {
		number = 0
	}
	image.Registry = host
	if number != 0 {
		image.Registry = host + ":" + strconv.Itoa(number)
	}
	switch image.Registry {
	case hubEndpoint:
		image.Registry = hub
	case hub, hubLegacy:
		image.Registry = hub
		if !strings.Contains(image.Repository, "/") {
			image.Repository = "library/" + image.Repository
		}
	}
	return ""
}

// splitPort cuts off the port; 0 means none.
func splitPort(registry string) (host string, number int, err error) {
	colon := strings.LastIndexByte(registry, ':')
	if colon < 0 || strings.HasSuffix(registry, "]") {
		return registry, 0, nil
	}
	number, err = strconv.Atoi(registry[colon+1:])
	if err != nil || number < 1 || number > 65535 {
		return "", 0, fmt.Errorf("the registry's port %s is none; use 1 to 65535", abbreviate(registry[colon+1:]))
	}
	return registry[:colon], number, nil
}

// canonical writes registry/repository[:tag][@digest].
func (image *Image) canonical() string {
	size := len(image.Registry) + len(image.Repository) + len(image.Tag) + len(image.Digest) + 3
	ref := make([]byte, 0, size)
	ref = append(ref, image.Registry...)
	ref = append(ref, '/')
	ref = append(ref, image.Repository...)
	if image.Tag != "" {
		ref = append(ref, ':')
		ref = append(ref, image.Tag...)
	}
	if image.Digest != "" {
		ref = append(ref, '@')
		ref = append(ref, image.Digest...)
	}
	return string(ref)
}

// abbreviate cuts input down to what fits a message.
func abbreviate(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
