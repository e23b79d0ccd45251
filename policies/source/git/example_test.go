package git_test

import (
	"fmt"

	"github.com/portcullis-dev/portcullis/policies/source/git"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

func ExampleNew() {
	_, err := git.New(v1alpha1.GitSource{URL: "https://git.example.com/policies.git", Branch: "main", Path: "prod"}, git.Options{})
	fmt.Println(err)
	_, err = git.New(v1alpha1.GitSource{URL: "git@git.example.com:policies.git"}, git.Options{})
	fmt.Println(err)
	// Output:
	// <nil>
	// reading the source: git.url is in the short form of ssh: write ssh://git@HOST/PATH
}
