package content

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	gotemplate "text/template"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// render makes one template of data.
func render(ctx context.Context, text string, source secrets.Data) (string, error) {
	made, err := Make(ctx, source, &v1alpha1.Destination{Templates: map[string]string{"t": text}})
	if err != nil {
		return "", err
	}
	return string(made["t"].Reveal()), nil
}

var sample = func() secrets.Data {
	return data("user", "shop", "password", canary, "lines", "a\nb\n", "json", `{"port":5432,"ratio":0.5,"big":12345678901234567890,"on":true,"none":null,"hosts":["a","b"],"db":{"name":"x"}}`, "b64", "aGk=",
		"empty", "", "raw", "\xff\x00", "my-key", "dashed", "list", "c,a,b", "unicode", "ß\u2028\"\\<\x7f")
}

func TestTemplatesMakeWhatIsWritten(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                             "plain",
		"":                                  "",
		"{{.Data.user}}:{{.Data.password}}": "shop:" + canary,
		"{{ .Data.user -}}  x  {{- .Data.user }}":                       "shopxshop",
		"{{/* nothing */}}a":                                            "a",
		`{{index .Data "my-key"}}`:                                      "dashed",
		`{{.Data.user | upper | printf "%-6s|"}}`:                       "SHOP  |",
		"{{b64enc .Data.password | b64dec}}":                            canary,
		"{{b64enc .Data.raw}}":                                          "/wA=",
		"{{.Data.raw}}":                                                 "\xff\x00",
		`{{lower "AbC"}}{{trim "  x\n"}}`:                               "abcx",
		`{{trimPrefix "sh" .Data.user}}{{trimSuffix "op" .Data.user}}`:  "opsh",
		`{{replace "," ";" .Data.list}}`:                                "c;a;b",
		`{{split "," .Data.list | join "+"}}`:                           "c+a+b",
		`{{range split "," .Data.list}}[{{.}}]{{end}}`:                  "[c][a][b]",
		`{{range $i, $e := split "," .Data.list}}{{$i}}={{$e}} {{end}}`: "0=c 1=a 2=b ",
		`{{range $i, $e := split "," .Data.list}}{{if eq $e "a"}}{{continue}}{{end}}{{$e}}{{end}}`: "cb",
		`{{range .Keys}}{{if eq . "json"}}{{break}}{{end}}{{.}} {{end}}`:                           "b64 empty ",
		`{{range $k, $v := fromJSON .Data.json}}{{$k}} {{end}}`:                                    "big db hosts none on port ratio ",
		`{{range 3}}{{.}}{{end}}`:                       "012",
		`{{range split "," "" | len}}x{{else}}y{{end}}`: "x",
		`{{range fromJSON "[]"}}x{{else}}y{{end}}`:      "y",
		`{{with fromJSON .Data.json}}{{.port}} {{.ratio}} {{.big}} {{.on}} {{.db.name}} {{join "," .hosts}}{{end}}`: "5432 0.5 12345678901234567890 true x a,b",
		`{{(fromJSON .Data.json).db.name}}`:                                "x",
		`{{default "none" (fromJSON .Data.json).none}}`:                    "none",
		`{{default "none" .Data.empty}}{{default "none" .Data.user}}`:      "noneshop",
		`{{hasKey .Data "user"}} {{hasKey .Data "nobody"}}`:                "true false",
		`{{if and (hasKey .Data "nobody") .Data.nobody}}x{{else}}y{{end}}`: "y",
		`{{or .Data.empty "other"}}{{and .Data.user "both"}}`:              "otherboth",
		`{{if not .Data.empty}}empty{{end}}`:                               "empty",
		`{{if eq .Data.user "a" "shop"}}y{{end}}{{if ne 1 2}}y{{end}}{{if lt 1 2}}y{{end}}{{if ge 2.5 2.5}}y{{end}}{{if gt "b" "a"}}y{{end}}{{if le 1 1}}y{{end}}`: "yyyyyy",
		`{{$x := "a"}}{{if true}}{{$x = "b"}}{{end}}{{$x}}`:            "b",
		`{{$x := "a"}}{{if true}}{{$x := "b"}}{{end}}{{$x}}`:           "a",
		`{{$.Data.user}}{{with .Data.user}}{{$.Data.password}}{{end}}`: "shop" + canary,
		`{{with .Data.empty}}x{{else with .Data.user}}{{.}}{{end}}`:    "shop",
		`{{if .Data.empty}}x{{else if .Data.user}}y{{end}}`:            "y",
		"pem: |\n{{indent 2 .Data.lines}}":                             "pem: |\n  a\n  b\n  ",
		`{{quote .Data.unicode}}`:                                      `"ß\u2028\"\\<\u007f"`,
		`{{toJSON .Data.unicode}}`:                                     "\"ß\\u2028\\\"\\\\<\x7f\"",
		`{{toJSON (fromJSON .Data.json)}}`:                             `{"big":"12345678901234567890","db":{"name":"x"},"hosts":["a","b"],"none":null,"on":true,"port":5432,"ratio":0.5}`,
		`{{toJSON .Keys}}`:                                             `["b64","empty","json","lines","list","my-key","password","raw","unicode","user"]`,
		`{{sha256sum "abc"}}`:                                          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		`{{urlquery "a b&@/é"}} {{urlescape "a b&@/é~"}}`:              "a+b%26%40%2F%C3%A9 a%20b%26%40%2F%C3%A9~",
		`{{len .Data.user}} {{len .Keys}} {{slice .Data.user 1 3}} {{slice .Data.user 2}} {{index (slice .Keys 1 2) 0}}`: "4 10 ho op empty",
		`{{print "a" 1 2 "b" true}}`: "a1 2btrue",
		`{{println "a" 1}}`:          "a 1\n",
		`{{printf "%s %q %d %5d %05.1f %x %X %v %v %t %% %.3s" "a" "b" 1 2 2.55 "hi" 255 true 1.5 false "abcdef"}}`: `a "b" 1     2 002.5 6869 FF true 1.5 false % abc`,
		`{{1_000}} {{0x1F}} {{'a'}} {{1e3}} {{-2}}`:                                                                 "1000 31 97 1000 -2",
	} {
		got, err := render(t.Context(), text, sample())
		if err != nil || got != want {
			t.Errorf("%s makes %q and %v, want %q", text, got, err, want)
		}
	}
}

