package policies

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// legacyBuiltins are in the sandbox of policies that were written for other tools, besides those of a bundle's own:
// names of Rego v0 that are bounded by their arguments, and what formats a time in UTC or by an offset.
var legacyBuiltins = []string{
	"all", "any", "re_match", "set_diff", "net.cidr_overlap",
	"cast_array", "cast_boolean", "cast_null", "cast_object", "cast_set", "cast_string",
	"json.patch", "time.parse_ns",
}

// Sandbox are the capabilities that policies written for other tools are parsed and compiled with: those of a bundle's
// own policies, and the names of Rego v0. There is no world outside: no http.send, no opa.runtime, no environment.
func Sandbox() *ast.Capabilities {
	own := *sandbox()
	own.Builtins = slices.Clone(own.Builtins)
	for _, builtin := range ast.CapabilitiesForThisVersion().Builtins {
		if slices.Contains(legacyBuiltins, builtin.Name) {
			own.Builtins = append(own.Builtins, builtin)
		}
	}
	own.AllowNet = []string{} // nil would mean any host
	return &own
}

// CheckSandboxed refuses what a sandbox of capabilities cannot hold, as in a bundle's own policies: sprintf with a
// computed format or a huge width, and regular expressions that do not compile.
func CheckSandboxed(module *ast.Module) []error {
	return append(checkFormats(module), checkPatterns(module)...)
}

// RawValue decodes raw JSON as policies of a bundle see it: nested and with numbers within limits, without duplicate
// names or invalid UTF-8.
func RawValue(raw []byte) (*ast.Term, error) { return decodeJSON(raw, &readSet{whole: true}) }
