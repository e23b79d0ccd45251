package bench

import (
	"fmt"
	"io/fs"
	"path"
	"runtime/debug"
	"strings"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

// Thousand is a bundle of so many policies, all enforced: those of the library, and
// simple ones that differ in what they look for.
func Thousand(count int) (fs.FS, error) {
	files := fstest.MapFS{}
	var manifest strings.Builder
	manifest.WriteString("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: thousand\nserial: 1\npolicies:\n")
	have := 0
	err := fs.WalkDir(library.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		isData := strings.HasPrefix(name, "data/")
		if err != nil || entry.IsDir() || !isData && path.Ext(name) != ".rego" || strings.HasSuffix(name, "_test.rego") {
			return err
		}
		content, err := fs.ReadFile(library.FS(), name)
		files[name] = &fstest.MapFile{Data: content}
		if !isData && !strings.HasPrefix(name, "lib/") {
			have++
			fmt.Fprintf(&manifest, "  - policy: %s\n", path.Dir(name))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the library: %w", err)
	}
	for n := have; n < count; n++ {
		files[fmt.Sprintf("generated/policy-%d/policy.rego", n)] = &fstest.MapFile{Data: fmt.Appendf(nil, generated, n, n)}
		fmt.Fprintf(&manifest, "  - policy: generated/policy-%d\n", n)
	}
	files["bundle.yaml"] = &fstest.MapFile{Data: []byte(manifest.String())}
	return files, nil
}

const generated = `# METADATA
# title: Label of team %[1]d
# description: Containers of this team carry the name of the team.
# custom:
#   severity: medium
#   match:
#     workload: any
#   remediation: Rename the container.
#   controls:
#     nist-800-190: ["4.4.3"]
#   parameters:
#     type: object
#     properties:
#       prefix: {type: string, default: "team-%[2]d-"}
package portcullis.generated.policy_%[1]d

deny contains finding if {
	some container in input.workload.containers
	container.name == "forbidden-%[1]d"
	not startswith(container.name, input.parameters.prefix)
	path := concat("", [container.path, ".name"])
	finding := {
		"msg": sprintf("container %%q is not named as team %[1]d names its own", [container.name]),
		"path": path,
		"fix": [{"op": "set", "path": path, "value": "team-%[2]d-app"}],
	}
}
`

// LoadBundle reads and compiles a bundle as the webhook does at its start, with the same
// setting of the garbage collector (cmd/portcullis-webhook/memory.go).
func LoadBundle(files fs.FS) (total, cpu time.Duration, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	start, used := time.Now(), processTime()
	bundle, err := policies.Load(files)
	if err != nil {
		return 0, 0, err
	}
	if _, err := policies.NewEngine(bundle); err != nil {
		return 0, 0, err
	}
	return time.Since(start), processTime() - used, nil
}
