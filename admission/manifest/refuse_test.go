package manifest

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

func TestReadRefuses(t *testing.T) {
	tests := map[string]struct{ in, at, want string }{
		"a key given twice in YAML":             {"kind: Pod\nspec:\n  a: 1\n  a: 2\n", "f:4", `the key "a" is given twice; remove`},
		"a key given twice in a later document": {"kind: A\n---\n# x\nkind: B\nkind: C\n", "f:5", `the key "kind" is given twice`},
		"a key given twice in JSON":             {"{\"kind\":\"A\",\n \"kind\":\"B\"}", "f:2:2", `the key "kind" is given twice`},
		"a key given twice by escapes":          {`{"kind":"A","k\u0069nd":"B"}`, "f:1:13", `the key "kind" is given twice`},
		"a key that is also a number":           {"kind: A\nlabels:\n  1: a\n  \"1\": b\n", "f:1", `the key "1" is given twice, once not as a string`},
		"a key that is also a boolean":          {"kind: A\nlabels:\n  yes: a\n  \"true\": b\n", "f:1", `the key "true" is given twice`},
		"a key that is a list":                  {"kind: A\n[a]: b\n", "f:1", "a key is a list or map; use a string"},
		"a key that is null":                    {"kind: A\n~: b\n", "f:1", "not a string"},
		"a NUL byte":                            {"kind: Pod\nname: a\x00b\n", "f:2:8", "NUL byte; save the file as UTF-8"},
		"UTF-16":                                {"\xff\xfek\x00i\x00", "f:1", "UTF-16 or UTF-32; save it as UTF-8"},
		"UTF-16, big-endian":                    {"\xfe\xff\x00k\x00i", "f:1", "UTF-16"},
		"UTF-16 without a mark":                 {"k\x00i\x00", "f:1:2", "NUL byte"},
		"another encoding":                      {"kind: Pod\nname: caf\xe9\n", "f:2:10", "not encoded as UTF-8; save it as UTF-8"},
		"a scalar":                              {"just text\n", "f:1:1", "the document is a string, not an object; begin it with apiVersion and kind"},
		"a list":                                {"---\n- kind: Pod\n", "f:2:1", "the document is a list, not an object"},
		"a JSON list of YAML":                   {"[1, 2]\n", "f:1:1", "the document is a list"},
		"an anchor that is not there":           {"a: *x\n", "f:1", "unknown anchor"},
		"bad indentation":                       {"kind: A\n---\na:\n  b: 1\n c: 2\n", "f:5", "correct the YAML"},
		"a tab":                                 {"a:\n\tb: 1\n", "f:2", "correct the YAML"},
		"JSON that ends early":                  {"{\"a\": {\n", "f:2:1", "ends too early"},
		"text behind the separator":             {"kind: A\n--- !!map {}\n", "f:2", "followed by"},
		"a document behind an end marker":       {"kind: A\n...\nkind: B\n", "f:3", "kubectl ignores"},
		"a document behind a carriage return":   {"kind: A\r---\rkind: B\n", "f:1", "kubectl ignores what follows"},
		"a document behind a next line":         {"kind: A\nb: c\u0085---\nkind: B\n", "f:2", "end lines with line feeds"},
		"a document behind a line separator":    {"kind: A\u2028---\u2028kind: B\n", "f:1", "kubectl ignores what follows"},
		"an end behind a paragraph separator":   {"kind: A\u2029...\nkind: B\n", "f:1", "kubectl ignores what follows"},
		"an object that is also a list":         {"kind: Pod\nmetadata: {name: x}\nitems: []\n", "f:3:1", "kubectl takes it for a list"},
		"items without kind":                    {"items:\n- kind: Pod\n", "f:1:1", "kubectl takes it for a list"},
		"a list whose items are none":           {"kind: List\nitems: {a: b}\n", "f:2:1", "the items are no list"},
		"an item that is no object":             {"kind: List\nitems:\n- kind: Pod\n- text\n", "f:4:3", "the document is a string"},
		"a name that is a number":               {"kind: Pod\nmetadata:\n  name: 123\n", "f:3:3", "metadata.name is a number; make it a string: put it in quotes"},
		"a kind that is a boolean":              {"kind: yes\n", "f:1:1", "kind is a boolean"},
		"metadata that is text":                 {"kind: Pod\nmetadata: x\n", "f:2:1", "metadata is a string; make it an object"},
		"a number that JSON does not have":      {"kind: A\nx: .nan\n", "f:1", "no JSON form"},
		"half a surrogate in JSON":              {`{"a":"\ud800"}`, "f:1:7", "surrogate"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			documents, err := Read("f", strings.NewReader(test.in), Limits{})
			var problem *Error
			if !errors.As(err, &problem) {
				t.Fatalf("got %d documents and %v, want an Error", len(documents), err)
			}
			if got := problem.Position.String(); got != test.at || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant reading %s: … %s", err, test.at, test.want)
			}
		})
	}
}

