package falco

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// Limits of an event. Falco's own are smaller: a command line has at most 4 KiB, and the kernel's events 64 KiB.
const (
	// MaxBody is how many bytes a request may have.
	MaxBody = 256 << 10
	// maxFields is how many output fields an event may have. Rules of Falco have thirty.
	maxFields = 256
	// maxElements is how many elements a list may have, such as the labels of a pod and the tags of a rule.
	maxElements = 256
	// maxName is how long the name of a rule, tag, field, host or source may be, in bytes.
	maxName = 512
	// maxText is how long the text of an event and each of its fields may be, in bytes.
	maxText = 64 << 10
	// maxNumber is how many bytes a number may have, and maxExponent how large an exponent may be: evaluators of policies
	// write numbers out.
	maxNumber   = 64
	maxExponent = 308 // that of a double
	// maxDepth is how deep objects and lists may lie in each other. Falco has fields in an object, and lists in fields.
	maxDepth = 8
)

// internalPrefix and internalSource mark what Falco says of itself.
const (
	internalPrefix = "Falco internal: "
	internalSource = "internal"
)

// Decode reads one event of Falco, as its http_output or falcosidekick posts it: one object of JSON. Its errors are of
// type [*Fault]. What it returns may share memory with body.
//
// Integers are exact, whatever their size. What Falco did not know is left out. Names of fields that a pipeline has
// rewritten ("k8s_ns_name") are those of Falco again, unless the event has a field of that name, too. Keys that nobody
// knows are left out; a key that is there twice, or a value of a wrong type, refuses the event, since two readers of it
// might disagree.
func Decode(body []byte) (*Message, error) {
	if len(body) > MaxBody {
		return nil, faultf(ReasonTooLarge, "the event has %d bytes, %d are read: give the rule a shorter output", len(body), MaxBody)
	}
	if !utf8.Valid(body) {
		return nil, faultf(ReasonEncoding, "the event is not UTF-8: Falco escapes what is not, so look at what is between")
	}
	r := reader{decoder: jsontext.NewDecoder(bytes.NewBuffer(body))}
	if err := r.document(); err != nil {
		return nil, readFault(err)
	}
	return r.message(body)
}

// reader reads one event and keeps what it has found.
type reader struct {
	decoder  *jsontext.Decoder
	event    response.Event
	priority string
	time     string
}

// readFault gives each error of the reader its reason.
func readFault(err error) error {
	switch {
	case reasonOf(err) != "":
		return err
	case errors.Is(err, jsontext.ErrDuplicateName):
		return faultf(ReasonDuplicate, "the event has a key twice (%w): send each once", err)
	}
	return faultf(ReasonSyntax, "the event is not an object of JSON (%w): set json_output: true in Falco's configuration", err)
}

func (r *reader) document() error {
	if kind := r.decoder.PeekKind(); kind != '{' && kind != 0 {
		return faultf(ReasonSyntax, "the body is no object of JSON: send one event in a request")
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return err
	}
	for r.decoder.PeekKind() != '}' {
		key, err := r.decoder.ReadToken()
		if err != nil {
			return err
		}
		if err := r.member(key.String()); err != nil {
			return err
		}
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return err
	}
	if _, err := r.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return faultf(ReasonSyntax, "there is something after the event: send one event in a request")
	}
	return nil
}

// member reads the value of one key.
func (r *reader) member(key string) (err error) {
	switch key {
	case "rule":
		r.event.Rule, err = r.text(key, maxName)
	case "priority":
		r.priority, err = r.text(key, maxName)
	case "time":
		r.time, err = r.text(key, maxName)
	case "source":
		r.event.Source, err = r.text(key, maxName)
	case "hostname":
		r.event.Hostname, err = r.text(key, maxName)
	case "output":
		r.event.Output, err = r.text(key, maxText)
	case "tags":
		r.event.Tags, err = r.tags()
	case "output_fields":
		r.event.Fields, err = r.fields()
	default:
		_, err = r.raw(key)
	}
	return err
}

