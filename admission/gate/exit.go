package gate

// ExitCode is how a run ends. It is the same in every output format.
type ExitCode int

// The exit codes of portcullis. 2 is never used: it is what a crashing Go program returns.
const (
	ExitAdmitted  ExitCode = 0  // everything was judged and nothing objects
	ExitDenied    ExitCode = 1  // at least one denial, on complete facts
	ExitUndecided ExitCode = 3  // a policy that enforces could not be decided: facts are missing
	ExitFault     ExitCode = 4  // unreadable input, manifests passed over with --fail-on-skip, an unreachable cluster, or an internal fault
	ExitWarned    ExitCode = 5  // warnings, with --fail-on-warn
	ExitUsage     ExitCode = 64 // wrong flags or arguments, or nothing to judge (sysexits' EX_USAGE)
)

// exits is the one table of exit codes, the code that wins when several apply first.
var exits = []struct {
	Code    ExitCode
	Name    string
	Meaning string
}{
	{ExitUsage, "usage", "wrong flags or arguments, or nothing to judge"},
	{ExitDenied, "denied", "at least one object is denied"},
	{ExitFault, "fault", "unreadable input, manifests passed over with --fail-on-skip, an unreachable cluster or an internal fault"},
	{ExitUndecided, "undecided", "facts are missing, nothing else objects"},
	{ExitWarned, "warned", "warnings, with --fail-on-warn"},
	{ExitAdmitted, "admitted", "everything was judged and nothing objects"},
}

// String is the code's name in reports: "admitted", "denied" …
func (c ExitCode) String() string {
	for _, exit := range exits {
		if exit.Code == c {
			return exit.Name
		}
	}
	return "unknown"
}

// Meaning says in a few words when a run ends with this code.
func (c ExitCode) Meaning() string {
	for _, exit := range exits {
		if exit.Code == c {
			return exit.Meaning
		}
	}
	return "unknown"
}

// ExitCodes are all codes, the one that wins when several apply first.
func ExitCodes() []ExitCode {
	codes := make([]ExitCode, 0, len(exits))
	for _, exit := range exits {
		codes = append(codes, exit.Code)
	}
	return codes
}

// Worst is the code that wins among those that apply; none is ExitAdmitted.
func Worst(codes ...ExitCode) ExitCode {
	for _, exit := range exits {
		for _, code := range codes {
			if code == exit.Code {
				return code
			}
		}
	}
	return ExitAdmitted
}