func TestABrokenDocumentDoesNotHideTheOthers(t *testing.T) {
	documents, err := Read("f", strings.NewReader("kind: A\n---\na: 1\na: 2\n---\nkind: C\n"), Limits{})
	if err == nil || len(documents) != 2 || documents[1].Kind != "C" || documents[1].Index != 2 {
		t.Errorf("got %+v and %v, want A, C and an error", documents, err)
	}
}

func TestTheReadersOwnErrorIsKept(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := Read("f", io.MultiReader(strings.NewReader("kind: A\n"), failing{broken}), Limits{})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// billionLaughs is nine levels of ten aliases each.
func billionLaughs() string {
	var b strings.Builder
	b.WriteString("kind: A\na0: &a0 [lol]\n")
	for i := range 9 {
		n := string(rune('0' + i))
		next := string(rune('1' + i))
		b.WriteString("a" + next + ": &a" + next + " [" + strings.TrimSuffix(strings.Repeat("*a"+n+",", 10), ",") + "]\n")
	}
	return b.String()
}

// What is refused must be refused cheaply: each input could cost gigabytes.
func TestMemoryIsBounded(t *testing.T) {
	text := "kind: A\ntext: &t \"" + strings.Repeat("x", 1<<20) + "\"\nlist: [" + strings.TrimSuffix(strings.Repeat("*t,", 5000), ",") + "]\n"
	tests := map[string]struct {
		in   io.Reader
		want string
		most uint64 // bytes allocated in all
	}{
		"exploding aliases":                   {strings.NewReader(billionLaughs()), "the aliases expand to more than", 4 << 20},
		"a long text by many aliases":         {strings.NewReader(text), "the aliases expand to more than", 40 << 20},
		"an alias within itself":              {strings.NewReader("kind: A\na: &a\n  b: *a\n"), "", 4 << 20},
		"aliases by merging":                  {strings.NewReader("kind: A\na: &a {x: 1}\nb: {<<: [" + strings.TrimSuffix(strings.Repeat("*a,", 2_000_000), ",") + "]}\n"), "more than", 64 << 20},
		"a document larger than the limit":    {endless("# comment\n", 11<<20), "larger than 10485760 bytes", 64 << 20},
		"one line larger than the limit":      {endless("x", 1<<30), "larger than 10485760 bytes", 64 << 20},
		"a stream without end":                {endless("---\n", 1<<40), "longer than 16777216 bytes", 64 << 20},
		"documents without end":               {endless("kind: A\n---\n", 1<<40), "too many documents", 256 << 20}, // the race detector empties the decoder's pools
		"broken documents without end":        {endless("a: *x\n---\n", 1<<40), "unknown anchor", 4 << 20},
		"brackets in YAML":                    {strings.NewReader("a: " + strings.Repeat("[", 9<<20)), "more than", 64 << 20},
		"a few thousand brackets in YAML":     {strings.NewReader("a: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000)), "deeper than 500 levels", 64 << 20},
		"dashes in YAML":                      {strings.NewReader(strings.Repeat("- ", 5<<20)), "more than", 64 << 20},
		"values in YAML":                      {strings.NewReader("[" + strings.Repeat("1,", 5<<20) + "]"), "larger than", 64 << 20},
		"a few values less in YAML":           {strings.NewReader("[" + strings.Repeat("1,", 4<<20) + "]"), "more than 1000000 values", 64 << 20},
		"brackets in JSON":                    {strings.NewReader(strings.Repeat(`{"a":`, 1<<20)), "deeper than 500 levels", 64 << 20},
		"values in JSON":                      {strings.NewReader(`{"a":[` + strings.Repeat("1,", 4<<20) + `1]}`), "more than 1000000 values", 64 << 20},
		"lists in lists":                      {strings.NewReader(strings.Repeat(`{"kind":"List","items":[`, 400) + `{}` + strings.Repeat(`]}`, 400)), "deeper than", 64 << 20},
		"question marks in YAML":              {strings.NewReader(strings.Repeat("? ", 4<<20)), "more than", 64 << 20},
		"a flow mapping of colons in YAML":    {strings.NewReader("a: {" + strings.Repeat(`"":"",`, 1<<20) + "}"), "more than", 64 << 20},
		"as many values as are accepted":      {strings.NewReader("kind: A\na: [" + strings.Repeat("1,", 900_000) + "]"), "", 512 << 20},
		"text that only looks like many keys": {strings.NewReader("kind: A\ntext: |\n  " + strings.Repeat("a:b/c-d?e ", 1<<19) + "\n"), "", 256 << 20},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Read("f", test.in, Limits{Stream: 16 << 20, Documents: 10_000})
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > test.most {
				t.Errorf("got %d MiB allocated, want at most %d", used>>20, test.most>>20)
			}
			switch {
			case name == "an alias within itself":
				if err == nil {
					t.Error("got no error, want one")
				}
			case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %.200v, want %q", err, test.want)
			}
		})
	}
}

// endless repeats a text up to a length.
func endless(text string, length int64) io.Reader {
	block := bytes.Repeat([]byte(text), 1<<16/len(text)+1)
	block = block[:len(block)/len(text)*len(text)]
	return io.LimitReader(&repeating{block: block}, length)
}

type repeating struct {
	block []byte
	at    int
}

func (r *repeating) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	return n, nil
}