// text reads a text, or null for "".
func (r *reader) text(key string, limit int) (string, error) {
	switch kind := r.decoder.PeekKind(); kind {
	case 'n', '"':
	case 0:
		_, err := r.decoder.ReadToken()
		return "", err
	default:
		return "", faultf(ReasonType, "%s is no text: send what Falco writes", key)
	}
	token, err := r.decoder.ReadToken()
	if err != nil || token.Kind() == 'n' {
		return "", err
	}
	value := token.String()
	if len(value) > limit {
		return "", tooLong(key, limit)
	}
	return value, nil
}

func tooLong(key string, limit int) error {
	return faultf(ReasonTooLarge, "%.100q has more than %d bytes: give the rule a shorter output", key, limit)
}

// raw reads any value as it stands.
func (r *reader) raw(key string) (jsontext.Value, error) {
	value, err := r.decoder.ReadValue()
	if err != nil {
		return nil, err
	}
	if depth(value)+r.decoder.StackDepth() > maxDepth {
		return nil, faultf(ReasonTooLarge, "%.100q holds objects or lists in more than %d others: send what Falco writes", key, maxDepth)
	}
	return value, nil
}

// depth is how deep the objects and lists of valid JSON lie in each other.
func depth(value []byte) (deepest int) {
	inText, open := false, 0
	for n := 0; n < len(value); n++ {
		switch c := value[n]; {
		case inText && c == '\\':
			n++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			open++
			deepest = max(deepest, open)
		case c == '}' || c == ']':
			open--
		}
	}
	return deepest
}

