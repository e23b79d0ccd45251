package secrets

import (
	"bytes"
	"encoding"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"text/template"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

const canary = "c4n4ry-7f3a9c-p4ssw0rd"

// forms are how the canary could come out: as it is, quoted, in hexadecimal digits, base64, as a list of numbers or percent-escaped.
func forms() []string {
	numbers := fmt.Sprint([]byte(canary))
	return []string{canary, canary[7:13], fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), "YzRuNHJ5LTdmM2E5Yy1w", strings.Trim(numbers, "[]"), strings.ReplaceAll(strings.Trim(numbers, "[]"), " ", ","), strings.ReplaceAll(strings.Trim(numbers, "[]"), " ", ", "), "0x63, 0x34, 0x6e"}
}

func wantNoCanary(t *testing.T, how, text string) {
	t.Helper()
	for _, form := range forms() {
		if strings.Contains(text, form) {
			t.Errorf("%s: the value is in %q", how, text)
			return
		}
	}
}

type nested struct {
	Public  string
	Secret  Value
	hidden  Value
	pointer *Value
	Any     any
	inner   struct{ deep []Value }
	Map     map[string]Value
	Data    Data
	Reply   *Reply
}

func holders() map[string]any {
	value := ValueOf(canary)
	n := nested{Public: "p", Secret: value, hidden: value, pointer: &value, Any: value, Map: map[string]Value{"k": value}, Data: Data{"k": value}, Reply: &Reply{Data: map[string]any{"k": canary}}}
	n.inner.deep = []Value{value}
	return map[string]any{
		"a value": value, "a pointer to one": &value, "a list": []Value{value}, "an array": [1]Value{value}, "a map": map[string]Value{"k": value}, "data": Data{"k": value}, "a pointer to data": &Data{"k": value},
		"any": []any{value, &value, map[string]any{"k": value}}, "a pointer to a reply": &Reply{Data: map[string]any{"k": canary}}, "a reply": Reply{Data: map[string]any{"k": canary}}, "a call": Call{Path: "p", Body: map[string]any{"k": canary}, Query: url.Values{"k": {canary}}}, "a pointer to a call": &Call{Body: map[string]any{"k": canary}},
		"a struct": n, "a pointer to a struct": &n, "a list of structs": []nested{n}, "a function": func() Value { return value }, "an error": &Error{Reason: Failed, Message: fmt.Sprint(value)},
	}
}

// ordinary are structs whose fields are Go's own types: what prints them has to be asked not to.
func ordinary(name string) bool {
	return strings.HasSuffix(name, " call") || strings.HasSuffix(name, " reply")
}

func TestValuesAreNotInAnythingThatFmtPrints(t *testing.T) {
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%o", "%b", "%c", "%U", "%e", "%g", "%t", "%08.3f", "%+q", "%#x", "% x", "%#q", "%-200v", "%200s", "%.3v", "%O", "%w", "%z", "%!"}
	for name, holder := range holders() {
		for _, verb := range verbs {
			if ordinary(name) && (verb == "%p" || verb == "%w") {
				continue // fmt prints what is not a pointer, or not an error, before it asks anybody; go vet refuses both
			}
			wantNoCanary(t, name+" with "+verb, fmt.Sprintf(verb, holder))
		}
		wantNoCanary(t, name+" printed", fmt.Sprint(holder)+fmt.Sprintln(holder))
		wantNoCanary(t, name+" in an error", fmt.Errorf("a: %w", fmt.Errorf("b: %v, %#v", holder, holder)).Error())
	}
	value := ValueOf(canary)
	for _, verb := range verbs[:7] {
		if got := fmt.Sprintf(verb, value); got != Redacted {
			t.Errorf("%s is %q, want %q", verb, got, Redacted)
		}
	}
	if value.String() != Redacted || value.GoString() != Redacted {
		t.Errorf("got %q and %q, want %q", value.String(), value.GoString(), Redacted)
	}
	if got, want := fmt.Sprintf("%+v", Data{"user": value}), "map[user:"+Redacted+"]"; got != want {
		t.Errorf("data is %q, want %q", got, want)
	}
}

func TestValuesAreNotInAnythingThatIsEncoded(t *testing.T) {
	for name, holder := range holders() {
		if name == "a function" {
			continue
		}
		if strings.Contains(name, "struct") {
			holder = struct {
				Secret Value
				Map    map[string]Value
				Any    any
			}{ValueOf(canary), map[string]Value{"k": ValueOf(canary)}, ValueOf(canary)}
		}
		for encoding, encode := range map[string]func(any) ([]byte, error){
			"JSON": json.Marshal, "indented JSON": func(v any) ([]byte, error) { return json.MarshalIndent(v, "", " ") }, "YAML": yamlv3.Marshal, "YAML by way of JSON": yaml.Marshal,
			"XML": xml.Marshal, "gob": func(v any) ([]byte, error) {
				var b bytes.Buffer
				err := gob.NewEncoder(&b).Encode(v)
				return b.Bytes(), err
			},
			"a template": func(v any) ([]byte, error) {
				var b bytes.Buffer
				err := template.Must(template.New("").Parse("{{.}} {{printf \"%s %v %x\" . . .}}")).Execute(&b, v)
				return b.Bytes(), err
			},
		} {
			if ordinary(name) && encoding == "gob" {
				continue // which asks for a method of its own; nothing here is encoded by it
			}
			text, err := encode(holder)
			wantNoCanary(t, name+" as "+encoding, fmt.Sprint(string(text), err))
		}
	}
	text, err := json.Marshal(map[string]Value{"k": ValueOf(canary)})
	if want := `{"k":"[redacted]"}`; err != nil || string(text) != want {
		t.Errorf("JSON is %s and %v, want %s", text, err, want)
	}
	text, err = yamlv3.Marshal(map[string]Value{"k": ValueOf(canary)})
	if want := "k: '[redacted]'\n"; err != nil || string(text) != want {
		t.Errorf("YAML is %q and %v, want %q", text, err, want)
	}
	if text, err := (encoding.TextMarshaler)(ValueOf(canary)).MarshalText(); err != nil || string(text) != Redacted {
		t.Errorf("text is %q and %v, want %q", text, err, Redacted)
	}
	if _, err := json.Marshal(map[Value]string{ValueOf(canary): "x"}); err != nil {
		wantNoCanary(t, "a key", err.Error())
	}
}

