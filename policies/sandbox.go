package policies

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Policies may only compute from their arguments. What is missing here on purpose:
//
//   - http.send, net.lookup_ip_addr, opa.runtime, rego.*: the world outside
//     (CVE-2022-36085 showed that a deny-list is not enough, hence this allow-list);
//   - rand.intn, uuid.rfc4122, trace: the same input must give the same findings;
//   - io.jwt.*, crypto.x509.*, providers.aws.*: verification is the machinery's work;
//   - numbers.range*, net.cidr_expand, graph.reachable_paths, bits.lsh,
//     regex.globs_match, yaml.unmarshal, strings.render_template: a short
//     argument gives an arbitrarily large or slow result;
//   - time.* that reads time zone files.
//
// OPA has no step limit. What bounds an evaluation is: the deadline of the request
// (checked at each step of the evaluator), the size of its input, the number of
// findings taken from it, and the memory limit of the process.
var allowedBuiltins = strings.Fields(`
	eq assign equal neq lt lte gt gte plus minus mul div rem abs round ceil floor
	and or minus intersection union count sum product max min sort
	internal.member_2 internal.member_3
	array.concat array.slice array.reverse array.flatten
	object.get object.keys object.union object.union_n object.filter object.remove object.subset
	json.filter json.remove json.unmarshal json.marshal json.is_valid
	concat contains endswith startswith format_int indexof indexof_n lower upper
	replace split sprintf substring trim trim_left trim_prefix trim_right trim_space trim_suffix
	strings.any_prefix_match strings.any_suffix_match strings.count strings.replace_n strings.reverse
	regex.is_valid regex.match regex.find_n regex.find_all_string_submatch_n regex.replace regex.split
	glob.match glob.quote_meta
	is_array is_boolean is_null is_number is_object is_set is_string type_name to_number
	base64.decode base64.encode base64.is_valid base64url.decode hex.decode hex.encode
	urlquery.decode urlquery.encode
	crypto.sha256
	net.cidr_contains net.cidr_contains_matches net.cidr_intersects net.cidr_is_valid net.cidr_merge
	semver.compare semver.is_valid
	time.now_ns time.parse_rfc3339_ns time.parse_duration_ns time.add_date
	units.parse units.parse_bytes
	bits.and bits.or bits.rsh bits.xor bits.negate
	graph.reachable walk
`)

// sandbox are the capabilities policies are parsed and compiled with.
var sandbox = sync.OnceValue(func() *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	all.Builtins = slices.DeleteFunc(all.Builtins, func(builtin *ast.Builtin) bool {
		return !slices.Contains(allowedBuiltins, builtin.Name) &&
			(builtin.Infix == "" || !slices.Contains(allowedBuiltins, builtin.Name))
	})
	all.AllowNet = []string{} // nil would mean any host
	return all
})

// maxFormatWidth bounds width and precision in sprintf: %999999999d would
// allocate a gigabyte.
const maxFormatWidth = 100

// checkFormats refuses sprintf with a format that is computed or asks for a huge
// width.
func checkFormats(module *ast.Module) []error {
	var problems []error
	WalkCalls(module, func(operator string, operands []*ast.Term, location *ast.Location) {
		if operator != "sprintf" || len(operands) == 0 {
			return
		}
		format, ok := operands[0].Value.(ast.String)
		if !ok {
			problems = append(problems, fmt.Errorf("%v: the format of sprintf must be a literal string", location))
			return
		}
		if width, bad := formatTooWide(string(format)); bad {
			problems = append(problems, fmt.Errorf("%v: sprintf with width %s: at most %d", location, width, maxFormatWidth))
		}
	})
	return problems
}

// checkPrints refuses print, which OPA would drop without a word.
func checkPrints(module *ast.Module) []error {
	var problems []error
	WalkCalls(module, func(operator string, _ []*ast.Term, location *ast.Location) {
		if operator == "print" {
			problems = append(problems, fmt.Errorf("%v: print is for tests only: nobody would see what it prints", location))
		}
	})
	return problems
}

// patternOperand says which operand of a built-in is a regular expression.
var patternOperand = map[string]int{
	"regex.match": 0, "regex.find_n": 0, "regex.find_all_string_submatch_n": 0, "regex.split": 0, "regex.replace": 1,
}

// checkPatterns refuses regular expressions that do not compile, while somebody is there to
// mend them: evaluated, they would be a fault of every request. Patterns that
// are parameters stand in the rules by now.
func checkPatterns(module *ast.Module) []error {
	var problems []error
	WalkCalls(module, func(operator string, operands []*ast.Term, location *ast.Location) {
		at, ok := patternOperand[operator]
		if !ok || at >= len(operands) {
			return
		}
		if pattern, ok := operands[at].Value.(ast.String); ok {
			if _, err := regexp.Compile(string(pattern)); err != nil {
				problems = append(problems, fmt.Errorf("%v: %s with %q: %w", location, operator, string(pattern), err))
			}
		}
	})
	return problems
}

// WalkCalls visits all calls of a module that is not compiled yet: those that are
// expressions and those inside others. The operator is written as in the module.
func WalkCalls(module *ast.Module, visit func(operator string, operands []*ast.Term, location *ast.Location)) {
	ast.WalkTerms(module, func(term *ast.Term) bool {
		if call, ok := term.Value.(ast.Call); ok {
			visit(call[0].String(), call[1:], term.Location)
		}
		return false
	})
	ast.WalkExprs(module, func(expr *ast.Expr) bool {
		if expr.IsCall() {
			visit(expr.Operator().String(), expr.Operands(), expr.Location)
		}
		return false
	})
}

func formatTooWide(format string) (string, bool) {
	format = strings.ReplaceAll(format, "%%", "") // a literal percent sign
	for _, verb := range strings.Split(format, "%")[1:] {
		end := strings.IndexFunc(verb, func(r rune) bool { return !strings.ContainsRune("0123456789.+-# *[]", r) })
		flags := verb
		if end >= 0 {
			flags = verb[:end]
		}
		if strings.ContainsAny(flags, "*[") {
			return "from an argument", true
		}
		for _, digits := range strings.FieldsFunc(flags, func(r rune) bool { return r < '0' || r > '9' }) {
			if n, err := strconv.Atoi(digits); err != nil || n > maxFormatWidth {
				return digits, true
			}
		}
	}
	return "", false
}
