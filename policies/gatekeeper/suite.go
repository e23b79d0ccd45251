package gatekeeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// suiteSpec is a suite of gator (https://open-policy-agent.github.io/gatekeeper/website/docs/gator#writing-test-suites).
type suiteSpec struct {
	Tests []testSpec `json:"tests"`
	Skip  bool       `json:"skip"`
}

type testSpec struct {
	Name       string     `json:"name"`
	Template   string     `json:"template"`
	Constraint string     `json:"constraint"`
	Expansion  string     `json:"expansion"`
	Cases      []caseSpec `json:"cases"`
	Invalid    bool       `json:"invalid"`
	Skip       bool       `json:"skip"`
}

type caseSpec struct {
	Name       string      `json:"name"`
	Object     string      `json:"object"`
	Inventory  []string    `json:"inventory"`
	Assertions []assertion `json:"assertions"`
	Skip       bool        `json:"skip"`
}

// assertion is about the violations whose message the regular expression matches.
type assertion struct {
	Violations expectation `json:"violations"`
	Message    *string     `json:"message"`
}

// expectation is how many violations are wanted: "yes" (the default), "no", or a number. The zero value is the default.
type expectation struct {
	none    bool
	exactly *int
}

// UnmarshalJSON reads an expectation. YAML 1.1 reads a bare yes and no as true and false.
func (x *expectation) UnmarshalJSON(raw []byte) error {
	switch text := string(raw); text {
	case `"yes"`, "true", "null":
		*x = expectation{}
		return nil
	case `"no"`, "false":
		*x = expectation{none: true}
		return nil
	default:
		var count int
		if err := json.Unmarshal(raw, &count); err != nil || count < 0 {
			return fmt.Errorf("violations is %s: want yes, no or a number", text)
		}
		*x = expectation{exactly: &count}
		return nil
	}
}

// meets says whether a number of violations is what is wanted, or else what is.
func (x *expectation) meets(count int) (ok bool, want string) {
	switch {
	case x.exactly != nil:
		return count == *x.exactly, strconv.Itoa(*x.exactly)
	case x.none:
		return count == 0, "none"
	}
	return count > 0, "at least one"
}

// SuiteResult is what came of a suite.
type SuiteResult struct {
	// Path is the suite's file.
	Path string `json:"path"`
	// Skipped says that the suite asks not to be run.
	Skipped bool         `json:"skipped,omitempty"`
	Tests   []TestResult `json:"tests,omitempty"`
}

// TestResult is what came of a test: of a template and a constraint of it.
type TestResult struct {
	Name    string `json:"name"`
	Skipped bool   `json:"skipped,omitempty"`
	// Problem is why the test could not be run, "" for nothing.
	Problem string `json:"problem,omitempty"`
	// Template is the kind of the template that is tested, "" where it could not be read.
	Template string       `json:"template,omitempty"`
	Cases    []CaseResult `json:"cases,omitempty"`
}

// CaseResult is what came of one object.
type CaseResult struct {
	Name    string `json:"name"`
	Skipped bool   `json:"skipped,omitempty"`
	// Problem is what was not as asserted, "" if all was.
	Problem string `json:"problem,omitempty"`
	// Violations are the messages of the violations.
	Violations []string `json:"violations,omitempty"`
}

// Count says how many cases (and tests of invalid constraints) were run, and how many were skipped, those of skipped
// suites and tests not counted.
func (r *SuiteResult) Count() (run, skipped int) {
	for _, test := range r.Tests {
		switch {
		case test.Skipped:
			skipped++
			continue
		case len(test.Cases) == 0:
			run++
		}
		for _, one := range test.Cases {
			if one.Skipped {
				skipped++
			} else {
				run++
			}
		}
	}
	return run, skipped
}

// Failures says what failed, one line each: suite, test, case and problem.
func (r *SuiteResult) Failures() []string {
	var failures []string
	for _, test := range r.Tests {
		if test.Problem != "" {
			failures = append(failures, fmt.Sprintf("%s: %s: %s", r.Path, test.Name, test.Problem))
		}
		for _, one := range test.Cases {
			if one.Problem != "" {
				failures = append(failures, fmt.Sprintf("%s: %s: %s: %s", r.Path, test.Name, one.Name, one.Problem))
			}
		}
	}
	return failures
}

// Test runs all suites of a folder, in the order of their names. The clock of the policies is that of the machine. A suite
// that fails says so in its result; the error is of what could not be read at all, and of ctx.
func Test(ctx context.Context, fsys fs.FS) ([]SuiteResult, error) {
	documents, err := readFolder(fsys, true)
	if err != nil {
		return nil, fmt.Errorf("reading the suites: %w", err)
	}
	var results []SuiteResult
	for n := range documents {
		d := &documents[n]
		if d.group != suiteGroup || d.kind != "Suite" {
			continue
		}
		result, err := testSuite(ctx, fsys, d)
		if err != nil {
			return results, fmt.Errorf("running the suite %s: %w", d.file, err)
		}
		results = append(results, result)
	}
	return results, nil
}

