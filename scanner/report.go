package scanner

// State says what a scan amounts to. There is no state for "no findings": an image is
// known to have none only if the state is complete and the list is empty.
type State string

// The states. Nothing but StateComplete may be taken for knowledge of what is in the image.
const (
	StateComplete    State = "complete"
	StateUnscannable State = "unscannable" // the scanner looked and cannot know: unknown OS, no packages, …
	StateMissing     State = "missing"     // there is no believable scan of this digest
	StateError       State = "error"       // a scan failed
)

// Report is what a scan says of one image, as policies read it (input.images[].scan).
type Report struct {
	State State `json:"state"`
	// Reasons say why the state is not complete, in words for people, sorted.
	Reasons []string `json:"reasons"`
	// StartedAt and FinishedAt are when it was scanned (RFC 3339, UTC).
	StartedAt  string   `json:"startedAt"`
	FinishedAt string   `json:"finishedAt"`
	Scanner    Tool     `json:"scanner"`
	Database   Database `json:"database"`
	OS         OS       `json:"os"`
	Packages   Packages `json:"packages"`
	// Vulnerabilities are all that were found, those that VEX or an ignore speaks about included.
	Vulnerabilities []Vulnerability `json:"vulnerabilities"`
	Secrets         []Secret        `json:"secrets"`
	// Authority is who signed the scan; set by whoever verified it, never by the report.
	Authority string `json:"authority"`
	// Queued says that a scan has been asked for, and RetryAfter in how many seconds
	// trying again makes sense. Both belong to StateMissing.
	Queued     bool  `json:"queued"`
	RetryAfter int64 `json:"retryAfter"`
}

// Tool is the program that scanned.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Database is the vulnerability database that was used.
type Database struct {
	// UpdatedAt is when it was built (RFC 3339, UTC), Digest that of its artifact or, where it came from a
	// directory, of its file.
	UpdatedAt string `json:"updatedAt"`
	Digest    string `json:"digest"`
	Version   int64  `json:"version"`
}

// OS is the distribution in the image.
type OS struct {
	Family    string `json:"family"` // debian, alpine …; "" when there is none
	Name      string `json:"name"`   // 12.5
	EndOfLife bool   `json:"endOfLife"`
}

// Packages counts what was found to look up.
type Packages struct {
	OS       int64 `json:"os"`
	Language int64 `json:"language"`
	// ThirdParty is how many of those of the OS the vulnerability database says nothing about, since they are
	// not the distribution's own but of another vendor: docker.com's, nginx.org's.
	ThirdParty int64 `json:"thirdParty"`
}

// Vulnerability is one vulnerability of one package.
type Vulnerability struct {
	ID       string `json:"id"` // CVE-…, GHSA-…
	Package  string `json:"package"`
	PURL     string `json:"purl"`
	Version  string `json:"version"`
	Fixed    string `json:"fixed"`    // the first version without it, "" when there is none
	Status   string `json:"status"`   // affected, fixed, will_not_fix, fix_deferred, end_of_life, under_investigation, unknown
	Severity string `json:"severity"` // critical, high, medium, low, unknown
	Score    int64  `json:"score"`    // CVSS base score in tenths: 98 is 9.8; 0 when unknown
	Class    string `json:"class"`    // os or language
	Path     string `json:"path"`     // the file it was found in, "" for the OS's package database
	Title    string `json:"title"`
	Link     string `json:"link"`
	// VEX is what a believed VEX statement says of it, nil for nothing.
	VEX *Statement `json:"vex,omitempty"`
	// Ignore is the entry of the bundle that ignores it, nil for none.
	Ignore *Ignore `json:"ignore,omitempty"`
}

// Statement is a VEX statement about a vulnerability (OpenVEX 0.2.0, section "Status Labels").
type Statement struct {
	Status        string `json:"status"` // not_affected, affected, fixed, under_investigation
	Justification string `json:"justification"`
	Impact        string `json:"impact"`
	// Source is "attestation" or the file; Author as the document names it; Authority who
	// signed it, "" for a file of the bundle.
	Source    string `json:"source"`
	Author    string `json:"author"`
	Authority string `json:"authority"`
	Time      string `json:"time"` // RFC 3339, UTC
}

// Ignore is a decision to live with a vulnerability for a while.
type Ignore struct {
	ID      string `json:"id"`
	Reason  string `json:"reason"`
	Owner   string `json:"owner"`
	Expires string `json:"expires"` // YYYY-MM-DD, the first day on which it no longer counts
}

// Secret is a credential that lies in a layer. What it is never leaves the scanner.
type Secret struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Path     string `json:"path"`
}
