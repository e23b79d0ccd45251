package chart

import (
	"flag"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "make what is generated of the chart, and the golden renders, anew")

func TestTheChartIsWhatItIsMadeFrom(t *testing.T) {
	if *update {
		if err := Write(Dir); err != nil {
			t.Fatal(err)
		}
	}
	stale, err := Stale(Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(stale) > 0 {
		t.Errorf("the chart differs from what it is made from:\n  %s\nrun go test ./test/chart -update", strings.Join(stale, "\n  "))
	}
}

func TestCommentsOfValuesSayTypesAndWords(t *testing.T) {
	values, err := readValues(Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range values {
		if group.description == "" {
			t.Errorf("values.yaml does not say what %s is", group.name)
		}
	}
}

func TestValuesWithMistakesInCommentsAreNotRead(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a directive that there is not": {"# @typ string\na: x\n", "there is no directive @typ"},
		"a list without items":          {"# Some.\na: []\n", "write @items TYPE"},
		"a value without type":          {"# Some.\na:\n", "write @type TYPE"},
		"a limit that is no number":     {"# @min few\na: 1\n", `"few" is no whole number`},
		"no mapping":                    {"- a\n", "no mapping"},
		"a group that is there twice":   {"# Some.\na: {b: 1}\n# Others.\na: {b: 2}\n", "line 4: a is there a second time, after line 2"},
		"a value that is there twice":   {"# Some.\na:\n  b: 1\n  b: 2\n", "line 4: a.b is there a second time, after line 3"},
		"a free value that is twice":    {"# @open\na: {b: {c: 1, c: 2}}\n", "line 2: a.b.c is there a second time"},
	} {
		values, err := parseValues([]byte(test.text))
		if err == nil {
			_, err = object(values)
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, test.want)
		}
	}
}