func testSuite(ctx context.Context, fsys fs.FS, d *document) (SuiteResult, error) {
	result := SuiteResult{Path: d.file}
	var spec suiteSpec
	if err := d.decode(&spec, false); err != nil {
		return result, err
	}
	if result.Skipped = spec.Skip; spec.Skip {
		return result, nil
	}
	for n := range spec.Tests {
		s := &suiteTest{fsys: fsys, folder: path.Dir(d.file), spec: &spec.Tests[n]}
		result.Tests = append(result.Tests, s.run(ctx))
		if err := ctx.Err(); err != nil {
			return result, err
		}
	}
	return result, nil
}

// suiteTest is one test of a suite.
type suiteTest struct {
	fsys   fs.FS
	folder string
	spec   *testSpec
	engine *Engine
}

func (s *suiteTest) run(ctx context.Context) TestResult {
	result := TestResult{Name: s.spec.Name}
	if result.Skipped = s.spec.Skip; s.spec.Skip {
		return result
	}
	err := s.load()
	if s.engine != nil {
		for kind := range s.engine.templates {
			result.Template = kind
		}
	}
	if s.spec.Invalid {
		if !errors.Is(err, errParameters) {
			result.Problem = fmt.Sprintf("the constraint is to be invalid, and is not for its parameters (%v)", err)
		}
		return result
	}
	if err != nil {
		result.Problem = err.Error()
		return result
	}
	for n := range s.spec.Cases {
		result.Cases = append(result.Cases, s.runCase(ctx, &s.spec.Cases[n]))
	}
	return result
}

// load compiles the template, the constraint and the expansion of the test.
func (s *suiteTest) load() error {
	template, err := s.one("template", s.spec.Template)
	if err != nil {
		return err
	}
	if template.group != templateGroup {
		return fmt.Errorf("%s is not a ConstraintTemplate", template.title)
	}
	constraint, err := s.one("constraint", s.spec.Constraint)
	if err != nil {
		return err
	}
	if constraint.group != constraintGroup {
		return fmt.Errorf("%s is not a constraint", constraint.title)
	}
	documents := []document{template, constraint}
	if s.spec.Expansion != "" {
		expansions, err := s.read(s.spec.Expansion)
		if err != nil {
			return err
		}
		documents = append(documents, expansions...)
	}
	s.engine, err = newEngine(documents, Options{}, true)
	return err
}

// read reads a file that the suite names relative to itself.
func (s *suiteTest) read(name string) ([]document, error) {
	file := path.Join(s.folder, name)
	if !fs.ValidPath(file) {
		return nil, fmt.Errorf("%s is outside of the folder: move it here", name)
	}
	return readFile(s.fsys, file)
}

// one reads a file with one object.
func (s *suiteTest) one(what, name string) (document, error) {
	if name == "" {
		return document{}, fmt.Errorf("%s is required", what)
	}
	documents, err := s.read(name)
	if err != nil {
		return document{}, err
	}
	if len(documents) != 1 {
		return document{}, fmt.Errorf("%s has %d objects: want one %s", name, len(documents), what)
	}
	return documents[0], nil
}

func (s *suiteTest) runCase(ctx context.Context, spec *caseSpec) CaseResult {
	result := CaseResult{Name: spec.Name}
	if result.Skipped = spec.Skip; spec.Skip {
		return result
	}
	violations, err := s.review(ctx, spec)
	result.Violations = violations
	if err == nil && len(spec.Assertions) == 0 {
		err = errors.New("it has no assertions: nothing is tested")
	}
	for n := range spec.Assertions {
		if err == nil {
			err = spec.Assertions[n].check(violations)
		}
	}
	if err != nil {
		result.Problem = err.Error()
	}
	return result
}

// review gives the messages of the violations of a case's object.
func (s *suiteTest) review(ctx context.Context, spec *caseSpec) ([]string, error) {
	object, err := s.one("object", spec.Object)
	if err != nil {
		return nil, err
	}
	request, err := requestOf(&object)
	if err != nil {
		return nil, err
	}
	facts, kinds, err := s.facts(spec.Inventory, request)
	if err != nil {
		return nil, err
	}
	engine := *s.engine
	engine.templates = nil
	j := &judgement{engine: &engine, request: request, facts: facts, now: time.Now()}
	var candidates []*constraint
	for _, c := range engine.constraints {
		if _, asked := c.enforced[policies.DoorGate]; asked {
			candidates = append(candidates, c.withInventory(kinds))
		}
	}
	j.judge(ctx, candidates, newReview(request, namespaceOf(request, facts)))
	j.result.Sort()
	var violations []string
	for _, finding := range j.result.Findings {
		violations = append(violations, finding.Message)
	}
	return violations, problemsOf(&j.result)
}

// withInventory is the constraint with a template whose inventory holds these kinds.
func (c *constraint) withInventory(kinds []gvk) *constraint {
	if c.template.inventory == nil {
		return c
	}
	t, own := *c.template, *c
	t.reading = kinds
	own.template = &t
	return &own
}

