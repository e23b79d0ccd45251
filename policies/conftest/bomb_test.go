package conftest

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestDataWhoseAliasesMakeMuchOfLittleAreRefused(t *testing.T) {
	files := fstest.MapFS{
		"p.rego":      {Data: []byte("package main\n\ndeny contains \"no\" if data.a == 1\n")},
		"data/a.yaml": {Data: []byte("a: &a " + strings.Repeat("x", 200_000) + "\nb: [" + strings.Repeat("*a, ", 50_000) + "]\n")},
	}
	if _, err := Load(files, Options{}); err == nil || !strings.Contains(err.Error(), "aliases") {
		t.Errorf("got %.200v, want that the aliases are too much", err)
	}
}
