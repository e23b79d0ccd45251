// Package scanreport prints what a scan found in an image, in the same words by every program.
package scanreport

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/portcullis-dev/portcullis/scanner"
)

// JSON is a result as one line: image, digest and report.
func JSON(image, digest string, report *scanner.Report) ([]byte, error) {
	line, err := json.Marshal(struct {
		Image  string          `json:"image"`
		Digest string          `json:"digest"`
		Report *scanner.Report `json:"report"`
	}{image, digest, report})
	if err != nil {
		return nil, fmt.Errorf("writing the report of %s: %w", image, err)
	}
	return append(line, '\n'), nil
}

// Table is a result for people: worst vulnerabilities first. Names, versions and paths come from the image, and
// nothing of them moves the cursor of a terminal.
func Table(image, digest string, r *scanner.Report) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s (%s)\n", clean(image), digest)
	fmt.Fprintf(&out, "%s: %d OS packages%s, %d of languages, %s; %d vulnerabilities, %d secrets; database of %s\n",
		r.State, r.Packages.OS, thirdParty(r.Packages), r.Packages.Language, distribution(r.OS), len(r.Vulnerabilities), len(r.Secrets),
		clean(cmp.Or(r.Database.UpdatedAt, "unknown age")))
	for _, reason := range r.Reasons {
		fmt.Fprintf(&out, "  %s\n", clean(reason))
	}
	if len(r.Vulnerabilities)+len(r.Secrets) == 0 {
		return out.Bytes()
	}
	columns := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		for i := range cells {
			cells[i] = clean(cells[i])
		}
		fmt.Fprintf(columns, "  %s\n", strings.Join(cells, "\t"))
	}
	row("SEVERITY", "ID", "PACKAGE", "VERSION", "FIXED", "WHERE")
	for _, v := range worstFirst(r.Vulnerabilities) {
		row(v.Severity, v.ID, v.Package, v.Version, cmp.Or(v.Fixed, strings.ReplaceAll(v.Status, "_", " ")), cmp.Or(v.Path, "(package database)"))
	}
	for _, secret := range r.Secrets {
		row(secret.Severity, secret.Rule, "(secret)", "", "", secret.Path)
	}
	_ = columns.Flush() // to memory
	return out.Bytes()
}

// thirdParty says how many packages could not be looked up, if any.
func thirdParty(p scanner.Packages) string {
	if p.ThirdParty == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of other vendors, not looked up)", p.ThirdParty)
}

// worstFirst keeps the order within a severity.
func worstFirst(list []scanner.Vulnerability) []scanner.Vulnerability {
	order := []string{"critical", "high", "medium", "low"}
	rank := func(v scanner.Vulnerability) int {
		if i := slices.Index(order, v.Severity); i >= 0 {
			return i
		}
		return len(order)
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b scanner.Vulnerability) int { return rank(a) - rank(b) })
	return list
}

func distribution(os scanner.OS) string {
	switch {
	case os.Family == "":
		return "no distribution"
	case os.EndOfLife:
		return clean(os.Family+" "+os.Name) + " (end of life)"
	}
	return clean(os.Family + " " + os.Name)
}

// clean replaces control characters and those that change the direction of text.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '\ufffd'
		}
		return r
	}, text)
}