// problemsOf are faults and what is undecided, of which a case must have none.
func problemsOf(result *policies.Result) error {
	var problems []error
	for _, fault := range result.Faults {
		problems = append(problems, fmt.Errorf("%s: %s", fault.Kind, fault.Message))
	}
	for _, undecided := range result.Undecided {
		problems = append(problems, fmt.Errorf("undecided: %s", undecided.Reason))
	}
	return errors.Join(problems...)
}

// facts are those that the inventory of a case gives: its objects, and the namespace of the request if it is among them.
func (s *suiteTest) facts(inventory []string, request *policies.Request) (*policies.Facts, []gvk, error) {
	facts := &policies.Facts{NamespaceMissing: "it is not in the inventory of the case"}
	var kinds []gvk
	for _, name := range inventory {
		documents, err := s.read(name)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range documents {
			kind := gvk{d.group, d.version, d.kind}
			kinds = append(kinds, kind)
			facts.Cluster = append(facts.Cluster, policies.Object{
				Group: d.group, Version: d.version, Kind: d.kind, Resource: resourceOf(kind).Resource,
				Namespace: d.namespace, Name: d.name, Raw: d.raw,
			})
			if kind.Group != "" || kind.Kind != "Namespace" || d.name != request.Namespace {
				continue
			}
			metadata, err := readMetadata(d.raw)
			if err != nil {
				return nil, nil, err
			}
			facts.Namespace = &policies.Namespace{Name: d.name, Labels: metadata.Metadata.Labels}
		}
	}
	return facts, kinds, nil
}

// requestOf is the request of a case's object: of an AdmissionReview, that in it; of any other object, one without an
// operation.
func requestOf(d *document) (*policies.Request, error) {
	if d.group == admissionv1.GroupName && d.kind == "AdmissionReview" {
		return requestIn(d)
	}
	kind := gvk{d.group, d.version, d.kind}
	return &policies.Request{
		Door: policies.DoorGate, Kind: metav1.GroupVersionKind(kind), Resource: resourceOf(kind),
		Namespace: d.namespace, Name: d.name, Object: d.raw,
	}, nil
}

// requestIn is the request of an AdmissionReview.
func requestIn(d *document) (*policies.Request, error) {
	var review admissionv1.AdmissionReview
	problems, err := kjson.UnmarshalStrict(d.raw, &review)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, fmt.Errorf("reading the AdmissionReview: %w", err)
	}
	given := review.Request
	if given == nil {
		return nil, errors.New("the AdmissionReview has no request")
	}
	if given.Object.Raw == nil && given.OldObject.Raw == nil {
		return nil, errors.New("the request of the AdmissionReview has neither object nor oldObject")
	}
	if given.Operation == admissionv1.Delete && given.OldObject.Raw == nil {
		return nil, errors.New("the request of the AdmissionReview deletes, and has no oldObject")
	}
	request := &policies.Request{
		Door: policies.DoorGate, UID: string(given.UID), Operation: string(given.Operation), Kind: given.Kind, Resource: given.Resource,
		SubResource: given.SubResource, Namespace: given.Namespace, Name: given.Name, DryRun: given.DryRun != nil && *given.DryRun,
		Subject: policies.Subject{Username: given.UserInfo.Username, UID: given.UserInfo.UID, Groups: given.UserInfo.Groups},
		Object:  given.Object.Raw, OldObject: given.OldObject.Raw, Options: given.Options.Raw,
	}
	for name, values := range given.UserInfo.Extra {
		if request.Subject.Extra == nil {
			request.Subject.Extra = map[string][]string{}
		}
		request.Subject.Extra[name] = values
	}
	return request, completeKind(request)
}

// completeKind takes the kind from the object where the request lacks it: constraints match by it.
func completeKind(r *policies.Request) error {
	if r.Kind.Kind != "" {
		return nil
	}
	raw := r.Object
	if absent(raw) {
		raw = r.OldObject
	}
	metadata, err := readMetadata(raw)
	if err != nil {
		return err
	}
	group, version, ok := strings.Cut(metadata.APIVersion, "/")
	if !ok {
		group, version = "", metadata.APIVersion
	}
	r.Kind = metav1.GroupVersionKind{Group: group, Version: version, Kind: metadata.Kind}
	return nil
}

// check compares the violations with what the assertion says of them.
func (a *assertion) check(violations []string) error {
	count, of := len(violations), ""
	if a.Message != nil {
		pattern, err := regexp.Compile(*a.Message)
		if err != nil {
			return fmt.Errorf("the message of an assertion: %w", err)
		}
		count, of = 0, fmt.Sprintf(" matching %q", *a.Message)
		for _, message := range violations {
			if pattern.MatchString(message) {
				count++
			}
		}
	}
	if ok, want := a.Violations.meets(count); !ok {
		return fmt.Errorf("got the violations %q, want %s%s", violations, want, of)
	}
	return nil
}
