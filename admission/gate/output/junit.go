package output

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate"
)

// junitHandler writes JUnit XML as Jenkins, GitLab and the others read it: a suite
// for each file, a test case for each object. A denial is a failure; a fault, an
// undecided policy and unreadable input are errors; warnings are in system-out.
type junitHandler struct {
	w      io.Writer
	run    gate.Run
	suites []*junitSuite
	byFile map[string]*junitSuite
}

type junitSuites struct {
	XMLName  xml.Name      `xml:"testsuites"`
	Name     string        `xml:"name,attr"`
	Tests    int           `xml:"tests,attr"`
	Failures int           `xml:"failures,attr"`
	Errors   int           `xml:"errors,attr"`
	Suites   []*junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string       `xml:"name,attr"`
	ClassName string       `xml:"classname,attr"`
	File      string       `xml:"file,attr,omitempty"`
	Line      int          `xml:"line,attr,omitempty"`
	Time      string       `xml:"time,attr"`
	Error     *junitDetail `xml:"error,omitempty"`
	Failure   *junitDetail `xml:"failure,omitempty"`
	Out       string       `xml:"system-out,omitempty"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

func (h *junitHandler) Start(run gate.Run) error {
	h.run = run
	h.byFile = map[string]*junitSuite{}
	return nil
}

func (h *junitHandler) Result(result gate.Result) error {
	suite := h.suite(result.Location.File)
	test := junitCase{Name: Plain(result.Object.String()), ClassName: Plain(result.Location.File), File: Plain(result.Location.File), Line: result.Location.Line, Time: "0"}
	var denials, warnings, errors []string
	for _, finding := range result.Findings {
		line := fmt.Sprintf("%s: %s [%s, %s]", finding.Location, finding.Message, instance(finding.Policy, finding.Instance), finding.Severity)
		if finding.Remediation != "" {
			line += " " + finding.Remediation
		}
		switch finding.Weight() {
		case gate.Denies:
			denials = append(denials, Plain(line))
		case gate.Warns:
			warnings = append(warnings, "warning: "+Plain(line))
		case gate.Excepted:
			warnings = append(warnings, Plain("waived by "+finding.ExceptedBy+": "+line))
		case gate.Known:
			warnings = append(warnings, "known: "+Plain(line))
		case gate.Records:
			warnings = append(warnings, "recorded: "+Plain(line))
		}
	}
	for _, fault := range result.Faults {
		line := Plain(orEngine(fault.Policy) + ": " + faultText(fault))
		if faultWeight(fault) == gate.Denies {
			errors = append(errors, line)
		} else {
			warnings = append(warnings, "warning: "+line)
		}
	}
	for _, open := range result.Undecided {
		line := Plain(fmt.Sprintf("%s: undecided: %s [%s]", open.Location, open.Reason, orEngine(open.Policy)))
		if open.Enforced() {
			errors = append(errors, line)
		} else {
			warnings = append(warnings, line)
		}
	}
	if len(denials) > 0 {
		test.Failure = &junitDetail{Message: summaryOf(denials), Type: "denied", Text: strings.Join(denials, "\n")}
		suite.Failures++
		// One test case has one ending: what could not be judged besides is said beside it.
		warnings = append(warnings, errors...)
	} else if len(errors) > 0 || result.Outcome == gate.Faulty {
		test.Error = &junitDetail{Message: summaryOf(errors), Type: string(result.Outcome), Text: strings.Join(errors, "\n")}
		suite.Errors++
	}
	test.Out = strings.Join(warnings, "\n")
	suite.Tests++
	suite.Cases = append(suite.Cases, test)
	return nil
}

// summaryOf is the first of several lines, and how many more there are.
func summaryOf(lines []string) string {
	switch len(lines) {
	case 0:
		return "not admitted"
	case 1:
		return lines[0]
	}
	return fmt.Sprintf("%s (and %d more)", lines[0], len(lines)-1)
}

func (h *junitHandler) Problem(problem gate.Problem) error {
	suite := h.suite(problem.Location.File)
	suite.Tests++
	suite.Errors++
	suite.Cases = append(suite.Cases, junitCase{
		Name: "readable", ClassName: Plain(problem.Location.File), File: Plain(problem.Location.File), Line: problem.Location.Line, Time: "0",
		Error: &junitDetail{Message: Plain(problem.Message), Type: "unreadable", Text: Plain(problem.Location.String() + ": " + problem.Message)},
	})
	return nil
}

// suite is that of a file, in order of first appearance.
func (h *junitHandler) suite(file string) *junitSuite {
	suite, ok := h.byFile[file]
	if !ok {
		suite = &junitSuite{Name: Plain(file)}
		h.byFile[file] = suite
		h.suites = append(h.suites, suite)
	}
	return suite
}

func (h *junitHandler) Finish(gate.Summary) error {
	all := junitSuites{Name: "portcullis gate", Suites: h.suites}
	for _, suite := range h.suites {
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Errors += suite.Errors
	}
	if _, err := io.WriteString(h.w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(h.w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(h.w, "\n")
	return err
}