func (r *reader) tags() ([]string, error) {
	list, err := r.list("tags", maxName)
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, element := range list {
		tag, ok := element.(string)
		if !ok {
			return nil, faultf(ReasonType, "a tag is no text: send what Falco writes")
		}
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// list reads a list of texts, numbers and booleans, or null for none. Elements that are not known are left out; lists and
// objects in it become their JSON.
func (r *reader) list(key string, limit int) ([]any, error) {
	switch r.decoder.PeekKind() {
	case 'n':
		_, err := r.decoder.ReadToken()
		return nil, err
	case '[', 0:
	default:
		return nil, faultf(ReasonType, "%.100q is no list: send what Falco writes", key)
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return nil, err
	}
	var list []any
	for count := 0; r.decoder.PeekKind() != ']'; count++ {
		value, err := r.scalar(key, limit)
		if err != nil {
			return nil, err
		}
		if count >= maxElements {
			return nil, faultf(ReasonTooLarge, "%.100q has more than %d elements: send fewer", key, maxElements)
		}
		if value != nil && value != "<NA>" {
			list = append(list, value)
		}
	}
	_, err := r.decoder.ReadToken()
	return list, err
}

// scalar reads a value that is no list; that of a list or an object is its JSON as text.
func (r *reader) scalar(key string, limit int) (any, error) {
	switch kind := r.decoder.PeekKind(); kind {
	case '"':
		return r.text(key, limit)
	case '0':
		value, err := r.decoder.ReadValue()
		if err != nil {
			return nil, err
		}
		return exactNumber(key, string(value))
	case '{', '[':
		value, err := r.raw(key)
		if err != nil {
			return nil, err
		}
		if len(value) > limit {
			return nil, tooLong(key, limit)
		}
		return string(value), nil
	default:
		token, err := r.decoder.ReadToken()
		if err != nil || token.Kind() == 'n' {
			return nil, err
		}
		return token.Kind() == 't', nil
	}
}

// exactNumber is a number as it was written, if those who calculate with it can.
func exactNumber(key, written string) (json.Number, error) {
	if len(written) > maxNumber {
		return "", faultf(ReasonTooLarge, "%.100q is a number of more than %d digits: send what Falco writes", key, maxNumber)
	}
	if at := strings.IndexAny(written, "eE"); at >= 0 {
		exponent, err := strconv.Atoi(written[at+1:])
		if err != nil || exponent > maxExponent || exponent < -maxExponent {
			return "", faultf(ReasonTooLarge, "%.100q is a number with an exponent above %d: send what Falco writes", key, maxExponent)
		}
	}
	return json.Number(written), nil
}

// fields reads the output fields.
func (r *reader) fields() (map[string]any, error) {
	switch r.decoder.PeekKind() {
	case 'n':
		_, err := r.decoder.ReadToken()
		return nil, err
	case '{', 0:
	default:
		return nil, faultf(ReasonType, "output_fields is no object: send what Falco writes")
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return nil, err
	}
	fields := map[string]any{}
	for count := 0; r.decoder.PeekKind() != '}'; count++ {
		token, err := r.decoder.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		if count >= maxFields || len(name) > maxName {
			return nil, faultf(ReasonTooLarge, "there are more than %d output fields, or one with a name of more than %d bytes: give the rule a shorter output", maxFields, maxName)
		}
		if fields[name], err = r.field(name); err != nil {
			return nil, err
		}
	}
	_, err := r.decoder.ReadToken()
	return normal(fields), err
}

func (r *reader) field(name string) (any, error) {
	if r.decoder.PeekKind() == '[' {
		list, err := r.list(name, maxText)
		if list == nil {
			return nil, err
		}
		return list, err
	}
	return r.scalar(name, maxText)
}

// normal gives fields their names and types and leaves out what is not known.
func normal(fields map[string]any) map[string]any {
	known := make(map[string]any, len(fields))
	keep := func(name string, value any) {
		if value = typed(name, value); !unknown(name, value) {
			known[name] = value
		}
	}
	rewritten := 0
	for name, value := range fields {
		if original(name) != name {
			rewritten++
			continue
		}
		keep(name, value)
	}
	if rewritten > 0 {
		// A field under its own name is what it says, whatever a rewritten one says.
		for name, value := range fields {
			if _, has := known[original(name)]; !has {
				keep(original(name), value)
			}
		}
	}
	if len(known) == 0 {
		return nil
	}
	return known
}

// message makes a message of what was read.
func (r *reader) message(body []byte) (*Message, error) {
	e := &r.event
	if e.Rule == "" || r.priority == "" {
		return nil, faultf(ReasonMissing, "the event has no rule or no priority: send what Falco writes")
	}
	var err error
	if e.Priority, err = response.ParsePriority(r.priority); err != nil {
		return nil, &Fault{ReasonPriority, err}
	}
	if e.Time, err = r.moment(); err != nil {
		return nil, err
	}
	e.Source = r.source()
	if e.Source == internalSource || strings.HasPrefix(e.Rule, internalPrefix) {
		return &Message{Health: health(e), Raw: body}, nil
	}
	r.readClock()
	e.Host = e.Text("container.id") == "host"
	readText(e)
	e.ID = identity(e)
	return &Message{Event: e, Raw: body}, nil
}

// moment is when it happened: as the event says, or as its field evt.time does, in nanoseconds since 1970.
func (r *reader) moment() (time.Time, error) {
	if r.time != "" {
		moment, err := time.Parse(time.RFC3339Nano, r.time)
		if err != nil {
			return time.Time{}, faultf(ReasonTime, "the time %.40q is none of RFC 3339: send what Falco writes", r.time)
		}
		if moment.Unix() > 0 {
			return moment.UTC(), nil
		}
	}
	if since, isNumber := r.event.Fields["evt.time"].(json.Number); isNumber {
		if nanoseconds, err := since.Int64(); err == nil && nanoseconds > 0 {
			return time.Unix(0, nanoseconds).UTC(), nil
		}
	}
	return time.Time{}, faultf(ReasonMissing, "the event has no time: send what Falco writes")
}

// source is where Falco had it from. Versions before 0.30 do not say.
func (r *reader) source() string {
	if r.event.Source != "" {
		return r.event.Source
	}
	for name := range r.event.Fields {
		if strings.HasPrefix(name, "ka.") {
			return "k8s_audit"
		}
	}
	return "syscall"
}

// readClock writes evt.time in nanoseconds where Falco wrote a time of day, as in what it sends by gRPC.
func (r *reader) readClock() {
	if clock, isText := r.event.Fields["evt.time"].(string); isText && strings.Count(clock, ":") >= 2 {
		r.event.Fields["evt.time"] = json.Number(strconv.FormatInt(r.event.Time.UnixNano(), 10))
	}
}

// health keeps the numbers.
func health(e *response.Event) *Health {
	h := &Health{Rule: e.Rule, Time: e.Time, Hostname: e.Hostname, Numbers: map[string]json.Number{}}
	for name, value := range e.Fields {
		switch v := value.(type) {
		case json.Number:
			h.Numbers[name] = v
		case string: // the event of dropped system calls writes its numbers as text
			if isInteger(v) {
				h.Numbers[name] = json.Number(v)
			}
		}
	}
	return h
}
