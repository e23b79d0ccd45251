package archive_test

import (
	"bytes"
	"fmt"

	"github.com/portcullis-dev/portcullis/policies/archive"
)

func Example() {
	tree, err := archive.New(map[string][]byte{
		"bundle.yaml":      []byte("name: acme\nserial: 1\n"),
		"pods/policy.rego": []byte("package pods\n"),
		".git/HEAD":        []byte("ref: refs/heads/main\n"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var packed bytes.Buffer
	if err := tree.Pack(&packed); err != nil {
		fmt.Println(err)
		return
	}
	unpacked, err := archive.Unpack(&packed)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(unpacked.Names(), unpacked.Digest() == tree.Digest())
	// Output: [bundle.yaml pods/policy.rego] true
}