func TestValuesAreNotInLogs(t *testing.T) {
	for name, holder := range holders() {
		if name == "a struct" || name == "a pointer to a struct" || name == "a list of structs" {
			continue // its unexported fields are not encoded, and the test above has the others
		}
		var text, structured, plain bytes.Buffer
		options := &slog.HandlerOptions{AddSource: true, Level: slog.LevelDebug}
		for _, logger := range []*slog.Logger{slog.New(slog.NewTextHandler(&text, options)), slog.New(slog.NewJSONHandler(&structured, options))} {
			logger.Debug("m", "k", holder)
			logger.With("k", holder).WithGroup("g").Error("m", slog.Any("k", holder), slog.Group("h", "k", holder))
		}
		log.New(&plain, "", 0).Printf("%v %+v %#v", holder, holder, holder)
		wantNoCanary(t, name+" in text", text.String())
		wantNoCanary(t, name+" in JSON", structured.String())
		wantNoCanary(t, name+" in log", plain.String())
	}
	var text bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "k", ValueOf(canary))
	if !strings.Contains(text.String(), "k="+Redacted) {
		t.Errorf("the log says %q, want k=%s", text.String(), Redacted)
	}
}

// A panic prints what it is given, and the arguments of the functions on the stack as numbers.
func TestValuesAreNotInPanics(t *testing.T) {
	if kind := os.Getenv("PORTCULLIS_TEST_PANIC"); kind != "" {
		die(kind, ValueOf(canary), Data{"k": ValueOf(canary)})
	}
	for _, kind := range []string{"value", "pointer", "data", "error", "wrapped", "struct", "index", "nil", "goroutine", "again", "reply"} {
		child := exec.Command(os.Args[0], "-test.run=^TestValuesAreNotInPanics$")
		child.Env = append(os.Environ(), "PORTCULLIS_TEST_PANIC="+kind, "GOTRACEBACK=all")
		out, err := child.CombinedOutput()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !strings.Contains(string(out), "goroutine ") {
			t.Fatalf("%s: got %v and %q, want a panic", kind, err, out)
		}
		wantNoCanary(t, "a panic with "+kind, string(out))
	}
}

//go:noinline
func die(kind string, value Value, data Data) {
	switch kind {
	case "value":
		panic(value)
	case "pointer":
		panic(&value)
	case "data":
		panic(data)
	case "error":
		panic(&Error{Reason: Failed, Doing: "reading", Message: fmt.Sprint(value, data), Cause: errors.New("x")})
	case "wrapped":
		panic(fmt.Errorf("a: %v", value))
	case "struct":
		panic(fmt.Sprintf("%+v", nested{Secret: value, hidden: value, Data: data}))
	case "index":
		_ = value.Reveal()[10_000]
	case "nil":
		var none *nested
		none.Secret = value
	case "goroutine":
		done := make(chan bool)
		go func(v Value, raw []byte) { panic(fmt.Sprint(v, len(raw))) }(value, value.Reveal())
		<-done
	case "again":
		defer func() { panic(recover()) }()
		panic(value)
	case "reply":
		panic(&Reply{Data: map[string]any{"k": canary}})
	}
}

func TestAValueIsWhatItWasMadeOf(t *testing.T) {
	var none Value
	if none.Reveal() != nil || none.Len() != 0 || !none.Equal(ValueOf("")) || none.String() != Redacted {
		t.Error("the zero Value is not empty")
	}
	none.Clear()
	raw := []byte(canary)
	value := NewValue(raw)
	same := value
	if string(value.Reveal()) != canary || value.Len() != len(canary) || !value.Equal(ValueOf(canary)) || value.Equal(ValueOf(canary+"x")) {
		t.Errorf("got %d bytes, want those it was made of", value.Len())
	}
	value.Clear()
	if !bytes.Equal(raw, make([]byte, len(canary))) {
		t.Error("the bytes are not overwritten")
	}
	if same.Len() != 0 || value.Len() != 0 {
		t.Error("a copy of the Value has not been dropped with it")
	}
}

func TestDataIsComparedByContents(t *testing.T) {
	one, other := Data{"a": ValueOf("1"), "b": ValueOf("2")}, Data{"b": ValueOf("2"), "a": ValueOf("1")}
	if !one.Equal(other) || one.Equal(Data{"a": ValueOf("1")}) || one.Equal(Data{"a": ValueOf("1"), "b": ValueOf("3")}) || one.Equal(Data{"a": ValueOf("1"), "c": ValueOf("2")}) {
		t.Error("data is not compared by contents")
	}
	if got, want := fmt.Sprint(one.Keys()), "[a b]"; got != want {
		t.Errorf("got the keys %s, want %s", got, want)
	}
	held := one["a"]
	one.Clear()
	if len(one) != 0 || held.Len() != 0 {
		t.Error("data is not dropped")
	}
}