// What is quoted is read back as it was, by JSON and by YAML.
func TestQuotedTextsAreReadBack(t *testing.T) {
	var all strings.Builder
	for r := rune(0); r < 0x3000; r++ {
		all.WriteRune(r)
	}
	all.WriteString("\ufeff\ufffe\uffff\U0001f600\U0010ffff")
	for _, want := range []string{all.String(), "", canary, "yes", "0x1", "- a: b # c", "'", `\`, "\n\n"} {
		text, err := render(t.Context(), "a: {{quote .Data.k}}", data("k", want))
		if err != nil {
			t.Fatal(err)
		}
		var fromYAML map[string]string
		if err := yaml.Unmarshal([]byte(text), &fromYAML); err != nil || fromYAML["a"] != want {
			t.Errorf("YAML reads %.40q and %v, want %.40q", fromYAML["a"], err, want)
		}
		var fromJSON string
		if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "a: ")), &fromJSON); err != nil || fromJSON != want {
			t.Errorf("JSON reads %.40q and %v, want %.40q", fromJSON, err, want)
		}
	}
	if _, err := render(t.Context(), "{{quote .Data.k}}", data("k", "\xff"+canary)); secrets.ReasonOf(err) != secrets.TemplateFailed {
		t.Errorf("got %v for what is no text, want TemplateFailed", err)
	}
	password := "p@ss:/?#[]% +é\x00"
	address, err := render(t.Context(), "postgres://u:{{urlescape .Data.k}}@h/{{urlescape .Data.k}}?x={{urlescape .Data.k}}", data("k", password))
	if err != nil {
		t.Fatal(err)
	}
	read, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := read.User.Password(); got != password || read.Path != "/"+password || read.Query().Get("x") != password {
		t.Errorf("read %q, %q and %q from the URL, want %q", got, read.Path, read.Query().Get("x"), password)
	}
}

// goFunctions are ours for Go's own templates, so that both differ by the walk over the tree alone.
func goFunctions(own ...string) gotemplate.FuncMap {
	functionsOfGo := gotemplate.FuncMap{}
	for name, f := range functions {
		if len(own) > 0 && !slices.Contains(own, name) {
			continue
		}
		functionsOfGo[name] = func(arguments ...any) (any, error) {
			for i, a := range arguments {
				if number, ok := a.(int); ok {
					arguments[i] = int64(number)
				}
			}
			return f.call(newBudget(context.Background()), arguments)
		}
	}
	return functionsOfGo
}

// goRender makes a template as text/template does.
func goRender(text string, source secrets.Data, own gotemplate.FuncMap) (string, error) {
	t, err := gotemplate.New("t").Option("missingkey=error").Funcs(own).Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, rootOf(source))
	return out.String(), err
}

// What we take means what it means to Go.
func TestTheWalkIsThatOfGo(t *testing.T) {
	for _, text := range templatesOfCorpus(t) {
		got, err := render(t.Context(), text, sample())
		if err != nil {
			continue
		}
		want, err := goRender(text, sample(), goFunctions())
		if err != nil || got != want {
			t.Errorf("%q makes %q, and in Go %q and %v", text, got, want, err)
		}
	}
}

// Where a function has the name of one of Go's, it does the same.
func TestFunctionsOfTheSameNameAreThoseOfGo(t *testing.T) {
	for _, text := range []string{
		`{{index .Keys 1}}{{index .Data "user"}}`, `{{slice .Data.user 1}}{{slice .Data.user 1 2}}{{slice .Data.user}}`, `{{len .Data}}{{len .Keys}}{{len "aé"}}`, `{{not 0}}{{not "a"}}{{not .Keys}}`,
		`{{print 1 2 "a" "b" 3 4 true 1.5}}`, `{{println 1 "a"}}`, `{{print}}`, `{{printf "%s|%6s|%-6s|%q|%x|%X" "a" "b" "c" "d" "e" "f"}}`, `{{printf "%+q % x %#x %.2s" "é" "ab" "ab" "abc"}}`,
		`{{printf "%d %05d %+d %x %v %v %v %t" 1 2 3 255 "a" 1 1.5 true}}`, `{{printf "%6.2f %g %v%%" 1.234 1e21 1e21}}`, `{{urlquery "a b&c=é"}}`,
		`{{eq 1 1}}{{eq 1 2 1}}{{eq "a" "b"}}{{eq true true}}{{eq 1.5 1.5}}`, `{{ne "a" "b"}}{{lt 1 2}}{{le "a" "a"}}{{gt 1.5 0.5}}{{ge 1 2}}`, `{{or 0 "" 1}}{{and 1 0 2}}{{or 0 0}}{{and 1 2 | or 0}}`,
	} {
		got, err := render(t.Context(), text, sample())
		want, wantErr := goRender(text, sample(), nil)
		if err != nil || wantErr != nil || got != want {
			t.Errorf("%s makes %q and %v, and in Go %q and %v", text, got, err, want, wantErr)
		}
	}
}

// CVE-2026-34984: Sprig's getHostByName let a template send a secret out as the name that it asks for. Nothing here reaches a network, an
// environment, a file, a clock or chance.
func TestCVE202634984TemplatesReachNothingOutside(t *testing.T) {
	for _, call := range []string{`getHostByName .Data.password`, `env "HOME"`, `expandenv "$HOME"`, `readFile "/etc/passwd"`, `include "t" .`, `tpl .Data.password .`, `lookup "v1" "Secret" "kube-system" "x"`, `now`, `uuidv4`, `randAlphaNum 9`,
		`genPrivateKey "rsa"`, `exec "id"`, `file "x"`, `call .Data.user`, `html .Data.user`, `js .Data.user`, `os "x"`, `fail .Data.password`, `htpasswd "a" "b"`, `osBase "a"`, `regexMatch "(a*)*" "a"`, `repeat 99 "a"`, `derivePassword 1 "long" "a" "b" "c"`} {
		name, _, _ := strings.Cut(call, " ")
		err := Check(&v1alpha1.Destination{Templates: map[string]string{"t": "{{" + call + "}}"}})
		wantFailure(t, err, secrets.Misconfigured, "there is no function "+name)
	}
	want := strings.Fields("and b64dec b64enc default eq fromJSON ge gt hasKey indent index join le len lower lt ne not or print printf println quote replace sha256sum slice split toJSON trim trimPrefix trimSuffix upper urlescape urlquery")
	if got := Functions(); !slices.Equal(got, want) {
		t.Errorf("templates can call\n%q, want\n%q: think about each that is added: what does it reach, and what does it make?", got, want)
	}
	// And nothing of a template asks for a name, whatever it does with a value.
	asked := false
	former := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { asked = true; return nil, errors.New("no") }}
	defer func() { net.DefaultResolver = former }()
	for _, text := range templatesOfCorpus(t) {
		_, _ = render(t.Context(), text, sample())
	}
	if asked {
		t.Error("a template asked for a name")
	}
}

// GHSA-77v3-r3jw-j2v2: a function of templates read Secrets of other namespaces with the operator's rights. Here all there is to a template is
// the one secret.
func TestGHSA77v3TemplatesSeeTheirOwnSecretOnly(t *testing.T) {
	for _, call := range []string{`getSecretKey "other" "namespace" "key"`, `getSecret "x"`, `lookup "v1" "Secret" "" ""`, `secret "x"`} {
		name, _, _ := strings.Cut(call, " ")
		wantFailure(t, Check(&v1alpha1.Destination{Templates: map[string]string{"t": "{{" + call + "}}"}}), secrets.Misconfigured, "there is no function "+name)
	}
	for _, text := range []string{"{{.Namespace}}", "{{.Client}}", "{{$.Secret}}", "{{.Data.Clear}}", "{{.Data.Keys}}", "{{.Keys.Data}}", "{{.Env}}"} {
		if got, err := render(t.Context(), text, sample()); err == nil {
			t.Errorf("%s makes %q, want an error", text, got)
		}
	}
	got, err := render(t.Context(), "{{range $name, $value := .}}{{$name}} {{end}}", sample())
	if want := "Data Keys "; err != nil || got != want {
		t.Errorf("a template sees %q (%v), want %q", got, err, want)
	}
}

// hungry are templates that want too much of something. Each has to end by a bound, not by the clock.
func hungry() map[string]string {
	nested := func(depth int, inner string) string {
		return strings.Repeat("{{range $.Keys}}", depth) + inner + strings.Repeat("{{end}}", depth)
	}
	return map[string]string{
		"loops in loops that write nothing": nested(12, ""),
		"loops in loops that write":         nested(12, "x"),
		"loops that call":                   nested(12, "{{$x := upper $.Data.big}}"),
		"a loop over a great number":        "{{range 9000000000000000000}}{{end}}",
		"a text that doubles":               `{{$x := .Data.big}}{{range 64}}{{$x = print $x $x}}{{end}}`,
		"a text that doubles by replace":    `{{$x := .Data.big}}{{range 64}}{{$x = replace "a" "aa" $x}}{{end}}`,
		"a text that grows by join":         `{{$x := split "" .Data.big}}{{join .Data.big $x}}`,
		"a list of a great text":            `{{$x := split "" .Data.big}}{{range 64}}{{$y := split "" $.Data.big}}{{end}}`,
		"lines that are indented":           `{{$x := replace "a" "\n" .Data.big}}{{indent 256 $x}}`,
		"base64 of base64":                  `{{$x := .Data.big}}{{range 64}}{{$x = b64enc $x}}{{end}}`,
		"a width":                           `{{printf "%1000000000d" 1}}`,
		"a width of several digits":         `{{printf "%000000000999d" 1}}`,
		"a precision":                       `{{printf "%.999999999f" 1.5}}`,
		"a width that is an argument":       `{{printf "%*d" 1000000000 1}}`,
		"many hashes of a great text":       `{{range 100000}}{{$x := sha256sum $.Data.big}}{{end}}`,
		"many comparisons of great texts":   `{{range 100000}}{{$x := eq $.Data.big $.Data.big}}{{end}}`,
		"JSON of many small values":         `{{$x := printf "[%s0]" (replace "a" "0," .Data.big)}}{{range 64}}{{$y := fromJSON $x}}{{end}}`,
		"JSON that is deep":                 `{{fromJSON (replace "a" "[" .Data.big)}}`,
		"a map that is written again":       `{{range 100000}}{{$x := toJSON $.Data}}{{end}}`,
		"more than a Secret holds":          `{{range 10}}{{$.Data.big}}{{end}}`,
		"parentheses":                       "{{" + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + "}}",
		"parentheses as many as Go reads":   "{{" + strings.Repeat("(", 9990) + "1" + strings.Repeat(")", 9990) + "}}",
		"fields of parentheses":             "{{" + strings.Repeat("(", 9000) + "1" + strings.Repeat(").a", 9000) + "}}",
		"terms of parentheses":              "{{1" + strings.Repeat(" (1)", 13000) + "}}",
		"parentheses without end":           "{{" + strings.Repeat("(", 60000),
		"blocks":                            strings.Repeat("{{if 1}}", 3000) + strings.Repeat("{{end}}", 3000),
		"a template that calls itself":      `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`,
		"a block that calls itself":         `{{block "a" .}}{{template "a" .}}{{end}}`,
		"a template that calls the whole":   `{{template "t" .}}`,
		"only a definition":                 `{{define "a"}}x{{end}}`,
		"a template that is too long":       strings.Repeat("x", MaxTemplate+1),
		"quotes that grow":                  `{{$x := .Data.big}}{{range 64}}{{$x = quote $x}}{{end}}`,
		"escapes that grow":                 `{{$x := replace "a" "%" .Data.big}}{{range 64}}{{$x = urlescape $x}}{{end}}`,
		"many variables":                    `{{range 100000}}{{$a := 1}}{{$b := 1}}{{$c := 1}}{{end}}`,
		"formats of a great text":           `{{range 1000}}{{$x := printf "%x%x%x%x" $.Data.big $.Data.big $.Data.big $.Data.big}}{{end}}`,
		"printing of many":                  `{{range 100000}}{{$x := print $.Data.big $.Data.big}}{{end}}`,
	}
}

func TestTemplatesEndWithinTheirBounds(t *testing.T) {
	source := func() secrets.Data {
		many := data("big", strings.Repeat("a", 400<<10), "password", canary)
		for i := range 40 {
			many[fmt.Sprintf("key%d", i)] = secrets.ValueOf(canary)
		}
		return many
	}()
	for name, text := range hungry() {
		t.Run(name, func(t *testing.T) {
			// Without a clock: what ends here ends because of what it does.
			tree, err := parseTemplate("t", text)
			begun := time.Now()
			if err == nil {
				_, err = tree.evaluate(rootOf(source), newBudget(context.Background()))
			}
			took := time.Since(begun)
			if reason := secrets.ReasonOf(err); reason != secrets.TemplateFailed && reason != secrets.Misconfigured {
				t.Fatalf("got %v, want it to be refused or stopped", err)
			}
			if took > 10*time.Second { // some 100 ms; -race and a busy machine
				t.Errorf("it took %s", took)
			}
			if strings.Contains(err.Error(), canary) || len(err.Error()) > 1000 {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

func TestOneBudgetIsForAllTemplatesOfASecret(t *testing.T) {
	half := `{{range 30000}}{{end}}`
	if _, err := Make(t.Context(), sample(), &v1alpha1.Destination{Templates: map[string]string{"a": half}}); err != nil {
		t.Fatal(err)
	}
	templates := map[string]string{}
	for i := range 8 {
		templates[fmt.Sprint("k", i)] = half
	}
	_, err := Make(t.Context(), sample(), &v1alpha1.Destination{Templates: templates})
	wantFailure(t, err, secrets.TemplateFailed, "steps")
	size := data("big", strings.Repeat("a", MaxSize/2))
	_, err = Make(t.Context(), size, &v1alpha1.Destination{Templates: map[string]string{"a": "{{.Data.big}}", "b": "{{.Data.big}}", "c": "x"}})
	wantFailure(t, err, secrets.TemplateFailed, "more than 1048576 bytes")
}

// The clock is the last bound: it is looked at while a template runs, so that what is slow ends, too.
func TestATemplateEndsWithItsContext(t *testing.T) {
	tree, err := parseTemplate("t", "{{range 30000}}{{end}}")
	if err != nil {
		t.Fatal(err)
	}
	ctx := &dying{Context: t.Context(), after: 10}
	_, err = tree.evaluate(rootOf(sample()), newBudget(ctx))
	wantFailure(t, err, secrets.TemplateFailed, "not done in 500ms")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a context's end", err)
	}
	if ctx.asked != 11 {
		t.Errorf("the context was asked %d times, want 11", ctx.asked)
	}
	if remaining := newBudget(ctx); remaining.steps != maxSteps {
		t.Errorf("a new budget has %d steps", remaining.steps)
	}
}

// dying is a context that ends after it was asked some times.
type dying struct {
	context.Context
	after, asked int
}

func (d *dying) Err() error {
	if d.asked++; d.asked > d.after {
		return context.DeadlineExceeded
	}
	return nil
}

// external-secrets #2401, kubernetes-external-secrets #542: values of secrets were in errors, and so in logs and Events. Go's templates
// quote what they work on; the second half of this test shows it, so that nobody goes back to them.
func TestIssues2401And542ErrorsQuoteNoValues(t *testing.T) {
	values := data("password", canary, "json", `{"a":"`+canary+`"}`, "list", canary+","+canary, "raw", "\xff"+canary)
	failing := []string{
		`{{index .Data .Data.password}}`, `{{index .Keys .Data.password}}`, `{{index .Data.password 1}}`, `{{b64dec .Data.password}}`, `{{fromJSON .Data.password}}`, `{{fromJSON .Data.raw}}`, `{{fromJSON (print "{\"" .Data.password)}}`,
		`{{printf .Data.password 1}}`, `{{printf "%d" .Data.password}}`, `{{printf "%z" .Data.password}}`, `{{.Data.password.x}}`, `{{(fromJSON .Data.json).b}}`, `{{index (fromJSON .Data.json) .Data.password}}`, `{{slice .Data.password 2 1}}`,
		`{{slice .Data.password 99}}`, `{{range .Data.password}}{{end}}`, `{{range $x := .Data.password}}{{end}}`, `{{lt .Data.password 1}}`, `{{indent .Data.password "x"}}`, `{{join .Data.password .Data.password}}`, `{{.Data}}`, `{{.}}`, `{{split "," .Data.list}}`,
		`{{quote .Data.raw}}`, `{{toJSON .Data}}`, `{{hasKey .Data.password "x"}}`, `{{upper .Data}}`, `{{.Data.password .Data.password}}`, `{{.Data.password | .Data.password}}`, `{{len 1 .Data.password}}`, `{{index .Data .Data.password | index .Data}}`, `{{eq .Data .Data}}`,
		`{{$x := .Data.password}}{{$x.y}}`, `{{with .Data.password}}{{.x}}{{end}}`, `{{(index .Data "password").x}}`, `{{not}}`, `{{nil}}`, `{{index .Data (print .Data.password "x")}}`, `{{and}}`,
	}
	for _, text := range failing {
		_, err := render(t.Context(), "\n\n"+text, values)
		var failed *secrets.Error
		if !errors.As(err, &failed) {
			t.Errorf("%s gives %v, want a *secrets.Error", text, err)
			continue
		}
		if said := fmt.Sprintf("%v %+v %#v %s", err, err, failed.Message, failed.Doing); strings.Contains(said, canary) || strings.Contains(said, "canary") || !strings.Contains(said, "line 3") {
			t.Errorf("%s says %q, want the line and no value", text, said)
		}
		for cause := error(failed); cause != nil; cause = errors.Unwrap(cause) {
			if strings.Contains(cause.Error(), canary) {
				t.Errorf("%s has the cause %q", text, cause)
			}
		}
	}
	leaks := 0
	for _, text := range failing {
		if _, err := goRender(text, values, nil); err != nil && strings.Contains(err.Error(), canary) {
			leaks++
		}
	}
	if leaks == 0 {
		t.Error("text/template quotes no value any more: then this package could use it again, if it can be stopped, too")
	}
}

// A template may hold a password, which is a mistake, but no reason to repeat it in a condition.
func TestMistakesInTemplatesAreNotQuoted(t *testing.T) {
	for text, words := range map[string]string{
		`a` + "\n" + `{{ $x := }}` + canary:                     "line 2: missing value for",
		`{{ "` + canary:                                         "line 1: unterminated quoted string",
		"{{ `" + canary:                                         "line 1: unterminated raw quoted string",
		`{{ '` + canary + `' }}`:                                "line 1: it does not parse",
		`{{ 12` + canary + ` }}`:                                "line 1: bad number syntax",
		`{{ $` + strings.ReplaceAll(canary, "-", "") + ` }}`:    "line 1: undefined variable",
		`{{ "` + canary + `" "x" | 3 }}`:                        "line 1: non executable command in pipeline stage",
		`{{ if "` + canary + `" }}`:                             "line 1: unexpected EOF",
		`{{ end }}` + canary:                                    "line 1: unexpected {{end}}",
		`{{ else }}` + canary:                                   "line 1: unexpected {{else}}",
		`{{/* ` + canary:                                        "line 1: unclosed comment",
		`{{ ( "` + canary + `" }}`:                              "line 1: unclosed left paren",
		`{{ break }}` + canary:                                  "line 1: {{break}} outside {{range}}",
		`{{ "` + canary + `" := 1 }}`:                           "line 1: ",
		`{{ range $a, $b, $c := "` + canary + `" }}{{end}}`:     "line 1: ",
		`{{define "` + canary + `"}}x{{end}}`:                   "define, block and template",
		`{{template "` + canary + `"}}`:                         "line 1: define, block and template",
		`{{ 1i }}` + canary:                                     "line 1: a number is complex or too large",
		`{{ 99999999999999999999 }}` + canary:                   "line 1: ",
		"\xff" + canary:                                         "not UTF-8",
		`{{ .Data.x. }}` + canary:                               "line 1: ",
		"{{ " + strings.ReplaceAll(canary, "-", "") + ` "x" }}`: "line 1: there is no function c4n4ry7f3a9c",
	} {
		t.Run(text, func(t *testing.T) {
			wantFailure(t, Check(&v1alpha1.Destination{Templates: map[string]string{"t": text}}), secrets.Misconfigured, words)
		})
	}
}

// templatesOfCorpus are the templates that fuzzing begins with, and all of these tests'.
func templatesOfCorpus(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/templates/*.tmpl")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d templates and %v, want at least 10", len(files), err)
	}
	var texts []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}
